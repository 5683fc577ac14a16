from semcast.v1 import link_pb2 as _link_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SessionState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SESSION_STATE_UNSPECIFIED: _ClassVar[SessionState]
    SESSION_STATE_CONNECTING: _ClassVar[SessionState]
    SESSION_STATE_STREAMING: _ClassVar[SessionState]
    SESSION_STATE_ENDED: _ClassVar[SessionState]
    SESSION_STATE_FAILED: _ClassVar[SessionState]
SESSION_STATE_UNSPECIFIED: SessionState
SESSION_STATE_CONNECTING: SessionState
SESSION_STATE_STREAMING: SessionState
SESSION_STATE_ENDED: SessionState
SESSION_STATE_FAILED: SessionState

class SessionSpec(_message.Message):
    __slots__ = ("session_id", "clip", "scheme", "baseline_scheme", "width_px", "height_px", "frames_per_second", "segment_frames", "cbr", "mcs", "seed", "generator", "caption", "max_frames", "paced", "loop", "measurement_tap", "channel", "feedback_delay_frames", "segmenter", "sketcher", "captioner", "generator_steps", "guidance")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    CLIP_FIELD_NUMBER: _ClassVar[int]
    SCHEME_FIELD_NUMBER: _ClassVar[int]
    BASELINE_SCHEME_FIELD_NUMBER: _ClassVar[int]
    WIDTH_PX_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_PX_FIELD_NUMBER: _ClassVar[int]
    FRAMES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FRAMES_FIELD_NUMBER: _ClassVar[int]
    CBR_FIELD_NUMBER: _ClassVar[int]
    MCS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    GENERATOR_FIELD_NUMBER: _ClassVar[int]
    CAPTION_FIELD_NUMBER: _ClassVar[int]
    MAX_FRAMES_FIELD_NUMBER: _ClassVar[int]
    PACED_FIELD_NUMBER: _ClassVar[int]
    LOOP_FIELD_NUMBER: _ClassVar[int]
    MEASUREMENT_TAP_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_DELAY_FRAMES_FIELD_NUMBER: _ClassVar[int]
    SEGMENTER_FIELD_NUMBER: _ClassVar[int]
    SKETCHER_FIELD_NUMBER: _ClassVar[int]
    CAPTIONER_FIELD_NUMBER: _ClassVar[int]
    GENERATOR_STEPS_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    clip: str
    scheme: str
    baseline_scheme: str
    width_px: int
    height_px: int
    frames_per_second: float
    segment_frames: int
    cbr: float
    mcs: str
    seed: int
    generator: str
    caption: str
    max_frames: int
    paced: bool
    loop: bool
    measurement_tap: bool
    channel: _link_pb2.ChannelSettings
    feedback_delay_frames: int
    segmenter: str
    sketcher: str
    captioner: str
    generator_steps: int
    guidance: float
    def __init__(self, session_id: _Optional[str] = ..., clip: _Optional[str] = ..., scheme: _Optional[str] = ..., baseline_scheme: _Optional[str] = ..., width_px: _Optional[int] = ..., height_px: _Optional[int] = ..., frames_per_second: _Optional[float] = ..., segment_frames: _Optional[int] = ..., cbr: _Optional[float] = ..., mcs: _Optional[str] = ..., seed: _Optional[int] = ..., generator: _Optional[str] = ..., caption: _Optional[str] = ..., max_frames: _Optional[int] = ..., paced: _Optional[bool] = ..., loop: _Optional[bool] = ..., measurement_tap: _Optional[bool] = ..., channel: _Optional[_Union[_link_pb2.ChannelSettings, _Mapping]] = ..., feedback_delay_frames: _Optional[int] = ..., segmenter: _Optional[str] = ..., sketcher: _Optional[str] = ..., captioner: _Optional[str] = ..., generator_steps: _Optional[int] = ..., guidance: _Optional[float] = ...) -> None: ...

