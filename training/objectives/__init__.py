"""What a student is taught: one file per objective, behind one interface."""

from __future__ import annotations

from typing import Any

from .contract import Objective
from .distribution_matching import DistributionMatching
from .flow_matching import FlowMatching
from .regression import Regression
from .reward import RewardedMatching
from .self_rollout import SelfRollout

OBJECTIVES: dict[str, type[Objective[Any]]] = {
    "regression": Regression,
    "flow-matching": FlowMatching,
    "self-rollout": SelfRollout,
    "distribution-matching": DistributionMatching,
    "rewarded-matching": RewardedMatching,
}

__all__ = ["OBJECTIVES", "Objective"]
