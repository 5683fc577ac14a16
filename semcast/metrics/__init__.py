"""How good is the received picture? Source against received, in RGB, without looking at the link.

`psnr` and `ssim` need no network; `perceptual`, `clip_score` and `bert_score` need weights and say
why where these are missing; `quality` runs them all over a stream. Nothing here imports torch
before a metric that needs it is asked for.
"""
