"""Deep joint source-channel coding with SNR attention: a picture straight to symbols, and back.

After DeepJSCC (arXiv 1809.01733), with ADJSCC's attention to the SNR (arXiv 2012.00533), as GVSC
(arXiv 2502.13838) sends first frames and sketches. Ours: the transforms of `transforms`, and
symbols in order of importance, so that a transmitter may cut the end off:

    picture [in, H, W] -> grid [C, H/8, W/8], channel after channel -> reals (2i, 2i + 1) are the
    real and imaginary part of symbol i -> the first `num_symbols`, scaled to unit mean power

With noise of variance N0 = 10^(-SNR/10) a complex symbol, N0 / 2 a real dimension. The receiver
puts zeros where nothing was sent. Both ends take the SNR they know; NaN where they know none.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

from semcast.networks.transforms import (
    DECODER_WIDTHS,
    DOWNSCALE,
    ENCODER_WIDTHS,
    AnalysisTransform,
    SynthesisTransform,
)
from semcast.weights import find_weights, read_weights

_LEAST_POWER = 1e-12


class Djscc(nn.Module):
    """Pictures [B, in, H, W] in -1..1, H and W multiples of 8.

    grid_channels: even; H/8 * W/8 * grid_channels / 2 symbols at most.
    """

    def __init__(
        self,
        in_channels: int,
        grid_channels: int,
        encoder_widths: tuple[int, int, int] = ENCODER_WIDTHS,
        decoder_widths: tuple[int, int, int] = DECODER_WIDTHS,
    ) -> None:
        super().__init__()
        self.in_channels, self.grid_channels = in_channels, grid_channels
        self.encoder = AnalysisTransform(
            in_channels, grid_channels, snr_aware=True, widths=encoder_widths
        )
        self.decoder = SynthesisTransform(
            grid_channels, in_channels, snr_aware=True, widths=decoder_widths
        )

    def max_symbols(self, width: int, height: int) -> int:
        """Symbols of a whole grid."""
        return (width // DOWNSCALE) * (height // DOWNSCALE) * self.grid_channels // 2

    def encode(self, picture: Tensor, snr_db: Tensor, num_symbols: int) -> Tensor:
        """Symbols [B, num_symbols, 2] (real, imaginary) of unit mean power; snr_db: [B]."""
        reals = self.encoder(picture, snr_db).float().flatten(1)[:, : 2 * num_symbols]
        power = reals.square().sum(1, keepdim=True) / num_symbols
        scaled: Tensor = reals * torch.rsqrt(power + _LEAST_POWER)
        symbols: Tensor = scaled.view(-1, num_symbols, 2)
        return symbols

    def decode(self, symbols: Tensor, snr_db: Tensor, width: int, height: int) -> Tensor:
        """Pictures [B, in, height, width] of symbols [B, n, 2] with noise; snr_db: [B]."""
        rows, columns = height // DOWNSCALE, width // DOWNSCALE
        # Unit power a complex symbol is a half a real one: back to unit variance.
        sent = symbols.flatten(1) * 2**0.5
        reals = nn.functional.pad(sent, (0, self.grid_channels * rows * columns - sent.shape[1]))
        picture: Tensor = self.decoder(reals.view(-1, self.grid_channels, rows, columns), snr_db)
        return picture


def awgn(symbols: Tensor, snr_db: Tensor) -> Tensor:
    """Symbols [B, n, 2] plus noise of N0 / 2 a real dimension: the channel in the training graph.

    The air link's own channel is `channel_emulator.impairments`; a test holds the two together.
    """
    noise_std = torch.sqrt(0.5 * 10 ** (-snr_db / 10))
    return symbols + noise_std.view(-1, 1, 1) * torch.randn_like(symbols)


@functools.cache
def bundled_djscc(name: str) -> Djscc:
    """A network that ships with this version, by the name of its weight file; once a process."""
    state, header = read_weights(find_weights(name))
    return build_djscc(state, header)


def build_djscc(state: dict[str, Tensor], header: dict[str, Any]) -> Djscc:
    """A network from what a weight file holds; eval mode, channels last."""
    config = header["config"]
    network = Djscc(
        config["in_channels"],
        config["grid_channels"],
        tuple(config["encoder_widths"]),
        tuple(config["decoder_widths"]),
    )
    network.load_state_dict(state)
    network.eval().requires_grad_(False)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
