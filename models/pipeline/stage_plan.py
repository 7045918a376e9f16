"""Which stage does which steps, and which one decodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds that the parts of a chunk take: prepare, each call of the student, decoder."""

    prepare_s: float
    step_s: tuple[float, ...]
    decode_s: float

    @property
    def total_s(self) -> float:
        """One chunk from end to end, without links."""
        return self.prepare_s + sum(self.step_s) + self.decode_s


@dataclass(frozen=True, slots=True)
class StagePlan:
    """`steps[r]` are the calls of stage r, in order; `decoder` is the stage that decodes.

    A stage without calls comes last and is the decoder. `prepare` is always on stage 0.
    """

    steps: tuple[tuple[int, ...], ...]
    decoder: int

    def __post_init__(self) -> None:
        flat = [step for own in self.steps for step in own]
        idle = [rank for rank, own in enumerate(self.steps) if not own]
        alone = idle in ([], [len(self.steps) - 1]) and all(rank == self.decoder for rank in idle)
        if not flat or flat != list(range(len(flat))) or not alone:
            raise ValueError(
                f"steps {self.steps}, decoder {self.decoder}; expected steps 0.. in order, at "
                "least one on every stage but a last one that only decodes"
            )
        if not 0 <= self.decoder < len(self.steps):
            raise ValueError(f"decoder {self.decoder} is not one of {len(self.steps)} stages")

    @property
    def stages(self) -> int:
        """Stages in all."""
        return len(self.steps)

    @property
    def last(self) -> int:
        """The stage of the last step."""
        return max(rank for rank, own in enumerate(self.steps) if own)

    def outlet(self, rank: int) -> int | None:
        """The stage that gets what stage `rank` has done; None: it is done here."""
        if rank < self.last:
            return rank + 1
        return self.decoder if rank == self.last != self.decoder else None

    def inlets(self, rank: int) -> tuple[int, ...]:
        """The stages that send to stage `rank`; clean latents may go back to the first one."""
        found = {other for other in range(self.stages) if self.outlet(other) == rank}
        if rank == 0 != self.last:
            found.add(self.last)
        return tuple(sorted(found))

    def load_s(self, rank: int, costs: Costs) -> float:
        """Seconds of work for one chunk on stage `rank`."""
        prepare = costs.prepare_s if rank == 0 else 0.0
        decode = costs.decode_s if rank == self.decoder else 0.0
        return prepare + sum(costs.step_s[step] for step in self.steps[rank]) + decode

    def bottleneck_s(self, costs: Costs) -> float:
        """Seconds between chunks at best."""
        return max(self.load_s(rank, costs) for rank in range(self.stages))

    def hops(self) -> int:
        """Links that a chunk crosses."""
        return sum(self.outlet(rank) is not None for rank in range(self.stages))


def choose_plan(stages: int, costs: Costs, cuts: Sequence[int] | None = None) -> StagePlan:
    """The plan with the highest throughput: the decoder alone, or where there is slack.

    `cuts` are those of `ChunkSteps`, None: anywhere. Raises ValueError for more stages than can
    share the work.
    """
    calls = len(costs.step_s)
    allowed = _allowed(calls, cuts)
    most = len(allowed) + 2
    if not 1 <= stages <= most:
        why = "one a call and one for the decoder"
        if len(allowed) < calls - 1:
            why = (
                f"its {calls} calls of the student share {'a cache' if not allowed else 'caches'}, "
                "which stays on one device, and the decoder may have one of its own"
            )
        raise ValueError(f"{stages} stages; this model can use 1 to {most}: {why}")
    # Among equals the one that decodes late: its chunks cross no link back. Behind a slow decoder
    # all are equal, and the most even one needs the least memory on a device.
    return min(
        plans(stages, calls, allowed),
        key=lambda plan: (
            plan.bottleneck_s(costs),
            plan.hops(),
            max(map(len, plan.steps)),
            -plan.decoder,
        ),
    )


def check_plan(
    plan: StagePlan, processes: int, costs: Costs, cuts: Sequence[int] | None = None
) -> None:
    """Raise ValueError for a plan of other calls, too many stages, or a cut that is not allowed."""
    calls = len(costs.step_s)
    allowed = _allowed(calls, cuts)
    begins = [own[0] for own in plan.steps[1:] if own]
    shared = [call for call in begins if call not in allowed]
    if plan.stages > processes or sum(map(len, plan.steps)) != calls or shared:
        why = f"; calls before and from {shared} share a cache" if shared else ""
        raise ValueError(
            f"steps {plan.steps} on {processes} processes, of a model with {calls} calls{why}"
        )


def plans(stages: int, calls: int, cuts: Sequence[int] | None = None) -> Iterator[StagePlan]:
    """Every plan for this many stages and calls, cut only at `cuts` (None: anywhere)."""
    allowed = _allowed(calls, cuts)
    for split in _splits(stages, calls, allowed):
        for decoder in range(stages):
            yield StagePlan(split, decoder)
    if stages > 1:
        for split in _splits(stages - 1, calls, allowed):
            yield StagePlan((*split, ()), stages - 1)


def _allowed(calls: int, cuts: Sequence[int] | None) -> Sequence[int]:
    """Where a chunk may go on to another stage; `cuts` None: before any call but the first."""
    return range(1, calls) if cuts is None else cuts


def _splits(parts: int, calls: int, cuts: Sequence[int]) -> Iterator[tuple[tuple[int, ...], ...]]:
    for chosen in combinations(cuts, parts - 1):
        edges = (0, *chosen, calls)
        yield tuple(tuple(range(a, b)) for a, b in pairwise(edges))
