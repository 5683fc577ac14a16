from semcast.v1 import link_pb2 as _link_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RelaySetup(_message.Message):
    __slots__ = ("session", "channel")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    session: _link_pb2.SessionSetup
    channel: _link_pb2.ChannelSettings
    def __init__(self, session: _Optional[_Union[_link_pb2.SessionSetup, _Mapping]] = ..., channel: _Optional[_Union[_link_pb2.ChannelSettings, _Mapping]] = ...) -> None: ...

class RelayRequest(_message.Message):
    __slots__ = ("setup", "channel", "frame")
    SETUP_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    setup: RelaySetup
    channel: _link_pb2.ChannelSettings
    frame: _link_pb2.RadioFrame
    def __init__(self, setup: _Optional[_Union[RelaySetup, _Mapping]] = ..., channel: _Optional[_Union[_link_pb2.ChannelSettings, _Mapping]] = ..., frame: _Optional[_Union[_link_pb2.RadioFrame, _Mapping]] = ...) -> None: ...

class RelayResponse(_message.Message):
    __slots__ = ("feedback", "receiver", "channel", "tap_frame")
    FEEDBACK_FIELD_NUMBER: _ClassVar[int]
    RECEIVER_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    TAP_FRAME_FIELD_NUMBER: _ClassVar[int]
    feedback: _link_pb2.Feedback
    receiver: _link_pb2.ReceiverTelemetry
    channel: _link_pb2.ChannelTelemetry
    tap_frame: _link_pb2.TapFrame
    def __init__(self, feedback: _Optional[_Union[_link_pb2.Feedback, _Mapping]] = ..., receiver: _Optional[_Union[_link_pb2.ReceiverTelemetry, _Mapping]] = ..., channel: _Optional[_Union[_link_pb2.ChannelTelemetry, _Mapping]] = ..., tap_frame: _Optional[_Union[_link_pb2.TapFrame, _Mapping]] = ...) -> None: ...
