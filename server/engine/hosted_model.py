"""A model as the engine sees it: how it is, what it costs, which of its chunks are under way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ...models.contract import ModelInfo
from ...models.pipeline.events import Cause
from ...models.pipeline.recent import Recent
from ..config import Turns
from ..protocol.server_messages import EngineRestarting
from ..session.quality import BEST, Quality
from .batch_table import BatchTable, BatchTimes
from .model_host import ModelHost
from .phases import Phases
from .quality_ladder import MOST_LOAD, QualityLadder
from .scheduler import ModelLoad
from .under_way import UnderWay

Condition = Literal["loading", "ready", "restarting", "failed"]
LOADING_RETRY_S = 2.0

CAUSES: dict[Cause, str] = {
    "died": "a process of the model died",
    "hung": "a process of the model did not answer",
    "failed": "the model raised an error",
}


@dataclass(slots=True)
class HostedModel:
    """`since_s` is when its condition began (seconds since 1970); `why` is fit for anyone to read.

    `detail` may quote an exception: it is for logs and for who started the server.
    """

    host: ModelHost
    since_s: float
    turns: Turns = "auto"
    lead_chunks: float = 1.7
    """The largest lead of a stream behind a chunk, without what `phases` adds."""
    condition: Condition = "loading"
    why: str = ""
    detail: str = ""
    estimate_s: float = LOADING_RETRY_S
    """How long the present restart will take."""
    info: ModelInfo | None = None
    step_s: Recent | None = None
    """How long a chunk keeps the model's slowest part at work: first as it was warmed up, then as
    its streams see it. It follows what else the machine does, both ways."""
    latency_s: float = 0.0
    under_way: UnderWay = field(default_factory=UnderWay)
    phases: Phases = field(default_factory=Phases)
    ladder: QualityLadder | None = None
    """What its streams give up while the machine is busy; None while nothing is known of it."""
    table: BatchTable = field(default_factory=BatchTable)
    batch_times: BatchTimes = field(default_factory=BatchTimes)

    @property
    def name(self) -> str:
        """What it was asked for by."""
        return self.host.name

    @property
    def is_sure(self) -> bool:
        """Whether it is known what a chunk takes; else nobody is let in beside a stream."""
        return self.step_s is not None and self.step_s.is_sure

    @property
    def load(self) -> ModelLoad | None:
        """What one stream asks of the machine; None while that is not known."""
        if self.info is None or self.step_s is None:
            return None
        chunk_s = self.info.chunk_us / 1e6
        slack_s = (self.lead_chunks - 1) * chunk_s
        batched = self.turns in ("auto", "batched")
        return ModelLoad(
            self.name,
            self.step_s.value,
            chunk_s,
            slack_s,
            self.table.seconds if batched else {},
            always=self.turns == "batched",
        )

    def admits_beside(self, streams: int) -> bool:
        """Whether one more stream would cost so many that run nothing; the first is let in."""
        if self.ladder is None or self.load is None or not streams:
            return True
        return self.ladder.admits(self.load.of_late(streams + 1))

    def places(self, most: int) -> int:
        """How many of `most` streams fit so that none gives anything up for another."""
        if self.load is None:
            return most
        while most > 1 and self.load.of_late(most) > MOST_LOAD:
            most -= 1
        return most

    @property
    def quality(self) -> Quality:
        """What its streams have now."""
        return BEST if self.ladder is None else self.ladder.quality

    @property
    def notice(self) -> EngineRestarting:
        """What clients are told while it is being restarted."""
        return EngineRestarting(retry_after_s=round(self.estimate_s, 1))

    def become(self, condition: Condition, now_s: float, why: str = "", detail: str = "") -> None:
        """Change the condition; while it stays the same it keeps its beginning."""
        if condition != self.condition:
            self.since_s = now_s
        self.condition, self.why, self.detail = condition, why, detail
