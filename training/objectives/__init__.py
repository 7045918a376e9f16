"""What a student is taught: one file per objective, behind one interface."""

from __future__ import annotations

from typing import Any

from .adversarial import Adversarial
from .contract import Objective
from .cross_mode import CrossMode
from .decoupled_dmd import DecoupledDMD
from .distillation import Distillation
from .distribution_matching import DistributionMatching
from .dmd2 import DMD2
from .f_distill import FDistill
from .flow_matching import FlowMatching
from .re_dmd import ReDMD
from .regression import Regression
from .reward import RewardedMatching
from .self_rollout import SelfRollout
from .trajectory_matching import TrajectoryMatching

OBJECTIVES: dict[str, type[Objective[Any]]] = {
    "regression": Regression,
    "flow-matching": FlowMatching,
    "self-rollout": SelfRollout,
    "distribution-matching": DistributionMatching,
    "rewarded-matching": RewardedMatching,
}

DISTILLATIONS: dict[str, type[Distillation]] = {
    "adversarial": Adversarial,
    "cross-mode": CrossMode,
    "decoupled-dmd": DecoupledDMD,
    "dmd2": DMD2,
    "f-distill": FDistill,
    "re-dmd": ReDMD,
    "trajectory-matching": TrajectoryMatching,
}
"""Those of one student that need a real score and work with any data."""

__all__ = ["DISTILLATIONS", "OBJECTIVES", "Distillation", "Objective"]
