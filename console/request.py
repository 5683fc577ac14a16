"""What a caller may ask of a live session. The page draws its controls from the JSON schema."""

from __future__ import annotations

from copy import copy
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

SNR_DB_MIN = -30.0
SNR_DB_MAX = 60.0
"""What the emulator can do; beyond, its arithmetic means nothing any more."""

SLIDER_DB_MIN = -5.0
SLIDER_DB_MAX = 20.0
"""What the page's slider spans: where the schemes differ."""

ChannelName = Literal["awgn", "rayleigh", "burst"]


class SessionRequest(BaseModel):
    """A live session: one clip, one scheme, one channel, and a baseline beside it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    clip: str = Field(
        min_length=1,
        max_length=1024,
        title="Clip",
        description="sample:NAME, upload:ID, webcam:ID, or a path on the transmitter's machine.",
    )
    scheme: str = Field(
        default="lowres",
        min_length=1,
        max_length=80,
        title="Scheme",
        description="Scheme id, or a comma list of modalities.",
    )
    baseline_scheme: str = Field(
        default="h264-ldpc",
        max_length=80,
        title="Baseline",
        description="Scheme to compare with at the same CBR; empty for none.",
    )
    snr_db: float = Field(
        default=10.0,
        ge=SNR_DB_MIN,
        le=SNR_DB_MAX,
        title="SNR (dB)",
        description="Es/N0 of the channel in dB.",
    )
    channel: ChannelName = Field(
        default="awgn", title="Channel", description="Kind of channel both links cross."
    )
    cbr: float | None = Field(
        default=None,
        ge=1e-5,
        le=0.5,
        title="CBR",
        description="Complex symbols per source sample; null takes the scheme's default.",
    )
    fps: float = Field(
        default=8.0,
        ge=1.0,
        le=60.0,
        title="Frames per second",
        description="Video frames a second.",
    )
    width: int = Field(
        default=256,
        ge=64,
        le=1920,
        multiple_of=2,
        title="Width",
        description="Width of the video in pixels, even.",
    )
    height: int = Field(
        default=256,
        ge=64,
        le=1088,
        multiple_of=2,
        title="Height",
        description="Height of the video in pixels, even.",
    )
    generator: str = Field(
        default="auto",
        min_length=1,
        max_length=80,
        title="Generator",
        description="What the receiver makes pictures with; auto takes the best for the scheme.",
    )
    generator_steps: int = Field(
        default=0,
        ge=0,
        le=8,
        title="Steps",
        description="Denoising steps a frame: more are slower; 0 is the generator's own choice.",
    )
    guidance: float = Field(
        default=0.0,
        ge=0.0,
        le=10.0,
        title="Guidance",
        description="How strongly the generator is held to what was received; 0 for none.",
    )
    mcs: str = Field(
        default="default",
        min_length=1,
        max_length=40,
        title="Modulation and coding",
        description="Rung for digital blocks: default (the scheme's), auto, or a rung id.",
    )
    segment: int = Field(
        default=8,
        ge=1,
        le=1000,
        title="Segment",
        description="Frames per segment: how often a fresh start is sent.",
    )
    seed: int = Field(
        default=7777,
        ge=0,
        le=2**53 - 1,
        title="Seed",
        description="Seed of the channel noise, the pilots and the generator.",
    )
    caption: str = Field(
        default="",
        max_length=500,
        title="Caption",
        description="Text that goes with the clip; empty takes the clip's own.",
    )
    segmenter: str = Field(
        default="",
        max_length=80,
        title="Segmenter",
        description="What finds objects: a name of 'semcast models'; empty takes the bundled one.",
    )
    sketcher: str = Field(
        default="",
        max_length=80,
        title="Sketcher",
        description="What finds strokes: a name; empty takes the bundled one.",
    )
    captioner: str = Field(
        default="",
        max_length=80,
        title="Captioner",
        description="What writes a caption where there is none: none, or a name of "
        "'semcast models'; empty takes the one that is installed, if any.",
    )
    burst_frames_mean: float = Field(
        default=4.0,
        ge=1.0,
        le=1000.0,
        title="Burst length",
        description="Burst channel: mean number of frames lost in a row.",
    )
    gap_frames_mean: float = Field(
        default=32.0,
        ge=1.0,
        le=100_000.0,
        title="Burst distance",
        description="Burst channel: mean number of frames between bursts.",
    )
    loop: bool = Field(default=True, title="Loop", description="Start the clip again when it ends.")


def _optional_fields() -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, info in SessionRequest.model_fields.items():
        optional = copy(info)
        optional.default = None
        fields[name] = (info.annotation, optional)
    return fields


SessionPatch: type[BaseModel] = create_model(
    "SessionPatch",
    __config__=ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False),
    __doc__="Fields of SessionRequest to change; those left out stay as they are.",
    **_optional_fields(),
)

LIVE_FIELDS = frozenset({"snr_db"})
"""Fields that change without a restart of the session. The kind of channel is part of its set-up:
the receiver equalises for it."""
