"""One client's stream as its gateway sees it: bytes in, bytes out, and where the stream is.

Pure: it owns no socket and reads no clock. What the client says passes as it is, and so does what
the replica says, but for what a move would show: numbers go on, answers come once, clocks agree.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec
from msgspec import Struct

from ..handover.journal import Journal
from ..handover.records import KIND, Adoption, Progress, unpack_record
from ..protocol.packets import HEADER, Flags, Kind
from .kept_uplink import KeptUplink, Said

State = Literal["waiting", "opening", "live", "moving", "parked", "ended"]
SILENT_S = 1.5
"""Without a word of the replica; it says `stats` once a second."""
SILENT_CHUNKS = 3
ACK_EVERY_S = 0.06
"""Of each frame there is an `ack`, and between two of them a replica knows what is shown: where
frames are as far apart as usual, every second one is enough. The way costs more than the word."""
AHEAD_S = 0.3
"""For so long behind an `ack` a viewer is believed to show what it has, as its replica does."""
PCM_BYTES = 2
OPUS_US = 20_000.0

_VIDEO, _SOUND = int(Kind.VIDEO), int(Kind.AUDIO_OUT)
_SEQ, _GENERATION, _CLOCK = struct.Struct("<I"), struct.Struct("<I"), struct.Struct("<d")
_AT_SEQ, _AT_PTS, _AT_GENERATION, _AT_CLOCK = 4, 8, 20, 24


class Head(Struct):
    """Of any message, what the gateway looks at."""

    type: str
    event_id: str | None = None
    item_id: str | None = None
    phase: str | None = None
    code: str | None = None
    fatal: bool = False
    generation: int | None = None
    server_ms: float | None = None


class Ready(Struct):
    """Of `session.ready`, what the gateway needs later."""

    session_id: str
    resume_token: str
    model: str
    width: int
    height: int
    fps: int
    chunk_frames: int
    codec: str
    codec_string: str
    generation: int
    grace_s: float
    sample_rate: int | None = None
    audio_codec: str | None = None


class Shown(Struct):
    """Of an `ack`, where the client is."""

    playhead_us: float


_ACK = msgspec.json.Decoder(Shown)
_HEAD = msgspec.json.Decoder(Head)
_READY = msgspec.json.Decoder(Ready)
_PASSING = frozenset(("ack", "ping", "key"))
"""What is not said again: the next one says it better."""
_ANSWERED = frozenset(("applied", "rejected", "session.info", "session.shared", "error"))
_NO_ANSWER = frozenset((*_PASSING, "session.close"))


def head_of(text: bytes) -> Head | None:
    """The head of a message; None for what is none."""
    try:
        return _HEAD.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


@dataclass(slots=True)
class Down:
    """What to do with a message of the replica: `data` to the client, if there is any."""

    data: bytes | None = None
    move: bool = False
    """The replica wants to be rid of the stream."""


@dataclass
class Relay:
    """A stream from `session.ready` on; `began` was that answer, as the client got it."""

    ready: Ready
    epoch: int = 0
    replica: str = ""
    state: State = "live"
    journal: Journal = field(default_factory=Journal)
    uplink: KeptUplink = field(default_factory=KeptUplink)
    last_seq: int = -1
    """Of the video that the client was sent."""
    heard_s: float = 0.0
    """When the replica said something."""
    moves: int = 0
    owes_ack: bool = False
    """Whether the replica was not told of the latest `ack`."""
    _audio_seq: int = 0
    _audio_end_us: float = -1e18
    """Media time up to which the client has sound."""
    _generation: int = 0
    _clock_ms: float = 0.0
    """What the present replica's clock lacks to the first one's."""
    _first_clock_ms: float | None = None
    _overlaps: bool = False
    """Whether sound may come that the client has already."""
    _last_ack: bytes | None = None
    _ack_came_s: float = float("inf")
    _acked_s: float = float("-inf")
    """When one was passed on."""
    _heard_of: dict[str, bool] = field(default_factory=dict)
    """Utterances that are not over: whether their beginning was told."""

    @classmethod
    def opened(cls, ready_text: bytes, *, epoch: int, replica: str, now_s: float) -> Relay:
        """A stream that a replica has just opened or resumed. Raises ValueError for no answer."""
        try:
            ready = _READY.decode(ready_text)
        except msgspec.DecodeError as error:
            raise ValueError(f"the replica answered {ready_text[:80]!r}") from error
        return cls(ready, epoch, replica, heard_s=now_s, _generation=ready.generation)

    @classmethod
    def of(cls, journal: Journal, *, replica: str, epoch: int) -> Relay:
        """A stream that was elsewhere, without its client. Raises ValueError for no journal."""
        if journal.origin is None or journal.state is None:
            raise ValueError("the journal lacks its beginning")
        options, state = journal.origin.options, journal.state
        ready = Ready(
            session_id=options.session_id,
            resume_token=options.resume_token,
            model=journal.origin.model,
            width=0,
            height=0,
            fps=1,
            chunk_frames=1,
            codec=state.codec,
            codec_string="",
            generation=state.generation,
            grace_s=options.grace_s,
        )
        return cls(ready, epoch, replica, "parked", journal)

    # What the client says.

    def from_client(self, data: bytes, *, is_text: bool, now_s: float = float("inf")) -> bool:
        """A message; whether it is passed on now.

        Else it is kept until the stream has moved, or, an `ack` that comes soon behind another one,
        until `take_ack`, or until the next one takes its place.
        """
        live = self.state == "live"
        if not is_text:
            if len(data) > 1 and data[1] == Kind.VIDEO_IN:
                self.uplink.pass_on()
                return live
            self.uplink.keep(data, is_text=False, sent=live)
            return live
        head = head_of(data)
        kind = "" if head is None else head.type
        if kind in _PASSING:
            if kind == "ack":
                self._last_ack, self._ack_came_s = data, now_s
                self.owes_ack = live and now_s - self._acked_s < ACK_EVERY_S
                if self.owes_ack:
                    return False
                self._acked_s = now_s
            if live:
                self.uplink.pass_on()
            return live
        self.uplink.keep(data, is_text=True, sent=live)
        if head is not None:
            if head.event_id is not None and kind not in _NO_ANSWER:
                self.uplink.owe(head.event_id)
            if kind == "audio.begin" and head.item_id is not None:
                self._heard_of.setdefault(head.item_id, False)
        return live

    def take_ack(self, now_s: float) -> bytes | None:
        """The latest `ack`, if the replica was not told of it."""
        if not self.owes_ack or self.state != "live":
            return None
        self.owes_ack, self._acked_s = False, now_s
        self.uplink.pass_on()
        return self._last_ack

    # What the replica says.

    def from_replica(self, data: bytes, *, is_text: bool, now_s: float) -> Down:
        """A message; what comes of it. Raises ValueError for a record that does not follow."""
        self.heard_s = now_s
        if is_text:
            return self._text(data)
        kind = data[1] if len(data) > 1 else 0
        if kind == _VIDEO:
            return Down(self._video(data))
        if kind == _SOUND:
            return Down(self._sound(data))
        if kind == KIND:
            record = unpack_record(data)
            self.journal.take(record)
            if isinstance(record, Progress):
                self.uplink.written(record.heard, record.unacted)
            return Down()
        return Down(data)

    def _video(self, data: bytes) -> bytes | None:
        (seq,) = _SEQ.unpack_from(data, _AT_SEQ)
        if seq <= self.last_seq:
            return None
        self.last_seq = seq
        (self._generation,) = _GENERATION.unpack_from(data, _AT_GENERATION)
        return self._in_time(data) if self._clock_ms else data

    def _sound(self, data: bytes) -> bytes | None:
        _, _, flags, _, pts_us, _, _, _ = HEADER.unpack_from(data)
        if flags & Flags.DISCONTINUITY and not self._overlaps:
            self._audio_end_us = pts_us
        size = len(data) - HEADER.size
        rate = self.ready.sample_rate
        if self.ready.audio_codec == "opus" or not rate:
            end_us = pts_us + OPUS_US
            if self._overlaps and end_us <= self._audio_end_us + OPUS_US / 2:
                return None
        else:
            end_us = pts_us + size / PCM_BYTES * 1e6 / rate
            if self._overlaps and pts_us < self._audio_end_us - 0.5e6 / rate:
                again = min(size, PCM_BYTES * round((self._audio_end_us - pts_us) * rate / 1e6))
                if again == size:
                    return None
                patched = bytearray(data[: HEADER.size] + data[HEADER.size + again :])
                _CLOCK.pack_into(patched, _AT_PTS, self._audio_end_us)
                data = bytes(patched)
        self._overlaps = False
        self._audio_end_us = end_us
        seq, self._audio_seq = self._audio_seq, self._audio_seq + 1
        if not self.moves:
            (self._audio_seq,) = _SEQ.unpack_from(data, _AT_SEQ)
            self._audio_seq += 1
            return data
        patched = bytearray(data)
        _SEQ.pack_into(patched, _AT_SEQ, seq)
        return self._in_time(bytes(patched)) if self._clock_ms else bytes(patched)

    def _in_time(self, data: bytes) -> bytes:
        patched = bytearray(data)
        (server_ms,) = _CLOCK.unpack_from(patched, _AT_CLOCK)
        _CLOCK.pack_into(patched, _AT_CLOCK, server_ms + self._clock_ms)
        return bytes(patched)

    def _text(self, data: bytes) -> Down:
        head = head_of(data)
        if head is None:
            return Down(data)
        if head.type == "draining" or (head.type == "error" and head.code == "draining"):
            return Down(move=True)
        if head.type in _ANSWERED and head.event_id is not None:
            return Down(data if self.uplink.answered(head.event_id) else None)
        if head.type == "speech" and head.item_id is not None:
            return Down(data if self._is_news(head.item_id, head.phase == "started") else None)
        if head.type == "pong" and self._clock_ms and head.server_ms is not None:
            pong = msgspec.json.decode(data)
            pong["server_ms"] = head.server_ms + self._clock_ms
            return Down(msgspec.json.encode(pong))
        if head.type == "video.format" and head.generation is not None:
            self._generation = head.generation
        return Down(data)

    def _is_news(self, item_id: str, started: bool) -> bool:
        if item_id not in self._heard_of or (started and self._heard_of[item_id]):
            return False
        if started:
            self._heard_of[item_id] = True
        else:
            del self._heard_of[item_id]
        return True

    def _position_us(self, now_s: float) -> float | None:
        """What the client shows by now: it went on from where it was when it said so last."""
        if self._last_ack is None:
            return None
        try:
            said_us = _ACK.decode(self._last_ack).playhead_us
        except msgspec.DecodeError:
            return None
        state = self.journal.state
        if state is not None and state.paused:
            return said_us
        since_s = min(max(0.0, now_s - self._ack_came_s), AHEAD_S)
        sent_us = (self.last_seq + 1) * 1e6 / self.ready.fps
        return max(said_us, min(said_us + since_s * 1e6, sent_us))

    def _ack_by_now(self, now_s: float) -> bytes | None:
        """The latest `ack` as the client would say it now.

        A replica takes it for news. One that is a hundred milliseconds old would let it begin the
        next chunk as much later, when the viewer may have nothing left.
        """
        position_us = self._position_us(now_s)
        if self._last_ack is None or position_us is None:
            return self._last_ack
        return msgspec.json.encode(
            {**msgspec.json.decode(self._last_ack), "playhead_us": position_us}
        )

    # Where it is.

    def clock(self, offset_ms: float) -> None:
        """How far the present replica's clock is before another one, which is always the same."""
        if self._first_clock_ms is None:
            self._first_clock_ms = offset_ms
        lacks_ms = self._first_clock_ms - offset_ms
        # of one machine both are the same clock, read one after the other
        self._clock_ms = lacks_ms if abs(lacks_ms) > 5.0 else 0.0

    def silent(self, now_s: float) -> bool:
        """Whether the replica has said nothing for so long that it must be lost."""
        chunk_s = self.ready.chunk_frames / self.ready.fps
        limit_s = max(SILENT_S, SILENT_CHUNKS * chunk_s)
        return self.state == "live" and now_s - self.heard_s > limit_s

    def begin_move(self) -> bool:
        """The replica is lost, or is to be left; whether there is anything to go on from."""
        if self.state in ("ended", "moving"):
            return False
        self.state = "moving"
        return self.journal.usable

    def adoption(
        self,
        epoch: int,
        *,
        client: str = "",
        alone: bool = False,
        now_s: float = float("-inf"),
    ) -> Adoption:
        """What another replica needs."""
        made = self.journal.adoption(
            self.last_seq, epoch=epoch, generation=self._generation, alone=alone
        )
        return msgspec.structs.replace(made, client=client, position_us=self._position_us(now_s))

    def moved(
        self, ready_text: bytes, *, epoch: int, replica: str, now_s: float
    ) -> tuple[bytes, Sequence[Said]]:
        """Another replica goes on with it: what the client and what the replica is told first.

        Raises ValueError for what is no `session.ready`.
        """
        try:
            ready = _READY.decode(ready_text)
        except msgspec.DecodeError as error:
            raise ValueError(f"the replica answered {ready_text[:80]!r}") from error
        self.ready, self.epoch, self.replica = ready, epoch, replica
        self._generation = ready.generation
        self.state, self.heard_s, self._overlaps = "live", now_s, True
        self.moves += 1
        format_ = {
            "type": "video.format",
            "generation": ready.generation,
            "codec": ready.codec,
            "codec_string": ready.codec_string,
            "width": ready.width,
            "height": ready.height,
        }
        again = self.uplink.again()
        self.owes_ack = False
        ack = self._ack_by_now(now_s)
        if ack is not None:
            self.uplink.pass_on()
            again = [*again, Said(ack, True)]
        return msgspec.json.encode(format_), again

    def park(self) -> None:
        """The client is gone; it may come back."""
        if self.state != "ended":
            self.state = "parked"

    def resumed_by(self, last_seq: int) -> None:
        """The client came back, and has seen all up to this frame."""
        self.last_seq = last_seq
        self._audio_end_us = -1e18
