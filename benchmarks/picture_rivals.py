"""What digital sending makes of one picture: H.265 intra + our LDPC, at every rung of the ladder.

    OMP_NUM_THREADS=1 python -m benchmarks.picture_rivals --data ../shared/data [--pictures 4]

A picture at N symbols and a rung: the x265 picture of highest PSNR whose bits fit, through
`encode_block`, the channel emulator and `decode_block`, noise drawn anew for each picture and SNR;
where the block is refused, a grey picture (128). A picture that does not fit at the coarsest
quantiser is grey too. The rival has it easier than our own scheme: no pilots, the noise variance is
known, x265 may shift the chroma quantiser (which helps the PSNR of RGB), and what both ends can
agree on beforehand (VPS and SPS) is not sent. 4:2:0, as in `h265-ldpc`; `psnr_db_444` is what
4:4:4 would give where nothing is lost, at the rates of the SNR sweeps.

Half a dB above what the ladder asks for, a block is taken to arrive without trying; further down
each is decoded. `threshold_snr_db`: the lowest SNR, in steps of 0.25 dB, from which none was lost.
Writes `benchmarks/results/pictures-rivals.json`, which holds for any weights of ours.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
from av.video.reformatter import Colorspace
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.picture_conditions import (
    CASES,
    SNRS_DB,
    Case,
    Judge,
    Picture,
    Quality,
    mean_quality,
    read_pictures,
)
from channel_emulator.impairments import ChannelSettings, Emulator
from semcast.air.digital import decode_block, encode_block, payload_bits
from semcast.air.ladder import LADDER, Rung
from semcast.codecs.access_unit import pack
from semcast.codecs.classical import ClassicalDecoder
from semcast.metrics.psnr import psnr_db
from semcast.session import Block, Modality, RadioFrame

RESULT = Path(__file__).parent / "results" / "pictures-rivals.json"

GREY = 128
CHROMA_OFFSETS = (0, -6, -12)
"""Steps that chroma may be quantised finer than luma; tried all, and the best taken."""
COARSEST_QP = 51
_X265 = (
    "keyint=1:bframes=0:rc-lookahead=0:lookahead-slices=0:scenecut=0:frame-threads=1:pools=none:"
    "wpp=0:info=0:repeat-headers=1:annexb=1:aud=0:hrd=0:slices=1:log-level=none"
)

SURE_ABOVE_DB, STEP_DB = 0.5, 0.25
KEY = 7777


@dataclass(frozen=True)
class Coded:
    """An access unit: what set-up fixes (VPS and SPS), and what must cross (PPS and slice)."""

    set_up: bytes
    payload: bytes


def encode_intra(rgb: Picture, qp: int, chroma_offset: int, pixels: str) -> bytes:
    """Access unit of one picture [H, W, 3], even sides; pixels: `yuv420p` or `yuv444p`."""
    context = cast(av.VideoCodecContext, av.VideoCodecContext.create("libx265", "w"))
    context.height, context.width = rgb.shape[:2]
    context.pix_fmt = pixels
    context.framerate = Fraction(1)
    context.time_base = Fraction(1)
    context.thread_count = 1
    offsets = f"cbqpoffs={chroma_offset}:crqpoffs={chroma_offset}"
    parameters = f"{_X265}:qp={qp}:{offsets}"
    context.options = {"preset": "slow", "tune": "psnr", "x265-params": parameters}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
    frame = frame.reformat(format=pixels, dst_colorspace=Colorspace.ITU601)
    frame.pts = 0
    (packet,) = [*context.encode(frame), *context.encode(None)]
    return pack("h265", bytes(packet))


def split_set_up(access_unit: bytes) -> Coded:
    """Takes the VPS and the SPS off, which depend on the picture's size alone."""
    end = 0
    for _ in ("VPS", "SPS"):
        length = access_unit[end + 1]
        assert length < 128, "a longer parameter set has a longer length field"
        end += 2 + length
    return Coded(access_unit[:end], access_unit[end:])