class ModalityCount(_message.Message):
    __slots__ = ("modality", "count")
    MODALITY_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    modality: _link_pb2.Modality
    count: int
    def __init__(self, modality: _Optional[_Union[_link_pb2.Modality, str]] = ..., count: _Optional[int] = ...) -> None: ...

class FrameReport(_message.Message):
    __slots__ = ("sequence", "pts_us", "generation", "symbols_by_modality", "payload_bits_by_modality", "information_bits", "feedback_bits", "receiver", "channel", "latency_ms", "psnr_db", "stages", "caption_sent", "frames_skipped_total", "cbr_target", "coarseness", "coarseness_detail")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PTS_US_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SYMBOLS_BY_MODALITY_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_BITS_BY_MODALITY_FIELD_NUMBER: _ClassVar[int]
    INFORMATION_BITS_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_BITS_FIELD_NUMBER: _ClassVar[int]
    RECEIVER_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    LATENCY_MS_FIELD_NUMBER: _ClassVar[int]
    PSNR_DB_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    CAPTION_SENT_FIELD_NUMBER: _ClassVar[int]
    FRAMES_SKIPPED_TOTAL_FIELD_NUMBER: _ClassVar[int]
    CBR_TARGET_FIELD_NUMBER: _ClassVar[int]
    COARSENESS_FIELD_NUMBER: _ClassVar[int]
    COARSENESS_DETAIL_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    pts_us: int
    generation: int
    symbols_by_modality: _containers.RepeatedCompositeFieldContainer[ModalityCount]
    payload_bits_by_modality: _containers.RepeatedCompositeFieldContainer[ModalityCount]
    information_bits: int
    feedback_bits: int
    receiver: _link_pb2.ReceiverTelemetry
    channel: _link_pb2.ChannelTelemetry
    latency_ms: float
    psnr_db: float
    stages: _containers.RepeatedCompositeFieldContainer[_link_pb2.StageDuration]
    caption_sent: str
    frames_skipped_total: int
    cbr_target: float
    coarseness: int
    coarseness_detail: str
    def __init__(self, sequence: _Optional[int] = ..., pts_us: _Optional[int] = ..., generation: _Optional[int] = ..., symbols_by_modality: _Optional[_Iterable[_Union[ModalityCount, _Mapping]]] = ..., payload_bits_by_modality: _Optional[_Iterable[_Union[ModalityCount, _Mapping]]] = ..., information_bits: _Optional[int] = ..., feedback_bits: _Optional[int] = ..., receiver: _Optional[_Union[_link_pb2.ReceiverTelemetry, _Mapping]] = ..., channel: _Optional[_Union[_link_pb2.ChannelTelemetry, _Mapping]] = ..., latency_ms: _Optional[float] = ..., psnr_db: _Optional[float] = ..., stages: _Optional[_Iterable[_Union[_link_pb2.StageDuration, _Mapping]]] = ..., caption_sent: _Optional[str] = ..., frames_skipped_total: _Optional[int] = ..., cbr_target: _Optional[float] = ..., coarseness: _Optional[int] = ..., coarseness_detail: _Optional[str] = ...) -> None: ...

class FramePair(_message.Message):
    __slots__ = ("sequence", "source_rgb", "received_rgb", "labels_sent", "labels_received")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_RGB_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_RGB_FIELD_NUMBER: _ClassVar[int]
    LABELS_SENT_FIELD_NUMBER: _ClassVar[int]
    LABELS_RECEIVED_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    source_rgb: bytes
    received_rgb: bytes
    labels_sent: bytes
    labels_received: bytes
    def __init__(self, sequence: _Optional[int] = ..., source_rgb: _Optional[bytes] = ..., received_rgb: _Optional[bytes] = ..., labels_sent: _Optional[bytes] = ..., labels_received: _Optional[bytes] = ...) -> None: ...

