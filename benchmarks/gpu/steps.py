"""The nine steps of `rollcast bench gpu`: which there are, how long each may take, in two halves.

Free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """`module` of this folder has its `run(bench)`; it is ended behind `cap_s` seconds."""

    number: int
    name: str
    cap_s: float
    module: str


STEPS = (
    Step(0, "versions and ceilings", 15, "ceilings"),
    Step(1, "kernels, goldens and VAE are right", 75, "correctness"),
    Step(2, "chunks of 1.3B", 110, "chunks"),
    Step(3, "attention", 75, "attention"),
    Step(4, "VAE layouts, copies, encoders", 35, "frames"),
    Step(5, "a step of 14B", 30, "large_model"),
    Step(6, "server and client", 65, "served"),
    Step(7, "denoise and decode at once", 35, "overlap"),
    Step(8, "races, and many rows of pocket", 30, "races"),
)
HALVES = {1: (0, 1, 2, 3), 2: (4, 5, 6, 7, 8)}


def parse_steps(text: str) -> tuple[int, ...]:
    """The numbers of a text like 0-3 or 2,4,7-8, in order. Raises ValueError for others."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise ValueError(f"steps {text!r}; expected numbers such as 0-3 or 2,4")
        chosen = range(int(first), int(last if dash else first) + 1)
        if not chosen or chosen[-1] >= len(STEPS):
            raise ValueError(f"steps {part!r}; there are 0 to {len(STEPS) - 1}")
        found.update(chosen)
    return tuple(sorted(found))
