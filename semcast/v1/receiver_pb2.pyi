from semcast.v1 import link_pb2 as _link_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ReceiveRequest(_message.Message):
    __slots__ = ("setup", "frame")
    SETUP_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    setup: _link_pb2.SessionSetup
    frame: _link_pb2.RadioFrame
    def __init__(self, setup: _Optional[_Union[_link_pb2.SessionSetup, _Mapping]] = ..., frame: _Optional[_Union[_link_pb2.RadioFrame, _Mapping]] = ...) -> None: ...

class ReceiveResponse(_message.Message):
    __slots__ = ("feedback", "telemetry", "tap_frame")
    FEEDBACK_FIELD_NUMBER: _ClassVar[int]
    TELEMETRY_FIELD_NUMBER: _ClassVar[int]
    TAP_FRAME_FIELD_NUMBER: _ClassVar[int]
    feedback: _link_pb2.Feedback
    telemetry: _link_pb2.ReceiverTelemetry
    tap_frame: _link_pb2.TapFrame
    def __init__(self, feedback: _Optional[_Union[_link_pb2.Feedback, _Mapping]] = ..., telemetry: _Optional[_Union[_link_pb2.ReceiverTelemetry, _Mapping]] = ..., tap_frame: _Optional[_Union[_link_pb2.TapFrame, _Mapping]] = ...) -> None: ...

class ReceiverServiceOpenViewerRequest(_message.Message):
    __slots__ = ("session_id", "offer_sdp")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    OFFER_SDP_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    offer_sdp: str
    def __init__(self, session_id: _Optional[str] = ..., offer_sdp: _Optional[str] = ...) -> None: ...

class ReceiverServiceOpenViewerResponse(_message.Message):
    __slots__ = ("viewer_id", "answer_sdp")
    VIEWER_ID_FIELD_NUMBER: _ClassVar[int]
    ANSWER_SDP_FIELD_NUMBER: _ClassVar[int]
    viewer_id: str
    answer_sdp: str
    def __init__(self, viewer_id: _Optional[str] = ..., answer_sdp: _Optional[str] = ...) -> None: ...

class ReceiverServiceCloseViewerRequest(_message.Message):
    __slots__ = ("viewer_id",)
    VIEWER_ID_FIELD_NUMBER: _ClassVar[int]
    viewer_id: str
    def __init__(self, viewer_id: _Optional[str] = ...) -> None: ...

class ReceiverServiceCloseViewerResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
