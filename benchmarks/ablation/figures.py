"""What plots and tables take from a report of the ablation, by variant and mark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from .variants import Job, Variant

Report = Mapping[str, Any]


class Figures:
    """A report's streams by their names."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.looks: list[str] = report["looks"]
        self._streams = {stream["key"]: stream for stream in report["streams"]}

    @property
    def first(self) -> str:
        """The look that was watched longest."""
        return self.looks[0]

    def stream(self, variant: Variant, look: str) -> Mapping[str, Any] | None:
        """One stream, if it was measured."""
        return self._streams.get(Job(variant, look, 0).key)

    def marks(self, variant: Variant) -> list[str]:
        """The marks of the first look, in seconds."""
        stream = self.stream(variant, self.first)
        return list(stream["marks"]) if stream else []

    def at(self, variant: Variant, name: str, mark: str, look: str) -> float | None:
        """One figure."""
        stream = self.stream(variant, look)
        return stream["marks"].get(mark, {}).get(name) if stream else None

    def mean(
        self, variant: Variant, name: str, mark: str, looks: Sequence[str] | None = None
    ) -> float | None:
        """The mean over looks that have the figure."""
        found = [self.at(variant, name, mark, k) for k in (self.looks if looks is None else looks)]
        return _mean(found)

    def cost_ms(self, variant: Variant, looks: Sequence[str]) -> float | None:
        """Processor time of the student for a chunk."""
        streams = [self.stream(variant, look) for look in looks]
        return _mean([stream["ms"]["student"] if stream else None for stream in streams])

    @property
    def short_mark(self) -> str:
        """The last mark that all streams have."""
        common = set.intersection(*(set(s["marks"]) for s in self._streams.values()))
        return max(common, key=float)


def sink_name(variant: Variant) -> str:
    """The sink in words."""
    if variant.sink == "ema":
        return f"EMA sink, α = {variant.alpha:g}"
    return "no sink" if variant.sink == "none" else "static sink"


def time_name(mark: str) -> str:
    """A mark in words."""
    seconds = float(mark)
    return f"{seconds:g} s" if seconds < 60 else f"{seconds / 60:g} min"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
