from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Modality(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODALITY_UNSPECIFIED: _ClassVar[Modality]
    MODALITY_CAPTION: _ClassVar[Modality]
    MODALITY_SKETCH: _ClassVar[Modality]
    MODALITY_KEYFRAME: _ClassVar[Modality]
    MODALITY_CONTOURS: _ClassVar[Modality]
    MODALITY_LOWRES: _ClassVar[Modality]
    MODALITY_VIDEO: _ClassVar[Modality]
    MODALITY_MOTION: _ClassVar[Modality]
    MODALITY_CONTROL: _ClassVar[Modality]
    MODALITY_PILOT: _ClassVar[Modality]

class ChannelModel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHANNEL_MODEL_UNSPECIFIED: _ClassVar[ChannelModel]
    CHANNEL_MODEL_AWGN: _ClassVar[ChannelModel]
    CHANNEL_MODEL_RAYLEIGH: _ClassVar[ChannelModel]
    CHANNEL_MODEL_BURST: _ClassVar[ChannelModel]
MODALITY_UNSPECIFIED: Modality
MODALITY_CAPTION: Modality
MODALITY_SKETCH: Modality
MODALITY_KEYFRAME: Modality
MODALITY_CONTOURS: Modality
MODALITY_LOWRES: Modality
MODALITY_VIDEO: Modality
MODALITY_MOTION: Modality
MODALITY_CONTROL: Modality
MODALITY_PILOT: Modality
CHANNEL_MODEL_UNSPECIFIED: ChannelModel
CHANNEL_MODEL_AWGN: ChannelModel
CHANNEL_MODEL_RAYLEIGH: ChannelModel
CHANNEL_MODEL_BURST: ChannelModel

class SessionSetup(_message.Message):
    __slots__ = ("session_id", "generation", "scheme", "width_px", "height_px", "frames_per_second", "segment_frames", "symbols_per_frame", "mcs", "seed", "generator", "feedback_delay_frames", "pilots_per_frame", "channel_model", "live", "measurement_tap", "codec_weights", "generator_steps", "guidance")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SCHEME_FIELD_NUMBER: _ClassVar[int]
    WIDTH_PX_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_PX_FIELD_NUMBER: _ClassVar[int]
    FRAMES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FRAMES_FIELD_NUMBER: _ClassVar[int]
    SYMBOLS_PER_FRAME_FIELD_NUMBER: _ClassVar[int]
    MCS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    GENERATOR_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_DELAY_FRAMES_FIELD_NUMBER: _ClassVar[int]
    PILOTS_PER_FRAME_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_MODEL_FIELD_NUMBER: _ClassVar[int]
    LIVE_FIELD_NUMBER: _ClassVar[int]
    MEASUREMENT_TAP_FIELD_NUMBER: _ClassVar[int]
    CODEC_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    GENERATOR_STEPS_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    generation: int
    scheme: str
    width_px: int
    height_px: int
    frames_per_second: float
    segment_frames: int
    symbols_per_frame: int
    mcs: str
    seed: int
    generator: str
    feedback_delay_frames: int
    pilots_per_frame: int
    channel_model: ChannelModel
    live: bool
    measurement_tap: bool
    codec_weights: str
    generator_steps: int
    guidance: float
    def __init__(self, session_id: _Optional[str] = ..., generation: _Optional[int] = ..., scheme: _Optional[str] = ..., width_px: _Optional[int] = ..., height_px: _Optional[int] = ..., frames_per_second: _Optional[float] = ..., segment_frames: _Optional[int] = ..., symbols_per_frame: _Optional[int] = ..., mcs: _Optional[str] = ..., seed: _Optional[int] = ..., generator: _Optional[str] = ..., feedback_delay_frames: _Optional[int] = ..., pilots_per_frame: _Optional[int] = ..., channel_model: _Optional[_Union[ChannelModel, str]] = ..., live: _Optional[bool] = ..., measurement_tap: _Optional[bool] = ..., codec_weights: _Optional[str] = ..., generator_steps: _Optional[int] = ..., guidance: _Optional[float] = ...) -> None: ...

class Block(_message.Message):
    __slots__ = ("modality", "num_symbols", "iq")
    MODALITY_FIELD_NUMBER: _ClassVar[int]
    NUM_SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    IQ_FIELD_NUMBER: _ClassVar[int]
    modality: Modality
    num_symbols: int
    iq: bytes
    def __init__(self, modality: _Optional[_Union[Modality, str]] = ..., num_symbols: _Optional[int] = ..., iq: _Optional[bytes] = ...) -> None: ...

class RadioFrame(_message.Message):
    __slots__ = ("session_id", "generation", "sequence", "pts_us", "blocks")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PTS_US_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    generation: int
    sequence: int
    pts_us: int
    blocks: _containers.RepeatedCompositeFieldContainer[Block]
    def __init__(self, session_id: _Optional[str] = ..., generation: _Optional[int] = ..., sequence: _Optional[int] = ..., pts_us: _Optional[int] = ..., blocks: _Optional[_Iterable[_Union[Block, _Mapping]]] = ...) -> None: ...

class Feedback(_message.Message):
    __slots__ = ("generation", "sequence", "received_modalities", "rung_index", "snr_db_estimated", "feedback_bits")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_MODALITIES_FIELD_NUMBER: _ClassVar[int]
    RUNG_INDEX_FIELD_NUMBER: _ClassVar[int]
    SNR_DB_ESTIMATED_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_BITS_FIELD_NUMBER: _ClassVar[int]
    generation: int
    sequence: int
    received_modalities: _containers.RepeatedScalarFieldContainer[Modality]
    rung_index: int
    snr_db_estimated: float
    feedback_bits: int
    def __init__(self, generation: _Optional[int] = ..., sequence: _Optional[int] = ..., received_modalities: _Optional[_Iterable[_Union[Modality, str]]] = ..., rung_index: _Optional[int] = ..., snr_db_estimated: _Optional[float] = ..., feedback_bits: _Optional[int] = ...) -> None: ...

class StageDuration(_message.Message):
    __slots__ = ("stage", "duration_ms")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    stage: str
    duration_ms: float
    def __init__(self, stage: _Optional[str] = ..., duration_ms: _Optional[float] = ...) -> None: ...

class ReceiverTelemetry(_message.Message):
    __slots__ = ("generation", "sequence", "pts_us", "snr_db_estimated", "crc_checked_modalities", "crc_failed_modalities", "concealed", "outage", "skipped", "generator", "stages", "constellation_iq", "constellation_kind", "rung_id", "caption_received", "frames_dropped_total", "queue_depth_frames", "device", "semantics", "scheme_id", "held", "cached_frames", "cache_resets")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PTS_US_FIELD_NUMBER: _ClassVar[int]
    SNR_DB_ESTIMATED_FIELD_NUMBER: _ClassVar[int]
    CRC_CHECKED_MODALITIES_FIELD_NUMBER: _ClassVar[int]
    CRC_FAILED_MODALITIES_FIELD_NUMBER: _ClassVar[int]
    CONCEALED_FIELD_NUMBER: _ClassVar[int]
    OUTAGE_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    GENERATOR_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    CONSTELLATION_IQ_FIELD_NUMBER: _ClassVar[int]
    CONSTELLATION_KIND_FIELD_NUMBER: _ClassVar[int]
    RUNG_ID_FIELD_NUMBER: _ClassVar[int]
    CAPTION_RECEIVED_FIELD_NUMBER: _ClassVar[int]
    FRAMES_DROPPED_TOTAL_FIELD_NUMBER: _ClassVar[int]
    QUEUE_DEPTH_FRAMES_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    SEMANTICS_FIELD_NUMBER: _ClassVar[int]
    SCHEME_ID_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    CACHED_FRAMES_FIELD_NUMBER: _ClassVar[int]
    CACHE_RESETS_FIELD_NUMBER: _ClassVar[int]
    generation: int
    sequence: int
    pts_us: int
    snr_db_estimated: float
    crc_checked_modalities: _containers.RepeatedScalarFieldContainer[Modality]
    crc_failed_modalities: _containers.RepeatedScalarFieldContainer[Modality]
    concealed: bool
    outage: bool
    skipped: bool
    generator: str
    stages: _containers.RepeatedCompositeFieldContainer[StageDuration]
    constellation_iq: bytes
    constellation_kind: str
    rung_id: str
    caption_received: str
    frames_dropped_total: int
    queue_depth_frames: int
    device: str
    semantics: ReceivedSemantics
    scheme_id: str
    held: _containers.RepeatedCompositeFieldContainer[HeldModality]
    cached_frames: int
    cache_resets: int
    def __init__(self, generation: _Optional[int] = ..., sequence: _Optional[int] = ..., pts_us: _Optional[int] = ..., snr_db_estimated: _Optional[float] = ..., crc_checked_modalities: _Optional[_Iterable[_Union[Modality, str]]] = ..., crc_failed_modalities: _Optional[_Iterable[_Union[Modality, str]]] = ..., concealed: _Optional[bool] = ..., outage: _Optional[bool] = ..., skipped: _Optional[bool] = ..., generator: _Optional[str] = ..., stages: _Optional[_Iterable[_Union[StageDuration, _Mapping]]] = ..., constellation_iq: _Optional[bytes] = ..., constellation_kind: _Optional[str] = ..., rung_id: _Optional[str] = ..., caption_received: _Optional[str] = ..., frames_dropped_total: _Optional[int] = ..., queue_depth_frames: _Optional[int] = ..., device: _Optional[str] = ..., semantics: _Optional[_Union[ReceivedSemantics, _Mapping]] = ..., scheme_id: _Optional[str] = ..., held: _Optional[_Iterable[_Union[HeldModality, _Mapping]]] = ..., cached_frames: _Optional[int] = ..., cache_resets: _Optional[int] = ...) -> None: ...

class HeldModality(_message.Message):
    __slots__ = ("modality", "age_frames")
    MODALITY_FIELD_NUMBER: _ClassVar[int]
    AGE_FRAMES_FIELD_NUMBER: _ClassVar[int]
    modality: Modality
    age_frames: int
    def __init__(self, modality: _Optional[_Union[Modality, str]] = ..., age_frames: _Optional[int] = ...) -> None: ...

class ReceivedSemantics(_message.Message):
    __slots__ = ("has_contours", "contours", "lowres", "sketch", "motion_percent")
    HAS_CONTOURS_FIELD_NUMBER: _ClassVar[int]
    CONTOURS_FIELD_NUMBER: _ClassVar[int]
    LOWRES_FIELD_NUMBER: _ClassVar[int]
    SKETCH_FIELD_NUMBER: _ClassVar[int]
    MOTION_PERCENT_FIELD_NUMBER: _ClassVar[int]
    has_contours: bool
    contours: _containers.RepeatedCompositeFieldContainer[Contour]
    lowres: Bitmap
    sketch: Bitmap
    motion_percent: float
    def __init__(self, has_contours: _Optional[bool] = ..., contours: _Optional[_Iterable[_Union[Contour, _Mapping]]] = ..., lowres: _Optional[_Union[Bitmap, _Mapping]] = ..., sketch: _Optional[_Union[Bitmap, _Mapping]] = ..., motion_percent: _Optional[float] = ...) -> None: ...

class Contour(_message.Message):
    __slots__ = ("label", "xy_px", "hole")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    XY_PX_FIELD_NUMBER: _ClassVar[int]
    HOLE_FIELD_NUMBER: _ClassVar[int]
    label: int
    xy_px: _containers.RepeatedScalarFieldContainer[int]
    hole: bool
    def __init__(self, label: _Optional[int] = ..., xy_px: _Optional[_Iterable[int]] = ..., hole: _Optional[bool] = ...) -> None: ...

class Bitmap(_message.Message):
    __slots__ = ("width_px", "height_px", "data")
    WIDTH_PX_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_PX_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    width_px: int
    height_px: int
    data: bytes
    def __init__(self, width_px: _Optional[int] = ..., height_px: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class ChannelTelemetry(_message.Message):
    __slots__ = ("generation", "sequence", "snr_db_requested", "signal_energy", "noise_energy", "num_symbols", "block_lost", "process_ms")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SNR_DB_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_ENERGY_FIELD_NUMBER: _ClassVar[int]
    NOISE_ENERGY_FIELD_NUMBER: _ClassVar[int]
    NUM_SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    BLOCK_LOST_FIELD_NUMBER: _ClassVar[int]
    PROCESS_MS_FIELD_NUMBER: _ClassVar[int]
    generation: int
    sequence: int
    snr_db_requested: float
    signal_energy: float
    noise_energy: float
    num_symbols: int
    block_lost: bool
    process_ms: float
    def __init__(self, generation: _Optional[int] = ..., sequence: _Optional[int] = ..., snr_db_requested: _Optional[float] = ..., signal_energy: _Optional[float] = ..., noise_energy: _Optional[float] = ..., num_symbols: _Optional[int] = ..., block_lost: _Optional[bool] = ..., process_ms: _Optional[float] = ...) -> None: ...

class TapFrame(_message.Message):
    __slots__ = ("generation", "sequence", "pts_us", "width_px", "height_px", "rgb", "labels")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PTS_US_FIELD_NUMBER: _ClassVar[int]
    WIDTH_PX_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_PX_FIELD_NUMBER: _ClassVar[int]
    RGB_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    generation: int
    sequence: int
    pts_us: int
    width_px: int
    height_px: int
    rgb: bytes
    labels: bytes
    def __init__(self, generation: _Optional[int] = ..., sequence: _Optional[int] = ..., pts_us: _Optional[int] = ..., width_px: _Optional[int] = ..., height_px: _Optional[int] = ..., rgb: _Optional[bytes] = ..., labels: _Optional[bytes] = ...) -> None: ...

class ChannelSettings(_message.Message):
    __slots__ = ("snr_db", "model", "seed", "burst_frames_mean", "gap_frames_mean")
    SNR_DB_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    BURST_FRAMES_MEAN_FIELD_NUMBER: _ClassVar[int]
    GAP_FRAMES_MEAN_FIELD_NUMBER: _ClassVar[int]
    snr_db: float
    model: ChannelModel
    seed: int
    burst_frames_mean: float
    gap_frames_mean: float
    def __init__(self, snr_db: _Optional[float] = ..., model: _Optional[_Union[ChannelModel, str]] = ..., seed: _Optional[int] = ..., burst_frames_mean: _Optional[float] = ..., gap_frames_mean: _Optional[float] = ...) -> None: ...