class SessionStatus(_message.Message):
    __slots__ = ("state", "detail")
    STATE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    state: SessionState
    detail: str
    def __init__(self, state: _Optional[_Union[SessionState, str]] = ..., detail: _Optional[str] = ...) -> None: ...

class SessionEvent(_message.Message):
    __slots__ = ("leg", "frame", "frames", "status")
    LEG_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    leg: str
    frame: FrameReport
    frames: FramePair
    status: SessionStatus
    def __init__(self, leg: _Optional[str] = ..., frame: _Optional[_Union[FrameReport, _Mapping]] = ..., frames: _Optional[_Union[FramePair, _Mapping]] = ..., status: _Optional[_Union[SessionStatus, _Mapping]] = ...) -> None: ...

class RunSessionRequest(_message.Message):
    __slots__ = ("spec", "include_frames")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_FRAMES_FIELD_NUMBER: _ClassVar[int]
    spec: SessionSpec
    include_frames: bool
    def __init__(self, spec: _Optional[_Union[SessionSpec, _Mapping]] = ..., include_frames: _Optional[bool] = ...) -> None: ...

class RunSessionResponse(_message.Message):
    __slots__ = ("event",)
    EVENT_FIELD_NUMBER: _ClassVar[int]
    event: SessionEvent
    def __init__(self, event: _Optional[_Union[SessionEvent, _Mapping]] = ...) -> None: ...

class StartSessionRequest(_message.Message):
    __slots__ = ("spec",)
    SPEC_FIELD_NUMBER: _ClassVar[int]
    spec: SessionSpec
    def __init__(self, spec: _Optional[_Union[SessionSpec, _Mapping]] = ...) -> None: ...

class StartSessionResponse(_message.Message):
    __slots__ = ("spec",)
    SPEC_FIELD_NUMBER: _ClassVar[int]
    spec: SessionSpec
    def __init__(self, spec: _Optional[_Union[SessionSpec, _Mapping]] = ...) -> None: ...

class UpdateSessionRequest(_message.Message):
    __slots__ = ("session_id", "snr_db", "channel_model")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SNR_DB_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_MODEL_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    snr_db: float
    channel_model: _link_pb2.ChannelModel
    def __init__(self, session_id: _Optional[str] = ..., snr_db: _Optional[float] = ..., channel_model: _Optional[_Union[_link_pb2.ChannelModel, str]] = ...) -> None: ...

class UpdateSessionResponse(_message.Message):
    __slots__ = ("spec",)
    SPEC_FIELD_NUMBER: _ClassVar[int]
    spec: SessionSpec
    def __init__(self, spec: _Optional[_Union[SessionSpec, _Mapping]] = ...) -> None: ...

class StopSessionRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class StopSessionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListSessionsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListSessionsResponse(_message.Message):
    __slots__ = ("sessions",)
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    sessions: _containers.RepeatedCompositeFieldContainer[RunningSession]
    def __init__(self, sessions: _Optional[_Iterable[_Union[RunningSession, _Mapping]]] = ...) -> None: ...

class RunningSession(_message.Message):
    __slots__ = ("spec", "status")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    spec: SessionSpec
    status: SessionStatus
    def __init__(self, spec: _Optional[_Union[SessionSpec, _Mapping]] = ..., status: _Optional[_Union[SessionStatus, _Mapping]] = ...) -> None: ...

class WatchSessionRequest(_message.Message):
    __slots__ = ("session_id", "include_frames")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_FRAMES_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    include_frames: bool
    def __init__(self, session_id: _Optional[str] = ..., include_frames: _Optional[bool] = ...) -> None: ...

class WatchSessionResponse(_message.Message):
    __slots__ = ("event",)
    EVENT_FIELD_NUMBER: _ClassVar[int]
    event: SessionEvent
    def __init__(self, event: _Optional[_Union[SessionEvent, _Mapping]] = ...) -> None: ...

