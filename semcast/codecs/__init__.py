"""Codecs of the digital modalities: encoder and decoder side by side."""
