"""Decides what is generated next: the most urgent stream of each model that has room, alone or in
a batch with others.

Earliest deadline first. Models have processes of their own, so each is driven by itself; what they
share is the machine, which admission minds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from ...models.contract import Controls
from ..metrics import Metrics
from .batching import cohort
from .candidate import Candidate
from .hosted_model import HostedModel
from .hosted_stream import HostedStream
from .scheduler import ModelLoad
from .stream_registry import StreamRegistry

TICK_S = 0.1

Guard = Callable[[HostedStream], AbstractContextManager[None]]
"""What fails within it costs that stream and no other."""


class Driver:
    """Hands chunks of `streams` to the hosts of their models, each stream within `guard`."""

    def __init__(
        self,
        models: Mapping[str, HostedModel],
        streams: StreamRegistry,
        guard: Guard,
        metrics: Metrics,
    ) -> None:
        self._models = models
        self._streams = streams
        self._guard = guard
        self._metrics = metrics

    def submit_due(self, now_s: float) -> float:
        """Submit what is due now and can be taken; when to look again."""
        models = self._models.values()
        return min((self._submit(model, now_s) for model in models), default=now_s + TICK_S)

    def drop_interrupted(self) -> None:
        """Before the next chunk: what is under way of a stream that was interrupted."""
        for stream in self._streams:
            with self._guard(stream):
                if stream.session.take_drop():
                    self._models[stream.model].host.drop(stream.session_id)

    def deadline_s(self, model: HostedModel, stream: HostedStream, now_s: float) -> float:
        """When a stream runs dry, with what is under way for it."""
        session = stream.session
        coming = model.under_way.of(stream.session_id) - session.dropping
        return session.deadline_s(now_s) + coming * session.info.chunk_us / 1e6

    def _submit(self, model: HostedModel, now_s: float) -> float:
        """Hand the model its most urgent chunk if it takes one; when to look again."""
        room_s = model.host.next_s(now_s, model.under_way.total)
        if room_s is None or model.condition != "ready":
            return now_s + TICK_S
        if room_s > now_s:
            return room_s
        next_s, due, due_s = now_s + TICK_S, list[Candidate](), dict[str, float]()
        coming_s: list[float] = []
        for stream in self._streams.of_model(model.name):
            with self._guard(stream):
                at_s = stream.session.next_step_s(now_s)
                if at_s is not None and at_s <= now_s:
                    deadline_s = self.deadline_s(model, stream, now_s)
                    due.append(Candidate(stream.session_id, deadline_s))
                    due_s[stream.session_id] = at_s
                elif at_s is not None:
                    next_s = min(next_s, at_s)
                    coming_s.append(at_s)
        load = model.load
        if not due or load is None:
            return next_s
        rows = load.rows(len(due) + len(coming_s))
        chosen = cohort(due, min(due_s.values()), coming_s, rows, load.table, load.chunk_s)
        if chosen.again_s is not None:
            return min(next_s, chosen.again_s)
        self._begin(model, load, {each: due_s[each] for each in chosen.sessions}, now_s)
        return now_s

    def _begin(
        self, model: HostedModel, load: ModelLoad, due_s: Mapping[str, float], now_s: float
    ) -> None:
        """Hand the model a chunk of each of these streams."""
        chunks: list[tuple[str, Controls]] = []
        for session_id, at_s in due_s.items():
            stream = self._streams.get(session_id)
            if stream is None:
                continue
            with self._guard(stream):
                self._take_turn(model, load, stream, due_s)
                self._metrics.turn_wait_s.observe(max(0.0, now_s - at_s))
                controls = stream.session.begin_step(now_s)
                if stream.journal is not None:
                    stream.journal.begin(controls)
                model.under_way.add(session_id)
                chunks.append((session_id, controls))
        if len(chunks) == 1:
            model.host.submit(*chunks[0])
        elif chunks:
            model.host.submit_together(chunks)

    @staticmethod
    def _take_turn(
        model: HostedModel, load: ModelLoad, stream: HostedStream, due_s: Mapping[str, float]
    ) -> None:
        """It begins a chunk with those of `due_s`, and is moved towards a time of their own."""
        if model.turns == "sliced":
            return
        early_s = model.phases.begin(
            stream.session_id,
            due_s[stream.session_id],
            chunk_s=load.chunk_s,
            step_s=load.turn_s(len(due_s)) / len(due_s),
            slack_s=load.slack_s,
            mates=due_s,
        )
        stream.session.begin_early(early_s)
