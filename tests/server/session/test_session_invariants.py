"""Whatever a client does, in whatever order: the session's promises hold."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rollcast.models.contract import Chunk, StreamRequest
from rollcast.models.test_pattern import CHUNK_SAMPLES, TestPattern
from rollcast.server.protocol.client_messages import (
    Ack,
    AudioBegin,
    AudioClear,
    AudioEnd,
    KeyRequest,
    Pause,
    Ping,
    Prompt,
    Reset,
    Resume,
    SceneChange,
    SeedChange,
    SessionQuery,
    TrackPoint,
    Tracks,
    TracksClear,
    VideoChange,
)
from rollcast.server.protocol.errors import StreamError, Timeout
from rollcast.server.protocol.packets import Flags, Kind, Packet
from rollcast.server.protocol.server_messages import Applied, Rejected, Speech
from rollcast.server.session.media import AudioPiece, VideoFrame
from rollcast.server.session.options import SessionOptions
from rollcast.server.session.outbox import MAX_MESSAGES
from rollcast.server.session.session import Session

INFO = TestPattern().info
points = st.builds(
    TrackPoint,
    id=st.integers(0, 20),
    phase=st.sampled_from(["down", "move", "up", "anchor"]),
    x=st.floats(0, 1),
    y=st.floats(0, 1),
)
event_id = st.just("x")
times = st.none() | st.floats(0, 600_000)
controls = st.one_of(
    st.builds(Prompt, event_id=event_id, text=st.text(max_size=5), at_us=times),
    st.builds(
        SceneChange,
        event_id=event_id,
        scene=st.sampled_from(["bars", "grid", "moon"]),
        at_us=times,
    ),
    st.builds(
        Tracks, event_id=event_id, points=st.lists(points, min_size=1, max_size=12), at_us=times
    ),
    st.builds(AudioBegin, event_id=event_id, item_id=st.sampled_from("abc")),
    st.builds(
        VideoChange,
        event_id=event_id,
        max_kbps=st.none() | st.integers(32, 900),
        max_width=st.none() | st.integers(16, 200),
        max_fps=st.none() | st.integers(12, 30),
    ),
    st.builds(
        TracksClear,
        event_id=event_id,
        ids=st.none() | st.lists(st.integers(0, 20), min_size=1, max_size=4),
    ),
    st.builds(SeedChange, event_id=event_id, seed=st.integers(0, 9)),
    st.builds(Reset, event_id=event_id, seed=st.none() | st.integers(0, 9), at_us=times),
    st.sampled_from([kind(event_id="x") for kind in (AudioEnd, AudioClear, Pause, Resume)]),
)


class SessionMachine(RuleBasedStateMachine):
    """Plays client, worker, network and clock against one session."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 10.0
        self.session = Session(
            INFO,
            SessionOptions(
                session_id="s",
                resume_token="t",
                request=StreamRequest(scene="bars"),
                grace_s=1e9,
            ),
            self.now_s,
        )
        self.asked: set[str] = set()
        self.answered: list[str] = []
        self.begun: dict[str, str] = {}
        """Utterances by the event that began them, if it was applied."""
        self.applied: list[str] = []
        self.told: list[tuple[str, str]] = []
        self.last_video = self.last_audio = -1
        self.video_end_us = 0.0
        self.playhead_us = 0.0
        self.stepping = False
        self.fed = self.pushed = 0
        self.unheard_frames = 0
        self.replayed_us = 0.0

    # The client.

    @rule(control=controls)
    def control(self, control: Any) -> None:
        name = f"e{len(self.asked)}"
        self.asked.add(name)
        control = control.model_copy(update={"event_id": name})
        if isinstance(control, AudioClear) or (isinstance(control, Reset) and not control.at_us):
            self.pushed = self.fed
        if isinstance(control, AudioBegin):
            self.begun[name] = control.item_id
        try:
            self.session.receive(control, self.now_s)
        except StreamError as error:
            assert error.event_id == name
            self.session.refuse(error)

    @rule(length=st.integers(1, 6000))
    def speak(self, length: int) -> None:
        packet = Packet(Kind.AUDIO_IN, Flags.NONE, 0, 0, 0, 0, 0, bytes(2 * length))
        try:
            self.session.receive_audio(packet, self.now_s)
            self.pushed += length
        except StreamError as error:
            assert error.code == "audio_overflow"
            self.session.refuse(error)

    @rule(share=st.floats(0, 1.5), queue=st.integers(0, 30))
    def ack(self, share: float, queue: int) -> None:
        self.playhead_us += share * max(0.0, self.video_end_us - self.playhead_us)
        last_seq = min(self.last_video, math.ceil(self.playhead_us / 40_000) - 1)
        ack = Ack(playhead_us=self.playhead_us, last_seq=last_seq, decode_queue=queue)
        self.session.receive(ack, self.now_s)
        self.unheard_frames = 0

    @rule(message=st.sampled_from([KeyRequest(), Ping(t_ms=1.0), SessionQuery()]))
    def ask(self, message: Any) -> None:
        self.session.receive(message, self.now_s)

    # The worker.

    @precondition(lambda self: not self.stepping)
    @rule()
    def begin(self) -> None:
        at_s = self.session.next_step_s(self.now_s)
        if at_s is None or at_s > self.now_s:
            return
        told = self.session.begin_step(self.now_s)
        self.stepping = True
        self.fed += len(told.audio)
        assert len(told.audio) <= CHUNK_SAMPLES
        assert len(told.tracks) <= 512

    @precondition(lambda self: self.stepping)
    @rule(talking=st.booleans(), count=st.integers(1, 6))
    def finish(self, talking: bool, count: int = 4) -> None:
        """A chunk has four frames as a rule."""
        frames, before = np.zeros((count, 2, 2, 3), np.uint8), self.session.frames
        chunk = Chunk(0, frames, np.ones(INFO.samples(count), np.int16), talking, "bars")
        self.session.finish_step(chunk, 0.01, self.now_s)
        assert self.session.frames == before + count
        self.stepping = False
        self.unheard_frames += count

    @rule(seconds=st.floats(0, 3), acks=st.booleans())
    def play(self, seconds: float, acks: bool) -> None:
        """Steps and sends for a while, with a viewer that follows or without."""
        for _ in range(12):
            if self.stepping:
                self.finish(False)
            self.begin()
            self.send(9)
            self.now_s += seconds / 12
            if acks:
                self.ack(0.5, 0)

    # The network.

    @rule(count=st.integers(1, 30))
    def send(self, count: int) -> None:
        if not self.session.attached or self.session.failure:
            return
        for _ in range(count):
            item = self.session.next_output(self.now_s)
            match item:
                case None:
                    return
                case VideoFrame():
                    assert item.seq > self.last_video
                    assert item.pts_us == item.seq * 40_000
                    self.last_video = item.seq
                    self.video_end_us = item.pts_us + 40_000
                    self.session.sent(item, 100, self.now_s)
                case AudioPiece():
                    seq = self.session.take_audio_seq()
                    assert seq == self.last_audio + 1
                    self.last_audio = seq
                    self.session.sent(item, 100, self.now_s)
                case Applied() | Rejected():
                    self.answered.append(item.event_id)
                    self.applied += [item.event_id] * isinstance(item, Applied)
                case Speech():
                    self.told.append((item.item_id, item.phase))
                    assert item.samples >= 0 and item.pts_us >= 0
                case _:
                    pass

    @precondition(lambda self: self.session.attached)
    @rule()
    def cut(self) -> None:
        self.session.detach(self.now_s)

    @precondition(lambda self: not self.session.attached)
    @rule(shown=st.floats(0, 1))
    def come_back(self, shown: float) -> None:
        last_seq = round(shown * (self.last_video + 1)) - 1
        self.session.check_resume("t", last_seq)
        next_seq = self.session.resume(last_seq, audio=True, now_s=self.now_s)
        assert next_seq >= last_seq + 1
        self.last_video = next_seq - 1
        self.playhead_us = self.video_end_us = next_seq * 40_000.0
        self.unheard_frames = 0
        frames = self.session.frames + 6 * self.stepping
        self.replayed_us = INFO.media_us(frames) - self.playhead_us

    @rule(seconds=st.floats(0, 0.5))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        self.session.tick(self.now_s, 1)

    # What must always hold.

    @invariant()
    def the_viewer_is_never_far_behind_what_is_sent(self) -> None:
        position_us = self.session.position_us(self.now_s)
        # Two chunks (one as long as it may be), what stalls may add, and what was assumed to play
        # between acks.
        bound_us = 2 * INFO.chunk_us + INFO.media_us(2) + 240_000 + 300_000
        assert self.video_end_us - position_us <= max(bound_us, self.replayed_us)
        assert position_us <= max(INFO.media_us(self.session.frames), self.playhead_us)

    @invariant()
    def generation_stops_when_the_viewer_is_not_heard(self) -> None:
        # The same in chunks, which may have a single frame each, and one that was under way.
        assert self.unheard_frames <= 7 * 4 + 2

    @invariant()
    def queues_are_bounded(self) -> None:
        assert self.session._outbox.frames <= 11 * 4 + 2  # pyright: ignore[reportPrivateUsage]
        assert len(self.session._outbox._messages) <= MAX_MESSAGES  # pyright: ignore[reportPrivateUsage]
        assert self.session._ring.frames <= 11 * 4 + 2  # pyright: ignore[reportPrivateUsage]
        assert self.session.queued_audio_ms <= 30_000
        assert 32 <= self.session.target_kbps <= 650

    @invariant()
    def no_event_is_answered_twice_or_unasked(self) -> None:
        assert len(self.answered) == len(set(self.answered))
        assert set(self.answered) <= self.asked

    @invariant()
    def an_utterance_starts_and_is_over_once(self) -> None:
        begun = Counter(self.begun.values())
        told = Counter(self.told)
        for item, count in begun.items():
            over = told[item, "ended"] + told[item, "cleared"]
            assert over <= count and told[item, "started"] <= count
            assert told[item, "started"] <= over + 1

    @invariant()
    def no_more_audio_is_fed_than_was_received(self) -> None:
        assert self.fed <= self.pushed or self.stepping

    @invariant()
    def only_silence_ends_a_connection(self) -> None:
        assert self.session.failure is None or isinstance(self.session.failure, Timeout)

    def teardown(self) -> None:
        """Let everything run out: every control has been answered once."""
        if self.session.failure:
            return
        if self.stepping:
            self.finish(False)
        if not self.session.attached:
            self.come_back(1.0)
        self.session.receive(Resume(event_id="last"), self.now_s)
        self.asked.add("last")
        for _ in range(12):
            self.send(1000)
            self.ack(1.0, 0)
            self.wait(0.2)
            self.begin()
            if self.stepping:
                self.finish(False)
        self.session.receive(AudioClear(event_id="clear"), self.now_s)
        self.asked.add("clear")
        self.send(1000)
        assert set(self.answered) == self.asked
        for item in "abc":
            begun = sum(self.begun.get(each) == item for each in self.applied)
            over = [phase for name, phase in self.told if name == item and phase != "started"]
            assert len(over) == begun


class TestSession(SessionMachine.TestCase):
    settings = settings(max_examples=50, stateful_step_count=40, deadline=None, derandomize=True)


@pytest.mark.long
class TestLongerSession(SessionMachine.TestCase):
    settings = settings(max_examples=120, stateful_step_count=40, deadline=None, derandomize=True)
