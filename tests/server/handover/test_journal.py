"""A session that is carried over goes on as one that never moved, whatever was said before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollcast.models.contract import Controls, StreamRequest
from rollcast.models.test_pattern import TestPattern
from rollcast.server.engine.engine import _past_of
from rollcast.server.handover.journal import Journal, shown_from
from rollcast.server.handover.records import (
    FORMAT,
    Adoption,
    Origin,
    Snapshot,
    pack_adoption,
    pack_record,
    unpack_adoption,
    unpack_record,
)
from rollcast.server.handover.writer import JournalWriter
from rollcast.server.protocol.client_messages import (
    Ack,
    AudioBegin,
    AudioClear,
    AudioEnd,
    Pause,
    Prompt,
    Reset,
    Resume,
    SceneChange,
    TrackPoint,
    Tracks,
)
from rollcast.server.protocol.errors import StreamError
from rollcast.server.protocol.packets import Flags, Kind, Packet
from rollcast.server.protocol.server_messages import State, Stats
from rollcast.server.session.media import AudioPiece, VideoFrame
from rollcast.server.session.options import SessionOptions
from rollcast.server.session.session import Session

MODEL = TestPattern()
SNAPSHOT_CHUNKS = 4


def options(**more: Any) -> SessionOptions:
    request = StreamRequest(seed=1, scene="bars", prompt="a red wall")
    return SessionOptions(session_id="s", resume_token="t", request=request, **more)


@dataclass
class Server:
    """A session and its model, whose chunks take no time, with a journal."""

    session: Session
    state: Any
    now_s: float
    journal: JournalWriter
    kept: Journal = field(default_factory=Journal)
    output: list[Any] = field(default_factory=list)
    steps: int = 0
    rebuild: int = 0
    """Chunks that are not shown behind a snapshot."""

    @classmethod
    def new(cls, **more: Any) -> Server:
        session = Session(MODEL.info, options(**more), 50.0)
        journal = JournalWriter(Origin(FORMAT, "test-pattern", session.options))
        journal.attach()
        server = cls(session, MODEL.start(session.options.request), 50.0, journal)
        server.kept.take(Origin(FORMAT, "test-pattern", session.options))
        server.write()
        return server

    @classmethod
    def of(cls, adoption: Adoption, now_s: float) -> Server:
        """What an engine does with what it is given."""
        progress, snapshot = adoption.progress, adoption.snapshot
        session = Session(MODEL.info, adoption.origin.options, now_s)
        session.load(
            progress.state,
            progress.audio,
            progress.original,
            adoption.after_seq,
            now_s,
            adoption.position_us,
        )
        state = (
            MODEL.start(session.options.request)
            if snapshot is None
            else MODEL.restore(snapshot.parts["state"])
        )
        journal = JournalWriter(adoption.origin)
        if snapshot is not None:
            journal.take_over(snapshot)
        journal.take_over(progress)
        server = cls(session, state, now_s, journal)
        for step, controls in enumerate(progress.controls, progress.first):
            chunk = MODEL.step(state, controls)
            if step == session.missing:
                session.refill(chunk)
        assert session.missing is None and not session.held
        server.steps = progress.first + len(progress.controls)
        return server

    def write(self) -> None:
        self.journal.write(self.session, 0, self.now_s)
        while (data := self.journal.take()) is not None:
            self.kept.take(unpack_record(data))

    def drain(self) -> None:
        while (item := self.session.next_output(self.now_s)) is not None:
            self.output.append(item)
            if isinstance(item, VideoFrame | AudioPiece):
                self.session.sent(item, 1000, self.now_s)

    def step(self) -> None:
        at_s = self.session.next_step_s(self.now_s)
        if at_s is None or at_s > self.now_s:
            return
        controls = self.session.begin_step(self.now_s)
        self.journal.begin(controls)
        chunk = MODEL.step(self.state, controls)
        if self.steps % SNAPSHOT_CHUNKS == SNAPSHOT_CHUNKS - 1:
            saved = {"state": MODEL.snapshot(self.state)}
            self.journal.saved(self.steps, saved, self.steps + 1 + self.rebuild)
        self.steps += 1
        self.session.finish_step(chunk, 0.01, self.now_s)
        self.write()
        self.drain()

    def act(self, action: Callable[[Session, float], None]) -> None:
        try:
            action(self.session, self.now_s)
        except StreamError as error:
            self.session.refuse(error)

    @property
    def media(self) -> list[Any]:
        return [each for each in self.output if isinstance(each, VideoFrame | AudioPiece)]

    @property
    def said(self) -> list[Any]:
        plain = (VideoFrame, AudioPiece, State, Stats)
        return [each for each in self.output if not isinstance(each, plain)]


def says(make: Callable[[str], Any]) -> Callable[[int], Callable[[Session, float], None]]:
    return lambda n: lambda session, now_s: session.receive(make(f"e{n}"), now_s)


def speaks(n: int) -> Callable[[Session, float], None]:
    payload = (np.random.default_rng(n).integers(-9000, 9000, 1500)).astype("<i2").tobytes()
    packet = Packet(Kind.AUDIO_IN, Flags.NONE, n, 0, 0, 0, 0, payload)
    return lambda session, now_s: session.receive_audio(packet, now_s)


def point(phase: Any, n: int) -> TrackPoint:
    return TrackPoint(id=1, phase=phase, x=(n % 10) / 10, y=0.5)


ACTIONS: dict[str, Callable[[int], Callable[[Session, float], None]]] = {
    "prompt": says(lambda e: Prompt(event_id=e, text=f"a {e} wall", transition_chunks=3)),
    "later": lambda n: (
        lambda session, now_s: session.receive(
            Prompt(event_id=f"e{n}", text=f"late {n}", at_us=n * 50_000.0), now_s
        )
    ),
    "scene": says(lambda e: SceneChange(event_id=e, scene="grid")),
    "no scene": says(lambda e: SceneChange(event_id=e, scene="nowhere")),
    "reset": says(lambda e: Reset(event_id=e, seed=7)),
    "down": lambda n: (
        lambda session, now_s: session.receive(
            Tracks(event_id=f"e{n}", points=[point("down", n)]), now_s
        )
    ),
    "move": lambda n: (
        lambda session, now_s: session.receive(
            Tracks(event_id=f"e{n}", points=[point("move", n)]), now_s
        )
    ),
    "begin": lambda n: (
        lambda session, now_s: session.receive(AudioBegin(event_id=f"e{n}", item_id=f"i{n}"), now_s)
    ),
    "end": says(lambda e: AudioEnd(event_id=e)),
    "clear": says(lambda e: AudioClear(event_id=e)),
    "pause": says(lambda e: Pause(event_id=e)),
    "resume": says(lambda e: Resume(event_id=e)),
    "speak": speaks,
}
script = st.lists(st.sampled_from(["step", "step", "step", *ACTIONS]), max_size=60)


def run(server: Server, names: list[str], numbers: Any) -> None:
    for name in names:
        server.now_s += 0.08
        if name == "step":
            frames = server.session.frames
            playhead_us = max(0.0, frames / 25 * 1e6 - 100_000)
            ack = Ack(playhead_us=playhead_us, last_seq=frames - 1)
            server.act(lambda session, now_s, ack=ack: session.receive(ack, now_s))
            server.step()
        else:
            server.act(ACTIONS[name](next(numbers)))
            server.drain()


@settings(max_examples=40, deadline=None)
@given(script, script, st.integers(0, 12), st.sampled_from([16_000, 44_100]))
def test_goes_on_as_if_it_had_never_moved(
    before: list[str], after: list[str], unseen: int, rate: int
) -> None:
    """Beside one that resumes at the same place: media, answers and what is told of speech."""
    one = Server.new(audio_rate=rate)
    numbers = count()
    run(one, before, numbers)
    one.write()
    last_seq = max(-1, one.session.frames - 1 - unseen)
    data = pack_adoption(one.kept.adoption(last_seq, epoch=1))
    other = Server.of(unpack_adoption(data), one.now_s)
    second = next(numbers)
    for server in (one, other):
        server.output.clear()
        server.session._presence.left(server.now_s)  # without letting go of what is held
        server.session.resume(last_seq, audio=True, now_s=server.now_s)
        server.drain()
        run(server, after, count(second))
    assert len(one.media) == len(other.media)
    for mine, theirs in zip(one.media, other.media, strict=True):
        assert type(mine) is type(theirs)
        if isinstance(mine, VideoFrame):
            assert (mine.seq, mine.chunk, mine.discontinuity) == (
                theirs.seq,
                theirs.chunk,
                theirs.discontinuity,
            )
            assert isinstance(mine.picture, np.ndarray) and isinstance(theirs.picture, np.ndarray)
            assert np.array_equal(mine.picture, theirs.picture)
        else:
            assert (mine.pts_us, mine.chunk) == (theirs.pts_us, theirs.chunk)
            assert np.array_equal(mine.samples, theirs.samples)
    assert one.said == other.said


@settings(max_examples=15, deadline=None)
@given(script)
def test_what_is_kept_is_bounded_and_reaches_back_to_what_may_be_asked_for(
    names: list[str],
) -> None:
    server = Server.new()
    run(server, names * 3, count())
    state = server.kept.state
    assert state is not None
    oldest = state.ring[0].step if state.ring else state.steps
    adoption = server.kept.adoption(-1, epoch=0)
    first = adoption.progress.first
    assert first <= oldest
    assert server.kept.controls <= len(state.ring) + 2 * SNAPSHOT_CHUNKS
    assert first + len(adoption.progress.controls) == state.steps


def test_a_viewer_that_stays_is_not_taken_for_one_that_stalls() -> None:
    """It still shows what it had before the move: its acks go on from there."""
    one = Server.new()
    for _ in range(12):
        one.now_s += 0.08
        shown_us = max(0.0, one.session.frames / 25 * 1e6 - 400_000)
        ack = Ack(playhead_us=shown_us, last_seq=one.session.frames - 1)
        one.session.receive(ack, one.now_s)
        one.step()
    last_seq = one.session.frames - 1
    at_us = (last_seq + 1) / 25 * 1e6 - 270_000
    adoption = msgspec.structs.replace(one.kept.adoption(last_seq, epoch=1), position_us=at_us)
    other = Server.of(adoption, one.now_s)
    kbps = other.session.target_kbps
    other.session.resume(last_seq, audio=True, now_s=other.now_s)
    for number in range(50):
        other.now_s += 0.04
        ack = Ack(playhead_us=at_us + number * 40_000, last_seq=other.session.frames - 1)
        other.session.receive(ack, other.now_s)
        other.session.tick(other.now_s, 1)
        other.step()
        other.drain()
    assert other.session.target_kbps == kbps and not other.session.skipped_frames
    assert other.session.frames > last_seq + 40


@pytest.mark.parametrize(("lead_ms", "begins"), [(100, True), (400, False), (None, False)])
def test_the_next_chunk_is_begun_before_its_viewer_is_there(
    lead_ms: int | None, begins: bool
) -> None:
    """Where it will run dry soon; who does not come is made one chunk, and not a second one."""
    one = Server.new()
    run(one, ["step"] * 6, count())
    last_seq = one.session.frames - 1
    position_us = None if lead_ms is None else one.session.frames / 25 * 1e6 - lead_ms * 1e3
    adoption = one.kept.adoption(last_seq, epoch=1)
    other = Server.of(msgspec.structs.replace(adoption, position_us=position_us), one.now_s)
    for _ in range(3):
        other.step()
    assert other.session.frames == last_seq + 1 + (4 if begins else 0)
    assert not other.media, "nobody is there"
    assert other.session.resume(last_seq, audio=False, now_s=other.now_s) == last_seq + 1
    other.step()
    other.drain()
    seqs = [each.seq for each in other.media if isinstance(each, VideoFrame)]
    assert seqs == list(range(last_seq + 1, other.session.frames)) and len(seqs) >= 4 * begins


def test_a_chunk_of_another_life_is_not_taken() -> None:
    one = Server.new()
    run(one, ["step"] * 3, count())
    made = one.session.steps
    assert not one.session.awaits(made), "none was begun"
    one.session.begin_step(one.now_s)
    assert one.session.awaits(made) and not one.session.awaits(made - 1)


def test_a_gap_in_the_journal_is_found() -> None:
    server = Server.new()
    run(server, ["step"] * 3, count())
    progress = server.kept.last
    assert progress is not None
    with pytest.raises(ValueError, match="controls of step 0"):
        server.kept.take(type(progress)(0, [Controls()], {}, progress.state, 0, progress.audio, []))


def test_who_knows_nothing_is_told_all_of_it() -> None:
    server = Server.new()
    run(server, ["step", "speak", "step", "prompt", "step"] * 4, count())
    fresh = Journal()
    for record in server.kept.whole():
        fresh.take(unpack_record(pack_record(record)))
    expected = pack_adoption(server.kept.adoption(5, epoch=2))
    assert pack_adoption(fresh.adoption(5, epoch=2)) == expected
    assert server.kept.state is not None and shown_from(server.kept.state, 29) == 7


@pytest.mark.parametrize("data", [b"", b"\x01\x20", b"\x01\x20\xff", b"\x01\x20{}"])
def test_nonsense_is_no_record(data: bytes) -> None:
    with pytest.raises(ValueError, match="no record"):
        unpack_record(data)


def test_another_version_is_refused() -> None:
    server = Server.new()
    adoption = server.kept.adoption(-1, epoch=0)
    other = Origin(FORMAT + 1, "test-pattern", server.session.options)
    strange = Adoption(other, None, adoption.progress, -1, 0, 0)
    with pytest.raises(ValueError, match="format"):
        unpack_adoption(pack_adoption(strange))


@pytest.mark.parametrize("rebuild", [0, 3])
def test_what_is_shown_has_so_many_chunks_behind_its_snapshot(rebuild: int) -> None:
    """The newest from which that holds is chosen, and those that others need are kept."""
    server = Server.new()
    server.rebuild = rebuild
    run(server, ["step"] * 40, count())
    state = server.kept.state
    assert state is not None and len(state.ring) > SNAPSHOT_CHUNKS
    for place in state.ring:
        adoption = server.kept.adoption(place.first_seq - 1, epoch=1)
        assert adoption.snapshot is not None
        made = place.step - 1 - adoption.snapshot.behind
        assert rebuild <= made < rebuild + SNAPSHOT_CHUNKS
        assert adoption.progress.first == adoption.snapshot.behind + 1


@pytest.mark.parametrize("small", [True, False])
def test_who_takes_over_knows_whether_a_stream_goes_on_bit_for_bit(small: bool) -> None:
    server = Server.new()
    run(server, ["step"] * 3, count())
    server.journal.saved(1, {"state": b"x"}, 2, small=small)
    server.write()
    adoption = unpack_adoption(pack_adoption(server.kept.adoption(-1, epoch=1)))
    assert adoption.snapshot is None, "it starts again for who has seen nothing"
    adoption = unpack_adoption(pack_adoption(server.kept.adoption(100, epoch=1)))
    past, _ = _past_of(adoption)
    assert (past.behind, past.small) == (1, small)


def test_a_snapshot_needs_its_place() -> None:
    journal = Journal()
    journal.take(Snapshot(3, {"state": b"x"}))
    assert not journal.usable
