"""Networks without weights in the places of those that ship, and what is noted of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from learned_link import Written
from linear_codecs import (
    linear_ntscc,
    linear_video,
    put,
)
from numpy.typing import NDArray

from semcast.networks.ntscc import Base, Ntscc
from semcast.parts.patch_blocks import Allocation, PatchBlocks, SentBlock


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linear codes in the places of those that ship."""
    put(
        monkeypatch,
        ntscc=linear_ntscc(3, base=True),
        djscc_sketch_k03=linear_ntscc(1),
        picture_video=linear_video(3),
    )
    monkeypatch.setattr("semcast.parts.learned.digest", lambda name: "0a1b2c3d")


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> list[Written]:
    """Every block that is written, in order; not all are sent."""
    noted: list[Written] = []
    write = PatchBlocks.write

    def noting(
        self: PatchBlocks,
        allocation: Allocation,
        base: NDArray[np.uint8],
        reals: NDArray[np.float32],
        key: int,
    ) -> SentBlock:
        block = write(self, allocation, base, reals, key)
        noted.append(Written(allocation, base, block))
        return block

    monkeypatch.setattr(PatchBlocks, "write", noting)
    return noted


@pytest.fixture
def only_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between beginnings of segments no picture by choice, however much has changed."""
    monkeypatch.setattr("semcast.parts.change_code.squared_error", lambda *_: 0.0)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[float]]:
    """The SNR that each end of the link tells its network."""
    noted: dict[str, list[float]] = {"sender": [], "receiver": []}
    analyse, synthesise = Ntscc.analyse, Ntscc.synthesise

    def analysing(
        self: Ntscc, picture: torch.Tensor, snr_db: torch.Tensor, base: Base | None = None
    ) -> torch.Tensor:
        assert snr_db.shape == (1,)
        noted["sender"].append(float(snr_db))
        return analyse(self, picture, snr_db, base)

    def synthesising(
        self: Ntscc,
        y: torch.Tensor,
        counts: torch.Tensor,
        snr_db: torch.Tensor,
        base: Base | None = None,
    ) -> torch.Tensor:
        assert snr_db.shape == (1,)
        noted["receiver"].append(float(snr_db))
        return synthesise(self, y, counts, snr_db, base)

    monkeypatch.setattr(Ntscc, "analyse", analysing)
    monkeypatch.setattr(Ntscc, "synthesise", synthesising)
    return noted
