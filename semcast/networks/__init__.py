"""Learned networks that both ends share, and the blocks they are made of.

Needs torch, but for `strokes`.
"""