class IntraPicture:
    """One picture [H, W, 3] as x265 may code it; does each thing it is asked for once.

    pixels: `yuv420p` or `yuv444p`. chroma_offsets: to choose from.
    """

    def __init__(
        self,
        rgb: Picture,
        judge: Judge,
        pixels: str = "yuv420p",
        chroma_offsets: Sequence[int] = CHROMA_OFFSETS,
    ) -> None:
        self.rgb = rgb
        self._judge, self._pixels, self._chroma_offsets = judge, pixels, chroma_offsets
        self._coded = functools.cache(self._encode)
        self.psnr_db = functools.cache(lambda coded: psnr_db(rgb, self.decode(coded)))
        self.quality = functools.cache(self._quality)

    def best_within(self, num_bits: int) -> Coded | None:
        """That of highest PSNR whose payload has at most `num_bits`; None where none has."""
        fitting = []
        for offset in self._chroma_offsets:
            low, high = 0, COARSEST_QP + 1  # the finest that fits lies in low..high; high: none
            while low < high:
                middle = (low + high) // 2
                fits = 8 * len(self._coded(middle, offset).payload) <= num_bits
                low, high = (low, middle) if fits else (middle + 1, high)
            if low <= COARSEST_QP:
                fitting.append(self._coded(low, offset))
        return max(fitting, key=self.psnr_db, default=None)

    def decode(self, coded: Coded) -> Picture:
        """What an error-free link shows."""
        height, width = self.rgb.shape[:2]
        picture = ClassicalDecoder("h265", width, height).decode(coded.set_up + coded.payload)
        assert picture is not None, "what x265 made must decode"
        return picture

    def _encode(self, qp: int, chroma_offset: int) -> Coded:
        return split_set_up(encode_intra(self.rgb, qp, chroma_offset, self._pixels))

    def _quality(self, coded: Coded | None) -> Quality:
        """Of the decoded picture, or of grey where nothing came."""
        grey = np.full_like(self.rgb, GREY)
        return self._judge.quality(self.rgb, grey if coded is None else self.decode(coded))


def crosses(payload: bytes, num_symbols: int, rung: Rung, snr_db: float, seed: int) -> bool:
    """Whether the payload, padded to all the bits that the rung takes, is accepted."""
    bits = np.zeros(payload_bits(num_symbols, rung), np.uint8)
    sent = np.unpackbits(np.frombuffer(payload, np.uint8))
    bits[: len(sent)] = sent
    symbols = encode_block(bits, num_symbols, rung, KEY)
    received = through_channel(symbols, snr_db, seed)
    noise_var = 10 ** (-snr_db / 10)
    return decode_block(received, noise_var, rung, len(bits), KEY).crc_ok


def through_channel(
    symbols: NDArray[np.complex64], snr_db: float, seed: int
) -> NDArray[np.complex64]:
    """One block through the emulator's AWGN."""
    frame = RadioFrame(1, 0, 0, (Block(Modality.VIDEO, symbols),))
    arrived, _ = Emulator(1).apply(frame, ChannelSettings(snr_db=snr_db, seed=seed))
    return arrived.blocks[0].samples


