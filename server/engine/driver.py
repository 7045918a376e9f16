"""Decides what is generated next: the most urgent stream of each model that has room.

Earliest deadline first. Models have processes of their own, so each is driven by itself; what they
share is the machine, which admission minds.
"""

from __future__ import annotations

from collections.abc import Mapping

from .hosted_model import HostedModel
from .hosted_stream import HostedStream
from .scheduler import Candidate, pick
from .stream_registry import StreamRegistry

TICK_S = 0.1


class Driver:
    """Hands chunks of `streams` to the hosts of their models."""

    def __init__(self, models: Mapping[str, HostedModel], streams: StreamRegistry) -> None:
        self._models = models
        self._streams = streams

    def submit_due(self, now_s: float) -> float:
        """Submit what is due now and can be taken; when to look again."""
        models = self._models.values()
        return min((self._submit(model, now_s) for model in models), default=now_s + TICK_S)

    def drop_interrupted(self) -> None:
        """Before the next chunk: what is under way of a stream that was interrupted."""
        for stream in self._streams:
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
        streams = {stream.session_id: stream for stream in self._streams.of_model(model.name)}
        times = {key: stream.session.next_step_s(now_s) for key, stream in streams.items()}
        due = [key for key, at_s in times.items() if at_s is not None and at_s <= now_s]
        chosen = pick(Candidate(key, self.deadline_s(model, streams[key], now_s)) for key in due)
        if chosen is None:
            return min((at for at in times.values() if at is not None), default=now_s + TICK_S)
        model.under_way.add(chosen)
        model.host.submit(chosen, streams[chosen].session.begin_step(now_s))
        return now_s
