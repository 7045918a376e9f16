"""Networks that methods of the comparison begin with: their shapes, and how they are taught."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .methods import METHODS, SMALL_WIDTH
from .network import ToyNetwork
from .sinks import FINE_CACHE, FINE_PATCH
from .teaching import Budget, Taught, teach_flow

BASES = ("scorer", "teacher", "flow", "small-flow", "fine-flow")
"""A bidirectional network, which scores that learn begin as; one that is deeper and is taught
longer, to be a real score; causal flow models: one that begins as the first, a smaller one, one of
finer tokens."""
BASELINES = ("oracle", "scorer", "teacher", "flow", "fine-flow", "regression")
"""What methods stand beside in tables."""
_TIMES = {"teacher": 3, "fine-flow": 2}
"""How many times the base's time each gets: a teacher is taught once for all; a flow model of finer
tokens gets that of whole clips and of causal ones together."""


def bases_of(name: str, real: str = "oracle") -> tuple[str, ...]:
    """Those of `BASES` that whatever `Comparison.run` can do needs, with that real score."""
    method = METHODS.get(name)
    form = "" if method is None else method.form
    needed = {"scorer", "flow"} | ({name} & set(BASES))
    if form == "fine":
        needed |= {"fine-flow"}
    if form in ("small", "small by mood"):
        needed |= {"small-flow"}
    if method is not None and real == "network":
        needed |= {"teacher"}
    return tuple(base for base in BASES if base in needed)


def shaped(name: str, width: int, layers: int) -> ToyNetwork:
    """A new network of the shape of a base, or of the student of a method that is one network."""
    method = METHODS.get(name)
    form = "" if method is None else method.form
    if name == "small-flow" or form == "small":
        return ToyNetwork(SMALL_WIDTH, layers)
    if name == "teacher":
        return ToyNetwork(width, layers * 3 // 2)
    if name == "fine-flow" or form == "fine":
        network = ToyNetwork(width, layers, FINE_CACHE, patch=FINE_PATCH)
    else:
        network = ToyNetwork(width, layers)
    return network if method is None or form == "whole" else method.arranged(network)


def teach_base(
    name: str,
    network: ToyNetwork,
    seconds: float,
    kept: Callable[[str], ToyNetwork],
    unfinished: Path,
) -> Taught:
    """Flow matching within so many seconds of a base; `kept` gives those that are taught."""
    if name == "flow":
        # whole clips first: it then knows the world, and both modes
        network.load_state_dict(kept("scorer").state_dict())
    budget = Budget(seconds=seconds * _TIMES.get(name, 1))
    return teach_flow(
        network,
        budget,
        causal=name not in ("scorer", "teacher"),
        rate=1e-3 if name == "flow" else 2e-3,
        decisive=name in ("teacher", "fine-flow"),
        unfinished=unfinished,
    )
