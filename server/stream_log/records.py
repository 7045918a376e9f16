"""What a log is made of, and its bytes: a line that names it, then records with their checksums.

A record is its length and CRC-32 (both u32, little-endian) and a MessagePack value. A file that
ends in the middle of one, since the process or the disk did, is good up to there.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import IO, Any

import msgspec
from msgspec import Struct

from ...models.contract import Controls, StreamRequest
from ...models.pipeline.control_link import decode_array, encode_array

MAGIC = b"rollcast stream log 1\n"
SUFFIX = ".rclog"
_HEAD = struct.Struct("<II")
_MOST_BYTES = 1 << 28


class NoLog(ValueError):
    """A file that is no log of a stream."""


class Record(Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Base of all records, told apart by their name."""


class Header(Record, frozen=True):
    """The first one: which model, as `load_model` is told, on which machine, and the request."""

    model: str
    arguments: dict[str, Any]
    machine: dict[str, str]
    request: StreamRequest
    began: str


class GoneOn(Record, frozen=True):
    """The second one where another server began the stream: what is behind it, as of `Past`.

    The steps before `shown_from` were shown there, and nothing is told of them here. `brought`:
    pictures of the client are behind it.
    """

    behind: int
    parts: dict[str, bytes]
    shown_from: int
    small: bool = True
    brought: bool = False


class Step(Record, frozen=True):
    """The controls of the next chunk, as the model was given them."""

    controls: Controls


class Made(Record, frozen=True):
    """A chunk that was shown: CRC-32 of its frames and of its sound.

    It was made in a batch of `rows`, on which its bits depend.
    """

    frames: int
    picture_crc: int
    sound_crc: int
    rows: int = 1


class Dropped(Record, frozen=True):
    """A chunk that was made and not shown; `rows` as of `Made`."""

    rows: int = 1


class Rebuilt(Record, frozen=True):
    """The model was lost here, and the stream went on from what looks the same to the eye."""


class End(Record, frozen=True):
    """The log ends here though the stream may have gone on; `why` is for people."""

    why: str


AnyRecord = Header | GoneOn | Step | Made | Dropped | Rebuilt | End
_ENCODER = msgspec.msgpack.Encoder(enc_hook=encode_array)
_DECODER = msgspec.msgpack.Decoder(AnyRecord, dec_hook=decode_array)


def encode_record(record: AnyRecord) -> bytes:
    """The record as it stands in a file."""
    data = _ENCODER.encode(record)
    return _HEAD.pack(len(data), zlib.crc32(data)) + data


def read_records(file: IO[bytes]) -> Iterator[AnyRecord]:
    """The records of a log, up to the first that is not whole.

    Raises NoLog for a file that is none, or of another version of Rollcast.
    """
    if file.read(len(MAGIC)) != MAGIC:
        raise NoLog("this is no log of a stream, as `rollcast serve --record` writes them")
    while len(head := file.read(_HEAD.size)) == _HEAD.size:
        length, crc = _HEAD.unpack(head)
        data = file.read(length) if length <= _MOST_BYTES else b""
        if len(data) < length or zlib.crc32(data) != crc or not data:
            return
        try:
            yield _DECODER.decode(data)
        except (msgspec.DecodeError, ValueError, TypeError) as error:
            raise NoLog(f"the log is of another version of Rollcast: {error}") from error
