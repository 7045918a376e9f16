"""A session with a fake clock and a model that takes no time."""

from __future__ import annotations

from typing import Any

import numpy as np

from rollcast.models.contract import Chunk, Controls, ModelInfo, StreamRequest
from rollcast.models.test_pattern import CHUNK_SAMPLES, TestPattern
from rollcast.server.protocol.client_messages import Ack, Prompt
from rollcast.server.protocol.packets import Flags, Kind, Packet
from rollcast.server.session.media import AudioPiece, VideoFrame
from rollcast.server.session.options import SessionOptions
from rollcast.server.session.outbox import Output
from rollcast.server.session.session import Session

INFO = TestPattern().info
CHUNK_US = INFO.chunk_us
SPEECH = np.full(CHUNK_SAMPLES, 5000, np.int16)


class Bench:
    """A session, its clock, and a model that takes no time."""

    def __init__(self, info: ModelInfo = INFO, **options: Any) -> None:
        self.now_s = 100.0
        self.session = Session(
            info,
            SessionOptions(
                **{
                    "session_id": "s",
                    "resume_token": "secret",
                    "request": StreamRequest(seed=1, scene="bars", prompt="a red wall"),
                    **options,
                }
            ),
            self.now_s,
        )
        self.output: list[Output] = []
        self.controls: list[Controls] = []

    def messages(self, kind: type) -> list[Any]:
        return [item for item in self.output if isinstance(item, kind)]

    @property
    def seqs(self) -> list[int]:
        return [frame.seq for frame in self.messages(VideoFrame)]

    def drain(self) -> list[Output]:
        new: list[Output] = []
        while (item := self.session.next_output(self.now_s)) is not None:
            new.append(item)
            if isinstance(item, VideoFrame | AudioPiece):
                self.session.sent(item, 1000, self.now_s)
        self.output += new
        return new

    def due(self) -> bool:
        at_s = self.session.next_step_s(self.now_s)
        return at_s is not None and at_s <= self.now_s

    def step(
        self, *, talking: bool = False, audio: np.ndarray | None = None, **fields: Any
    ) -> None:
        self.controls.append(self.session.begin_step(self.now_s))
        self.finish(talking=talking, audio=audio, **fields)

    def finish(
        self,
        *,
        talking: bool = False,
        audio: np.ndarray | None = None,
        count: int = INFO.chunk_frames,
        **fields: Any,
    ) -> None:
        frames = np.zeros((count, 2, 2, 3), np.uint8)
        sound = np.zeros(INFO.samples(count), np.int16) if audio is None else audio
        scene = fields.pop("scene", self.session.scene)
        chunk = Chunk(0, frames, sound, talking, scene, **fields)
        self.session.finish_step(chunk, 0.01, self.now_s)

    def run(self, seconds: float, *, acks: bool = True, speed: float = 1.0) -> None:
        """Play in real time: step when due, ack every 40 ms what a viewer would show."""
        start_s, start_us = self.now_s, self.session.position_us(self.now_s)
        for _ in range(round(seconds / 0.04)):
            while self.due():
                self.step()
                self.drain()
            self.now_s += 0.04
            if acks:
                end_us = max((f.pts_us for f in self.messages(VideoFrame)), default=0) + 40_000
                shown_us = min(start_us + (self.now_s - start_s) * 1e6 * speed, end_us)
                self.ack(shown_us)
            self.drain()

    def ack(self, playhead_us: float, **fields: Any) -> None:
        shown = [f.seq for f in self.messages(VideoFrame) if f.pts_us <= playhead_us]
        ack = Ack(playhead_us=playhead_us, last_seq=max(shown, default=-1), **fields)
        self.session.receive(ack, self.now_s)

    def say(self, message: Any) -> None:
        self.session.receive(message, self.now_s)

    def speak(self, samples: np.ndarray) -> None:
        for start in range(0, len(samples), 320):
            payload = samples[start : start + 320].astype("<i2").tobytes()
            packet = Packet(Kind.AUDIO_IN, Flags.NONE, 0, 0, 0, 0, 0, payload)
            self.session.receive_audio(packet, self.now_s)


def prompt(event_id: str, text: str = "a blue wall") -> Prompt:
    return Prompt(event_id=event_id, text=text)
