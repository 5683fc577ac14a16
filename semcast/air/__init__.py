"""The air link: bits to complex baseband symbols and back, and what the receiver learns of it.

Bits are `uint8` arrays of 0 and 1; symbols are `complex64` with unit mean power. Log-likelihood
ratios are `log P(bit = 1) / P(bit = 0)` everywhere (as in Sionna): positive means 1. `noise_var` is
the total complex noise variance N0 = 1/SNR, i.e. N0/2 per real dimension. See `docs/AIR_LINK.md`.

Importing this package imports nothing else; `ldpc` alone needs numba, the rest numpy.
"""
