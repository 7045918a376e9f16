"""The methods of the comparison: what each teaches, to which student, and how that is sampled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from ..objectives.adversarial import Adversarial
from ..objectives.cross_mode import CrossMode
from ..objectives.decoupled_dmd import DecoupledDMD
from ..objectives.distillation import Distillation
from ..objectives.dmd2 import DMD2
from ..objectives.experts import ByPrompt, Experts
from ..objectives.f_distill import FDistill
from ..objectives.mean_velocity import MeanVelocity
from ..objectives.phased_dmd import PhasedDMD
from ..objectives.re_dmd import ReDMD
from ..objectives.score_identity import ANTI, ZERO, ScoreIdentity
from ..objectives.students_by_prompt import StudentsByPrompt
from ..objectives.trajectory_matching import TrajectoryMatching
from .law import MOODS
from .network import ToyNetwork
from .sinks import TAUGHT_SINKS, WINDOWS

Form = Literal["causal", "phases", "whole", "small", "small by mood", "fine"]
"""What a student is: one network that streams; an expert for each half of its steps; one that makes
whole clips; a smaller one; as many of those as there are moods; one of finer tokens."""
SMALL_WIDTH = 32
_PHASES = 2


@dataclass(frozen=True, slots=True)
class Method:
    """`objective` makes it for a task; `counts` are numbers of steps that it is sampled with.

    `sink` is that of `TAUGHT_SINKS` which a causal student is taught and sampled with; a fine one
    is taught with the first of `windows` and sampled with each. A student that `told` counts is
    told the number of steps it is asked for.
    """

    objective: Callable[[Any], Distillation]
    form: Form = "causal"
    counts: Sequence[int] = (4,)
    deterministic: bool = False
    sink: str = "static"
    windows: Sequence[str] = ()
    told: bool = False

    def student(self, base: Callable[[str], ToyNetwork]) -> nn.Module:
        """Where it begins: as the causal flow model, whole clips as the bidirectional one.

        `base` gives a new copy of a network by its name.
        """
        if self.form == "whole":
            return base("scorer")
        if self.form == "small":
            return base("small-flow")
        if self.form == "small by mood":
            return ByPrompt([base("small-flow") for _ in MOODS])
        if self.form == "phases":
            return Experts([base("flow") for _ in range(_PHASES)], (PHASE_END, 0.0))
        network = base("fine-flow" if self.form == "fine" else "flow")
        return self.arranged(network)

    def arranged(self, network: ToyNetwork) -> ToyNetwork:
        """A causal student's network with the cache it is taught and sampled with."""
        if self.form == "fine":
            network.cache = WINDOWS[self.windows[0]]
        else:
            sink = TAUGHT_SINKS[self.sink]
            network.cache = sink.cache
            network.turn_by(sink.rope)
        if self.told:
            network.tell_steps()
        return network


PHASE_END = 0.85
"""Between the second and the third of four published steps."""


def _f_distill(name: str) -> Method:
    return Method(lambda task: FDistill(task, name))


METHODS: dict[str, Method] = {
    "dmd2": Method(DMD2, counts=(4, 2, 1)),
    "tdm": Method(TrajectoryMatching, counts=(4, 2, 1), deterministic=True),
    "phased": Method(PhasedDMD, "phases", deterministic=True),
    "f-js": _f_distill("js"),
    "sid": Method(ScoreIdentity),
    "f-kl": _f_distill("kl"),
    "mdt": Method(MeanVelocity, "whole", (1, 2)),
    "re-dmd": Method(ReDMD),
    "dmd2-guided": Method(lambda task: DMD2(task, guidance=2.0)),
    "decoupled": Method(DecoupledDMD),
    "dmd2-no-sink": Method(DMD2, sink="none"),
    "dmd2-one-time-scale": Method(lambda task: DMD2(task, fake_updates=1)),
    "tdm-any-steps": Method(
        lambda task: TrajectoryMatching(task, lengths=(1, 2, 4)), "causal", (4, 2, 1), True
    ),
    "tdm-told": Method(
        lambda task: TrajectoryMatching(task, lengths=(1, 2, 3, 4), told=True),
        "causal",
        (4, 3, 2, 1),
        True,
        told=True,
    ),
    "blade": Method(TrajectoryMatching, "fine", deterministic=True, windows=("sparse",)),
    "sparse-after": Method(
        TrajectoryMatching, "fine", deterministic=True, windows=("dense", "sparse")
    ),
    "dmd2-ema-.9": Method(DMD2, sink="ema .9"),
    "dmd2-ema-.99": Method(DMD2, sink="ema .99"),
    "dmd2-sink-left-behind": Method(DMD2, sink="left behind"),
    "sid-zero": Method(lambda task: ScoreIdentity(task, fake_guidance=ZERO)),
    "sid-anti": Method(lambda task: ScoreIdentity(task, fake_guidance=ANTI)),
    "f-rkl": _f_distill("rkl"),
    "phased-biased": Method(lambda task: PhasedDMD(task, biased=True), "phases", (4,), True),
    "dmd2-real-inputs": Method(lambda task: DMD2(task, simulated=False)),
    "cross-mode": Method(CrossMode),
    "adversarial-hinge": Method(Adversarial),
    "adversarial-relativistic": Method(lambda task: Adversarial(task, "relativistic")),
    "re-dmd-published": Method(lambda task: ReDMD(task, normalised=False)),
    "mdt-matching-alone": Method(lambda task: MeanVelocity(task, distils=False), "whole", (1, 2)),
    "decoupled-guidance-alone": Method(lambda task: DecoupledDMD(task, matches=False)),
    "dmd2-critic": Method(lambda task: DMD2(task, critic_weight=3e-3)),
    "sid-guided": Method(lambda task: ScoreIdentity(task, guidance=2.0, fake_guidance=2.0)),
    "f-hellinger": _f_distill("hellinger"),
    "f-jeffreys": _f_distill("jeffreys"),
    "small": Method(DMD2, "small"),
    "small-by-mood": Method(lambda task: StudentsByPrompt(task, DMD2), "small by mood"),
}
"""Beside them stand the flow models themselves, and regression."""

TAUGHT_WITH = {
    method.sink: name
    for name, method in reversed(METHODS.items())
    if method.objective is DMD2 and method.form == "causal"
}
"""The student of each sink, by the same objective."""
