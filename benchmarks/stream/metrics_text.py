"""The server's Prometheus text: what happened between two samples of it."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

MODEL_AND_CODEC = ("step", "encode")
"""Stages that are the model (its decoder included) and the encoder; the others are overhead."""


@dataclass(frozen=True, slots=True)
class Sample:
    """All values at one moment, by metric name and labels."""

    values: dict[tuple[str, frozenset[tuple[str, str]]], float]

    def value(self, name: str, **labels: str) -> float:
        """One value; 0 for a metric that has not appeared yet."""
        return self.values.get((name, frozenset(labels.items())), 0.0)

    def stages(self) -> set[str]:
        """The stages that have been timed."""
        return {
            value
            for name, labels in self.values
            if name == "rollcast_stage_seconds_sum"
            for key, value in labels
            if key == "stage"
        }


def parse(text: str) -> Sample:
    """Read the text format; comments are skipped. Raises ValueError for what is none."""
    return Sample(
        {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
    )


@dataclass(frozen=True, slots=True)
class Span:
    """What happened from one sample to a later one."""

    before: Sample
    after: Sample

    def stage_s(self, stage: str) -> float:
        """Time spent in a stage."""
        return self._grown("rollcast_stage_seconds_sum", stage)

    def mean_step_s(self) -> float:
        """Mean time of a model step; NaN when there was none."""
        count = self._grown("rollcast_stage_seconds_count", "step")
        return self.stage_s("step") / count if count else float("nan")

    def overhead_ratio(self) -> float:
        """The server's own time (receive, deliver, send) over the model's and the encoder's."""
        work_s = sum(self.stage_s(stage) for stage in MODEL_AND_CODEC)
        own_s = sum(self.stage_s(s) for s in self.after.stages() - set(MODEL_AND_CODEC))
        return own_s / work_s if work_s else float("nan")

    def step_percentile_s(self, share: float) -> float:
        """The step time that `share` (0..1) of the steps stay below, within a bucket linearly."""
        counts = self._step_buckets()
        wanted = share * (counts[-1][1] if counts else 0)
        low_s, below = 0.0, 0.0
        for high_s, count in counts:
            if count >= wanted and count > below:
                if high_s == float("inf"):
                    return low_s
                return low_s + (high_s - low_s) * (wanted - below) / (count - below)
            low_s, below = high_s, count
        return float("nan")

    def grown(self, name: str, **labels: str) -> float:
        """How much a value has grown."""
        return self.after.value(name, **labels) - self.before.value(name, **labels)

    def _step_buckets(self) -> list[tuple[float, float]]:
        """Upper edges and how many steps stayed below each."""
        counts: list[tuple[float, float]] = []
        for (name, labels), count in self.after.values.items():
            fields = dict(labels)
            if name == "rollcast_stage_seconds_bucket" and fields.get("stage") == "step":
                before = self.before.values.get((name, labels), 0.0)
                counts.append((float(fields["le"]), count - before))
        return sorted(counts)

    def _grown(self, name: str, stage: str) -> float:
        return self.after.value(name, stage=stage) - self.before.value(name, stage=stage)
