"""Record and replay: every message that entered the receiver, in a file, and back.

A record is a folder with one file per generation of each session, `SESSION-GENERATION.semcast`
(a number is added where that exists):
`ReceiveRequest` messages, each preceded by its length as a protobuf varint. The first is the
set-up. Nothing else is needed to make the same frames again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from google.protobuf import proto
from google.protobuf.message import DecodeError

from receiver.generator import make_generator
from receiver.session import ReceiverSession, RenderedFrame
from semcast.errors import InputError, NotFoundError
from semcast.rpc.limits import MAX_MESSAGE_BYTES
from semcast.rpc.messages import frame_from_proto, frame_to_proto, setup_from_proto, setup_to_proto
from semcast.session import RadioFrame, SessionSetup
from semcast.v1 import receiver_pb2

SUFFIX = ".semcast"

_MAX_LENGTH_BITS = 35
"""Five bytes of varint: more than any message's length needs."""


class Recorder:
    """Writes what enters the receiver in one generation of a session."""

    def __init__(self, folder: Path, setup: SessionSetup) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._session_id = setup.session_id
        stem = f"{setup.session_id}-{setup.generation}"
        names = itertools.chain([stem], (f"{stem}.{again}" for again in itertools.count(2)))
        paths = (folder / f"{name}{SUFFIX}" for name in names)
        self._file: BinaryIO = next(path for path in paths if not path.exists()).open("xb")
        self._write(receiver_pb2.ReceiveRequest(setup=setup_to_proto(setup)))

    def add(self, frame: RadioFrame) -> None:
        """Appends one radio frame."""
        message = receiver_pb2.ReceiveRequest(frame=frame_to_proto(frame, self._session_id))
        self._write(message)

    def _write(self, message: receiver_pb2.ReceiveRequest) -> None:
        proto.serialize_length_prefixed(message, self._file)  # type: ignore[arg-type]

    def close(self) -> None:
        """Flushes and closes the file."""
        self._file.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def find_record(path: Path) -> Path:
    """The one record file meant by a path: the file itself, or the only one in a folder.

    Raises NotFoundError where there is none, InputError where there are several.
    """
    if path.is_file():
        return path
    found = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else []
    if not found:
        raise NotFoundError(
            f"No record at '{path}': name a folder written by 'semcast send --record'."
        )
    if len(found) > 1:
        raise InputError(
            f"'{path}' holds {len(found)} records; name one: {', '.join(f.name for f in found)}."
        )
    return found[0]


def read_record(path: Path) -> tuple[SessionSetup, Iterator[RadioFrame]]:
    """Set-up and radio frames of a record file. Raises InputError for one that is damaged."""
    messages = _messages(path)
    first = next(messages, None)
    if first is None or first.WhichOneof("message") != "setup":
        raise InputError(f"'{path}' is not a semcast record: it does not begin with a set-up.")
    setup = setup_from_proto(first.setup)
    return setup, (frame_from_proto(message.frame, setup) for message in messages)


def _messages(path: Path) -> Iterator[receiver_pb2.ReceiveRequest]:
    with path.open("rb") as file:
        try:
            while (size := _read_length(file)) is not None:
                data = file.read(size) if size <= MAX_MESSAGE_BYTES else b""
                if len(data) < size:
                    raise EOFError
                yield receiver_pb2.ReceiveRequest.FromString(data)
        except (DecodeError, EOFError) as error:
            raise InputError(f"'{path}' is damaged or cut short: record it again.") from error


def _read_length(file: BinaryIO) -> int | None:
    """A protobuf varint; None at the end of the file, EOFError for one that is cut or too long."""
    value = 0
    for shift in range(0, _MAX_LENGTH_BITS, 7):
        byte = file.read(1)
        if not byte:
            if shift == 0:
                return None
            raise EOFError
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise EOFError


def replay(path: Path) -> tuple[SessionSetup, Iterator[RenderedFrame]]:
    """The frames a receiver makes from a record alone, with the session's own generator."""
    setup, frames = read_record(path)
    session = ReceiverSession(setup, make_generator(setup.generator))
    return setup, (session.render(session.decode(frame)) for frame in frames)
