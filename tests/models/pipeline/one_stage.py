"""A stage with a model, alone in the test's process."""

from __future__ import annotations

from multiprocessing import Pipe
from typing import Any, Generic, TypeVar

from rollcast.models.contract import Controls, StreamRequest
from rollcast.models.pipeline.heartbeat import Heartbeat
from rollcast.models.pipeline.messages import (
    Assign,
    Batch,
    Done,
    FromStage,
    Open,
    SnapshotPart,
    Step,
)
from rollcast.models.pipeline.stage import Stage
from rollcast.models.pipeline.stage_plan import StagePlan
from rollcast.models.staged_model import StagedModel

M = TypeVar("M", bound=StagedModel[Any])


class Noted(Heartbeat):
    """A heart that keeps what it sends."""

    def __init__(self) -> None:
        ours, self.executor = Pipe()
        super().__init__(ours)
        self.sent: list[FromStage] = []

    def send(self, message: FromStage) -> None:
        self.sent.append(message)

    def done(self) -> list[Done]:
        """The chunks told of since."""
        found = [each for each in self.sent if isinstance(each, Done)]
        self.sent = [each for each in self.sent if not isinstance(each, Done)]
        return found

    def parts(self, stream: str) -> dict[str, Any]:
        """The parts of its snapshot that were told of."""
        told = [each for each in self.sent if isinstance(each, SnapshotPart)]
        return {n: part for each in told if each.stream == stream for n, part in each.parts.items()}


class OneStage(Generic[M]):
    """Streams of one letter, whose seed and prompt that is unless a request says otherwise."""

    def __init__(self, model: M, plan: StagePlan) -> None:
        self.heart, self.model = Noted(), model
        self.stage = Stage(0, model, self.heart, None)
        self.stage._do(Assign(plan, 1, 0))

    @property
    def streams(self) -> Any:
        """What the stage keeps of each."""
        return self.stage._streams

    def open(self, *streams: str, **requests: StreamRequest) -> None:
        for stream in (*streams, *requests):
            usual = StreamRequest(seed=ord(stream), prompt=stream)
            self.stage._do(Open(stream, requests.get(stream, usual)))

    def batch(self, told: dict[str, Controls], *, small: bool = False) -> list[Done]:
        """A chunk of each; `small`: with a small snapshot behind it."""
        steps = (Step(stream, each, False, small=small) for stream, each in told.items())
        self.stage._do(Batch(tuple(steps)))
        self.stage._let_go()
        return self.heart.done()

    def alone(self, stream: str, controls: Controls, rows: int = 1) -> Done:
        self.stage._do(Step(stream, controls, False, rows))
        self.stage._let_go()
        return self.heart.done()[0]
