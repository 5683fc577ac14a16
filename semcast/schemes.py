"""Schemes: rows of a table. A scheme is a set of modalities and how each is coded.

A new scheme is a new row. `--scheme` also takes a comma list of modalities, which makes a row on
the fly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from semcast.air.ladder import rung
from semcast.errors import InputError, NotFoundError
from semcast.session import Modality


@dataclass(frozen=True, slots=True)
class Scheme:
    """One way to send video.

    modalities: what is sent at each frame.
    default_cbr: symbols per source sample where the caller names none.
    default_mcs: "auto" (the receiver asks for the rung), or a rung fixed for the session.
    video_codec: codec of `Modality.VIDEO`, if the scheme sends it.
    learned: whether it needs torch and bundled weights.
    origin: the paper it comes from, or "ours".
    """

    id: str
    title: str
    modalities: tuple[Modality, ...]
    default_cbr: float
    default_mcs: str
    origin: str
    video_codec: Literal["h264", "h265"] | None = None
    learned: bool = False


# 0.008 and 4-QAM are GVSC's for H.264/H.265 + LDPC (arXiv 2502.13838). Its LDPC rate is not
# published; 2/3 puts the cliff (4.6 dB for our short blocks) just below 5 dB, where the paper's
# figures have it.
_CLASSICAL_CBR = 0.008
_CLASSICAL_MCS = "qpsk-2/3"

SCHEMES: dict[str, Scheme] = {
    scheme.id: scheme
    for scheme in (
        Scheme(
            id="lowres",
            title="Low-res frames",
            modalities=(Modality.LOWRES,),
            # Ours: the middle of the papers' range (LGVSC 0.0006 .. GVSC 0.008).
            default_cbr=0.004,
            default_mcs="auto",
            origin="ours",
        ),
        Scheme(
            id="djscc-rgb",
            title="DJSCC pictures",
            modalities=(Modality.KEYFRAME,),
            # 7,800 symbols a frame at 256x256 with its pilots: what GVSC spends on a first frame.
            default_cbr=0.039755,
            default_mcs="auto",
            origin="GVSC",
            learned=True,
        ),
        Scheme(
            id="h264-ldpc",
            title="H.264 + LDPC",
            modalities=(Modality.VIDEO,),
            default_cbr=_CLASSICAL_CBR,
            default_mcs=_CLASSICAL_MCS,
            origin="GVSC",
            video_codec="h264",
        ),
        Scheme(
            id="h265-ldpc",
            title="H.265 + LDPC",
            modalities=(Modality.VIDEO,),
            default_cbr=_CLASSICAL_CBR,
            default_mcs=_CLASSICAL_MCS,
            origin="GVSC",
            video_codec="h265",
        ),
    )
}

_LISTABLE = (Modality.LOWRES,)
"""Modalities that a comma list may name."""


def find_scheme(text: str) -> Scheme:
    """The scheme named by an id, or made of a comma list of modalities.

    Raises NotFoundError naming what there is.
    """
    if text in SCHEMES:
        return SCHEMES[text]
    listable = {modality.label: modality for modality in _LISTABLE}
    names = [name.strip() for name in text.split(",")]
    if not all(name in listable for name in names):
        raise NotFoundError(
            f"Unknown scheme '{text}': choose one of {', '.join(SCHEMES)}, "
            f"or a comma list of {', '.join(listable)}."
        )
    modalities = tuple(dict.fromkeys(listable[name] for name in names))
    return Scheme(
        id=",".join(modality.label for modality in modalities),
        title=" + ".join(modality.label for modality in modalities),
        modalities=modalities,
        default_cbr=SCHEMES["lowres"].default_cbr,
        default_mcs="auto",
        origin="ours",
    )


def resolve_mcs(scheme: Scheme, mcs: str) -> str:
    """The mcs a session uses: the caller's, or the scheme's default for "" and "default".

    Raises InputError for a rung that is not on the ladder, and for "auto" where it must be fixed.
    """
    chosen = scheme.default_mcs if mcs in ("", "default") else mcs
    if chosen != "auto":
        rung(chosen)
    elif scheme.video_codec:
        raise InputError(
            f"'{scheme.id}' has modulation and code fixed for the session, as in the paper: "
            f"give --mcs a rung such as {_CLASSICAL_MCS}."
        )
    return chosen


def symbols_per_frame(cbr: float, width: int, height: int) -> int:
    """Complex symbols a video frame may use at a CBR: CBR times 3 H W (GVSC's definition).

    Raises InputError for a CBR that cannot be met.
    """
    if not 0.0 < cbr <= 1.0:
        raise InputError(f"CBR {cbr:g} is out of range: give symbols per source sample, 0 to 1.")
    return max(1, round(cbr * 3 * width * height))
