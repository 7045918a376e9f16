"""What a server tells a gateway of a stream, beside the media that its client gets.

Binary messages of a kind that clients never see. Each comes before the media that follow from it,
so whoever has a packet has what is needed to make the stream go on behind it.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from ...models.contract import Controls
from ...models.pipeline.control_link import decode_array, encode_array
from ..protocol.fields import MovieKind
from ..session.options import SessionOptions
from ..session.record import SessionRecord

FORMAT = 3
"""Of all that is below: versions of Rollcast in which it is the same understand each other."""
KIND = 32
"""In the second byte of a binary message, where media packets have theirs."""
_HEAD = bytes((1, KIND))


class Record(Struct, frozen=True, tag=True):
    """Base of all records, told apart by their name."""


class Origin(Record, frozen=True):
    """How a stream began; the first record of a connection."""

    format: int
    model: str
    options: SessionOptions
    record: bool = False
    """Whether its client agreed to a log, and to its pictures in it."""
    record_pictures: bool = False


class Snapshot(Record, frozen=True):
    """The stream behind step `behind`, in parts as an executor saved it.

    Of what is made from it, steps before `shown_from` should not be shown. Only from one that is
    not `small` the stream goes on bit for bit.
    """

    behind: int
    parts: dict[str, bytes]
    shown_from: int = 0
    small: bool = True


class Progress(Record, frozen=True):
    """Where the stream is now.

    `controls` are those of the steps from `first` on that were begun since the last record, `rows`
    those of steps that came out of a batch; `audio` what the client's queue holds from sample
    `audio_from` on that was not told before, and `original` likewise what its client sent, where
    that has another rate: stretches, each with the number of its first sample. Of this connection
    `heard` messages were acted on but for those in `unacted`.
    """

    first: int
    controls: list[Controls]
    rows: dict[int, int]
    state: SessionRecord
    audio_from: int
    audio: np.ndarray
    original: list[tuple[int, np.ndarray]]
    share_epoch: int = 0
    heard: int = 0
    unacted: list[int] = []
    brought: bool = False
    """Whether pictures or video of the client are behind it."""
    film: MovieKind | None = None
    """As what its client lets it be filmed."""


AnyRecord = Origin | Snapshot | Progress


class Adoption(Struct, frozen=True):
    """A stream, for a server that goes on with it behind frame `after_seq`.

    `progress` has all controls behind the snapshot and all audio that waits. Its encoder's next
    generation is larger than `generation`; `alone`: no client is there. A server that had the
    stream with a smaller `epoch` has it no more.
    """

    origin: Origin
    snapshot: Snapshot | None
    progress: Progress
    after_seq: int
    generation: int
    epoch: int
    alone: bool = False
    client: str = ""
    position_us: float | None = None
    """What the viewer shows, which stays through all of this."""


_ENCODER = msgspec.msgpack.Encoder(enc_hook=encode_array)
_DECODER = msgspec.msgpack.Decoder(AnyRecord, dec_hook=decode_array)
_ADOPTION = msgspec.msgpack.Decoder(Adoption, dec_hook=decode_array)


def is_record(data: bytes | memoryview) -> bool:
    """Whether a binary message is a record, and no packet of media."""
    return len(data) > 2 and data[1] == KIND


def pack_record(record: AnyRecord) -> bytes:
    """The record as a binary message."""
    return _HEAD + _ENCODER.encode(record)


def unpack_record(data: bytes) -> AnyRecord:
    """The record of a binary message. Raises ValueError for what is none."""
    return _checked(_DECODER, data[len(_HEAD) :])


def pack_adoption(adoption: Adoption) -> bytes:
    """The body of a request."""
    return _ENCODER.encode(adoption)


def unpack_adoption(data: bytes) -> Adoption:
    """The inverse. Raises ValueError for what is none, or of another version of Rollcast."""
    adoption = _checked(_ADOPTION, data)
    if adoption.origin.format != FORMAT:
        raise ValueError(f"the record has format {adoption.origin.format}, expected {FORMAT}")
    return adoption


def _checked(decoder: msgspec.msgpack.Decoder[Any], data: bytes) -> Any:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, TypeError, RecursionError) as error:
        raise ValueError(f"{len(data)} bytes are no record: {error}") from error
