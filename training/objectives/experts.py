"""A student of several networks: one for each range of noise, or one for each kind of prompt."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


class Experts(nn.Module):
    """Networks for ranges of noise; the k-th takes steps above `ends[k]`, the last the rest.

    The ranges are those of pipeline stages: an expert a stage is served as one.
    """

    def __init__(self, networks: Sequence[nn.Module], ends: Sequence[float]) -> None:
        super().__init__()
        if len(ends) != len(networks) or list(ends) != sorted(ends, reverse=True) or ends[-1]:
            raise ValueError(
                f"ends {tuple(ends)} of {len(networks)} networks; expected as many, falling to 0"
            )
        self.networks = nn.ModuleList(networks)
        self.ends = tuple(ends)

    def at(self, sigma: float) -> nn.Module:
        """The network of a step that begins at `sigma`."""
        return next(
            network
            for network, end in zip(self.networks, self.ends, strict=True)
            if sigma > end or end == 0
        )


class ByPrompt(nn.Module):
    """Networks for kinds of prompts; whoever samples routes each row to its own."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)


def network_at(student: nn.Module, sigma: float) -> nn.Module:
    """What takes a step that begins at `sigma`."""
    return student.at(sigma) if isinstance(student, Experts) else student