class Clip(_message.Message):
    __slots__ = ("id", "title", "width_px", "height_px", "frames_per_second", "duration_s", "caption")
    ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    WIDTH_PX_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_PX_FIELD_NUMBER: _ClassVar[int]
    FRAMES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    CAPTION_FIELD_NUMBER: _ClassVar[int]
    id: str
    title: str
    width_px: int
    height_px: int
    frames_per_second: float
    duration_s: float
    caption: str
    def __init__(self, id: _Optional[str] = ..., title: _Optional[str] = ..., width_px: _Optional[int] = ..., height_px: _Optional[int] = ..., frames_per_second: _Optional[float] = ..., duration_s: _Optional[float] = ..., caption: _Optional[str] = ...) -> None: ...

class ListClipsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListClipsResponse(_message.Message):
    __slots__ = ("clips",)
    CLIPS_FIELD_NUMBER: _ClassVar[int]
    clips: _containers.RepeatedCompositeFieldContainer[Clip]
    def __init__(self, clips: _Optional[_Iterable[_Union[Clip, _Mapping]]] = ...) -> None: ...

class UploadClipRequest(_message.Message):
    __slots__ = ("file_name", "data")
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    file_name: str
    data: bytes
    def __init__(self, file_name: _Optional[str] = ..., data: _Optional[bytes] = ...) -> None: ...

class UploadClipResponse(_message.Message):
    __slots__ = ("clip",)
    CLIP_FIELD_NUMBER: _ClassVar[int]
    clip: Clip
    def __init__(self, clip: _Optional[_Union[Clip, _Mapping]] = ...) -> None: ...

class DeleteUploadRequest(_message.Message):
    __slots__ = ("clip_id",)
    CLIP_ID_FIELD_NUMBER: _ClassVar[int]
    clip_id: str
    def __init__(self, clip_id: _Optional[str] = ...) -> None: ...

class DeleteUploadResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TransmitterServiceOpenViewerRequest(_message.Message):
    __slots__ = ("session_id", "offer_sdp")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    OFFER_SDP_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    offer_sdp: str
    def __init__(self, session_id: _Optional[str] = ..., offer_sdp: _Optional[str] = ...) -> None: ...

class TransmitterServiceOpenViewerResponse(_message.Message):
    __slots__ = ("viewer_id", "answer_sdp")
    VIEWER_ID_FIELD_NUMBER: _ClassVar[int]
    ANSWER_SDP_FIELD_NUMBER: _ClassVar[int]
    viewer_id: str
    answer_sdp: str
    def __init__(self, viewer_id: _Optional[str] = ..., answer_sdp: _Optional[str] = ...) -> None: ...

class TransmitterServiceCloseViewerRequest(_message.Message):
    __slots__ = ("viewer_id",)
    VIEWER_ID_FIELD_NUMBER: _ClassVar[int]
    viewer_id: str
    def __init__(self, viewer_id: _Optional[str] = ...) -> None: ...

class TransmitterServiceCloseViewerResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class OpenWebcamRequest(_message.Message):
    __slots__ = ("offer_sdp",)
    OFFER_SDP_FIELD_NUMBER: _ClassVar[int]
    offer_sdp: str
    def __init__(self, offer_sdp: _Optional[str] = ...) -> None: ...

class OpenWebcamResponse(_message.Message):
    __slots__ = ("webcam_id", "answer_sdp")
    WEBCAM_ID_FIELD_NUMBER: _ClassVar[int]
    ANSWER_SDP_FIELD_NUMBER: _ClassVar[int]
    webcam_id: str
    answer_sdp: str
    def __init__(self, webcam_id: _Optional[str] = ..., answer_sdp: _Optional[str] = ...) -> None: ...

class CloseWebcamRequest(_message.Message):
    __slots__ = ("webcam_id",)
    WEBCAM_ID_FIELD_NUMBER: _ClassVar[int]
    webcam_id: str
    def __init__(self, webcam_id: _Optional[str] = ...) -> None: ...

class CloseWebcamResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
