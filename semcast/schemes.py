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
class Learned:
    """How a modality crosses as analogue symbols.

    network: weight file of pictures that stand for themselves. every_frame: one each frame; else
    one a segment. adaptive: rates by patch, told beside the picture; else the same for all.
    changes: weight file of what is sent at the frames between, if it is what changed. smaller: it
    is pictures in fewer symbols. key_share: of a segment's symbols, for the picture at its start,
    where something is sent between.
    """

    modality: Modality
    network: str
    every_frame: bool = False
    adaptive: bool = False
    changes: str = ""
    smaller: bool = False
    key_share: float = 1.0

    @property
    def weights(self) -> tuple[str, ...]:
        """Weight files that both ends need."""
        return (self.network, self.changes) if self.changes else (self.network,)


@dataclass(frozen=True, slots=True)
class Scheme:
    """One way to send video.

    modalities: what is sent at each frame.
    default_cbr: symbols per source sample where the caller names none.
    default_mcs: "auto" (the receiver asks for the rung), or a rung fixed for the session.
    video_codec: codec of `Modality.VIDEO`, if the scheme sends it.
    learned: the modality whose codec is a network, if any: torch and weights at both ends.
    caption_share: of a segment's symbols that a caption may take where it is not sent alone.
    choices: ids of the schemes it picks among by the SNR, the most robust first.
    good_from_bits: `auto` takes it from the SNR at which a frame holds so many bits.
    origin: the paper it comes from, or "ours".
    """

    id: str
    title: str
    modalities: tuple[Modality, ...]
    default_cbr: float
    default_mcs: str
    origin: str
    video_codec: Literal["h264", "h265"] | None = None
    learned: Learned | None = None
    caption_share: float = 0.25
    choices: tuple[str, ...] = ()
    good_from_bits: int = 0


# 0.008 and 4-QAM are GVSC's for H.264/H.265 + LDPC (arXiv 2502.13838). Its LDPC rate is not
# published; 2/3 puts the cliff (4.6 dB for our short blocks) just below 5 dB, where the paper's
# figures have it.
_CLASSICAL_CBR = 0.008
_CLASSICAL_MCS = "qpsk-2/3"

# Ours: the middle of the papers' range (LGVSC 0.0006 .. GVSC 0.008).
_OUR_CBR = 0.004

PICTURE_NETWORK = "ntscc"
SKETCH_NETWORK = "djscc_sketch_k03"

# GVSC's symbols in a segment of 8 frames at 256x256 (arXiv 2502.13838): 1,147.56 for the caption,
# 1,024 for a sketch, 7,818 for a first frame. The CBRs below count 16 pilots a frame besides.
_GVSC_CAPTION = 1147.56
_GVSC_SAMPLES = 3 * 256 * 256 * 8
_GVSC_SKETCHES = 0.0026 * _GVSC_SAMPLES
_PILOTS = 8 * 16


def _gvsc_cbr(picture_symbols: float) -> float:
    """Of a caption, a picture of so many symbols and the pilots."""
    return (_GVSC_CAPTION + picture_symbols + _PILOTS) / _GVSC_SAMPLES


def _gvsc_caption_share(picture_symbols: float) -> float:
    return _GVSC_CAPTION / (_GVSC_CAPTION + picture_symbols)