class SentBlocks:
    """The pictures of one case at one rung, each a block; what of them arrives at an SNR.

    coded: what is sent of each picture; None where it does not fit.
    """

    def __init__(self, case: Case, rung: Rung, pictures: Sequence[IntraPicture]) -> None:
        self._rung = rung
        self.num_symbols = [case.num_symbols(picture.rgb) for picture in pictures]
        self.coded = [
            picture.best_within(payload_bits(count, rung))
            for picture, count in zip(pictures, self.num_symbols, strict=True)
        ]
        self.num_fitting = sum(coded is not None for coded in self.coded)
        self._arrived = functools.cache(self._send)

    def arrived(self, snr_db: float) -> list[Coded | None]:
        """What is accepted of each picture; noise is drawn anew for each picture and SNR."""
        if snr_db > self._rung.min_snr_db + SURE_ABOVE_DB:
            return self.coded
        return self._arrived(snr_db)

    def _send(self, snr_db: float) -> list[Coded | None]:
        return [
            coded
            if coded and crosses(coded.payload, count, self._rung, snr_db, seed=place)
            else None
            for place, (coded, count) in enumerate(zip(self.coded, self.num_symbols, strict=True))
        ]

    def lost_by_snr_db(self) -> dict[float, int]:
        """Blocks lost at each SNR: downward from where all are sure to arrive to where none do."""
        lost: dict[float, int] = {}
        snr_db = self._rung.min_snr_db + SURE_ABOVE_DB
        while self.num_fitting and self.num_fitting not in lost.values():
            lost[snr_db] = self.num_fitting - sum(c is not None for c in self.arrived(snr_db))
            snr_db -= STEP_DB
        return lost


def threshold_snr_db(lost: dict[float, int]) -> float | None:
    """The lowest SNR from which upward nothing was lost; None where something always was."""
    threshold = None
    for snr_db in sorted(lost, reverse=True):
        if lost[snr_db]:
            break
        threshold = round(snr_db, 2)
    return threshold


def measure_rung(
    case: Case, rung: Rung, pictures: list[IntraPicture], in_444: list[IntraPicture]
) -> dict[str, Any]:
    """One row: quality `coded` without errors, `grey` where all is lost, `shown` at each SNR.

    in_444: the same pictures in 4:4:4.
    """
    blocks = SentBlocks(case, rung, pictures)

    def quality(arrived: list[Coded | None]) -> dict[str, float]:
        of_pictures = (p.quality(coded) for p, coded in zip(pictures, arrived, strict=True))
        return mean_quality(of_pictures).row()

    row: dict[str, Any] = {
        "pictures": case.pictures,
        "cbr": round(case.cbr, 5),
        "rung": rung.id,
        "num_pictures": len(pictures),
        "num_fitting": blocks.num_fitting,
        "num_symbols": blocks.num_symbols[0],
        "payload_bits": payload_bits(blocks.num_symbols[0], rung),
        "coded": quality(blocks.coded),
        "grey": quality([None] * len(pictures)),
    }
    if case.snrs_db == SNRS_DB:
        lost = blocks.lost_by_snr_db()
        row["threshold_snr_db"] = threshold_snr_db(lost)
        row["lost_blocks"] = {f"{snr_db:.2f}": lost[snr_db] for snr_db in sorted(lost)}
        finer = SentBlocks(case, rung, in_444).coded
        values = [p.psnr_db(coded) for p, coded in zip(in_444, finer, strict=True) if coded]
        row["psnr_db_444"] = round(float(np.mean(values)), 3) if all(finer) else None
    row["shown"] = [
        {"snr_db": snr_db, **quality(blocks.arrived(snr_db))} for snr_db in case.snrs_db
    ]
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pictures", type=int, help="of each set; default: all")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    judge = Judge()
    rows = []
    with tqdm(total=len(CASES) * len(LADDER), unit="rung") as progress:
        for name, pictures in read_pictures(options.data, options.pictures).items():
            intra = [IntraPicture(picture, judge) for picture in pictures]
            in_444 = [IntraPicture(picture, judge, "yuv444p", (0,)) for picture in pictures]
            for case in CASES:
                for rung in LADDER if case.pictures == name else ():
                    row = measure_rung(case, rung, intra, in_444)
                    rows.append(row)
                    progress.update()
                    threshold = row.get("threshold_snr_db", "not measured")
                    progress.write(
                        f"{name} {case.cbr:.4f} {rung.id}: {row['num_fitting']} fit, "
                        f"{row['coded']}, threshold {threshold}"
                    )
    options.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