SCHEMES: dict[str, Scheme] = {
    scheme.id: scheme
    for scheme in (
        Scheme(
            id="lowres",
            title="Low-res frames",
            modalities=(Modality.LOWRES,),
            default_cbr=_OUR_CBR,
            default_mcs="auto",
            origin="ours",
            # Ours: with fewer the tiny frames no longer follow what happens.
            good_from_bits=60,
        ),
        Scheme(
            id="contours-lowres",
            title="Contours + low-res frames",
            modalities=(Modality.CONTOURS, Modality.LOWRES),
            default_cbr=_OUR_CBR,
            default_mcs="auto",
            origin="Eteke et al.",
            # Ours: about what Eteke et al. spend on both (157 bits at 1024x512 and 17 fps).
            good_from_bits=160,
        ),
        Scheme(
            id="desc",
            title="Caption only",
            modalities=(Modality.CAPTION,),
            # 0.00073 is GVSC's for 765.04 bits a segment of 8 frames; with the pilots, 0.00082.
            default_cbr=0.00082,
            default_mcs="qpsk-1/3",
            origin="GVSC",
        ),
        Scheme(
            id="first-frame-desc",
            title="First frame + caption",
            modalities=(Modality.CAPTION, Modality.KEYFRAME),
            default_cbr=_gvsc_cbr(7818),
            default_mcs="qpsk-1/3",
            origin="GVSC",
            learned=Learned(Modality.KEYFRAME, PICTURE_NETWORK, adaptive=True),
            caption_share=_gvsc_caption_share(7818),
        ),
        Scheme(
            id="sketch-desc",
            title="First sketch + caption",
            modalities=(Modality.CAPTION, Modality.SKETCH),
            default_cbr=_gvsc_cbr(1024),
            default_mcs="qpsk-1/3",
            origin="GVSC",
            learned=Learned(Modality.SKETCH, SKETCH_NETWORK),
            caption_share=_gvsc_caption_share(1024),
        ),
        Scheme(
            id="sketches-desc",
            title="Sketches + caption",
            modalities=(Modality.CAPTION, Modality.SKETCH),
            # GVSC's sketches take a CBR of 0.0026.
            default_cbr=_gvsc_cbr(_GVSC_SKETCHES),
            default_mcs="qpsk-1/3",
            origin="GVSC",
            learned=Learned(
                Modality.SKETCH,
                SKETCH_NETWORK,
                smaller=True,
                key_share=1024 / _GVSC_SKETCHES,
            ),
            caption_share=_gvsc_caption_share(_GVSC_SKETCHES),
        ),
        Scheme(
            id="dvst",
            title="Video JSCC",
            modalities=(Modality.KEYFRAME,),
            # GVSC reports a CBR of 0.004, which counts no pilots.
            default_cbr=0.004 + _PILOTS / _GVSC_SAMPLES,
            default_mcs="auto",
            origin="ours, in DVST's place",
            learned=Learned(
                Modality.KEYFRAME,
                PICTURE_NETWORK,
                adaptive=True,
                changes="picture_video",
                # Ours: the best of 0.125, 0.25, 0.4 and 0.55 on training clips at 10 dB.
                key_share=0.25,
            ),
        ),
        Scheme(
            id="auto",
            title="Auto: the richest the SNR allows",
            modalities=(Modality.CAPTION, Modality.CONTOURS, Modality.LOWRES),
            default_cbr=_OUR_CBR,
            default_mcs="auto",
            origin="GVSC",
            choices=("desc", "lowres", "contours-lowres"),
        ),
        Scheme(
            id="djscc-rgb",
            title="DJSCC pictures",
            modalities=(Modality.KEYFRAME,),
            # 7,800 symbols a frame at 256x256 with its pilots: what GVSC spends on a first frame.
            default_cbr=0.039755,
            default_mcs="auto",
            origin="GVSC",
            learned=Learned(Modality.KEYFRAME, PICTURE_NETWORK, every_frame=True),
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

_LISTABLE = (
    Modality.CAPTION,
    Modality.CONTOURS,
    Modality.SKETCH,
    Modality.MOTION,
    Modality.LOWRES,
)
"""Modalities that a comma list may name, in the order in which a list is kept."""


def find_scheme(text: str) -> Scheme:
    """The scheme named by an id, or made of a comma list of modalities.

    Raises NotFoundError naming what there is.
    """
    if text in SCHEMES:
        return SCHEMES[text]
    listable = {modality.label: modality for modality in _LISTABLE}
    # The papers say "desc" where the report says "caption".
    names = ["caption" if (name := part.strip()) == "desc" else name for part in text.split(",")]
    if not all(name in listable for name in names):
        raise NotFoundError(
            f"Unknown scheme '{text}': choose one of {', '.join(SCHEMES)}, "
            f"or a comma list of {', '.join(listable)}."
        )
    modalities = tuple(modality for name, modality in listable.items() if name in names)
    return Scheme(
        id=",".join(modality.label for modality in modalities),
        title=" + ".join(modality.label for modality in modalities),
        modalities=modalities,
        default_cbr=_OUR_CBR,
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
