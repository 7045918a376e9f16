"""TDM-unify: one student for any number of steps has to know the number."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from training.objectives.distillation import Rollout
from training.objectives.trajectory_matching import TrajectoryMatching

_LOW, _MEAN, _SPREAD = 0.8, 1.5, 0.6


class _ByCount(nn.Module):
    """A network for each number of steps; one that is not told has one for all."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.count: int | None = None

    def forward(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        asked = 1 if self.count is None else self.count
        return self.networks[asked - 1](noisy, sigma)


def _taught(normal: SimpleNamespace, *, told: bool) -> list[float]:
    """What the first step makes of noise, as a scale, for one step and for two."""
    torch.manual_seed(4)
    task = normal.Task((1000.0, 1000 * _LOW))
    networks = [normal.Student((1.0, _LOW), scale=0.3, shift=1.0) for _ in range(2)]
    student = _ByCount(networks)
    scores: list[_ByCount] = []

    def new_score() -> nn.Module:
        scores.append(_ByCount([normal.Score(_MEAN, _SPREAD) for _ in range(2)]))
        return scores[-1]

    def asked(batch: Any, steps: int) -> Any:
        # each is told before it is asked anything of this batch
        student.count = scores[0].count = steps
        return batch

    task.new_score, task.asked = new_score, asked
    objective = TrajectoryMatching(
        task, lengths=(1, 2), told=told, fake_rate=0.03, exact_target=True
    )
    objective.begin(student)
    optimizer = torch.optim.Adam(student.parameters(), 0.02)
    for _ in range(250):
        optimizer.zero_grad()
        objective.losses(student, task.prompts())["matching"].backward()
        optimizer.step()
    first = [float(network.scale[0].detach()) for network in networks]
    return first if told else [first[0]] * 2


@pytest.mark.long
@pytest.mark.parametrize("told", [True, False])
def test_the_first_step_of_two_is_not_that_of_one(normal: SimpleNamespace, told: bool) -> None:
    """One step has to make the data's spread of noise, .6; the first of two makes of it a point at
    .8 of the data's path, whose noise has next to none of that: .05. Who is told makes both."""
    of_two = (((0.2 * _SPREAD) ** 2 + _LOW**2) ** 0.5 - _LOW) / 0.2
    one, two = _taught(normal, told=told)
    made = abs(one - _SPREAD) < 0.15 and abs(two - of_two) < 0.2
    assert made is told, (one, two)


def test_student_and_scores_are_told_the_steps_of_the_chain(normal: SimpleNamespace) -> None:
    task = normal.Task((1000.0, 900.0, 800.0, 600.0))
    asked: list[int] = []

    def tell(batch: Any, steps: int) -> str:
        asked.append(steps)
        return f"asked for {steps}"

    seen: list[tuple[Any, int]] = []
    roll_out, score = task.roll_out, task.score

    def rolled(student: Any, batch: Any, sigmas: Sequence[float], **how: bool) -> Rollout:
        seen.append((batch, len(sigmas)))
        return roll_out(student, batch, sigmas, **how)

    def scored(model: Any, batch: Any, *what: Any, **how: Any) -> Tensor:
        assert batch == f"asked for {asked[-1]}"
        return score(model, batch, *what, **how)

    task.asked, task.roll_out, task.score = tell, rolled, scored
    objective = TrajectoryMatching(task, lengths=(1, 2, 3, 4), told=True)
    student = normal.Student(objective.sigmas)
    objective.begin(student)
    for _ in range(24):
        objective.losses(student, None)["matching"].backward()
    assert set(asked) == {1, 2, 3, 4}
    assert all(steps <= count for count, (_, steps) in zip(asked, seen, strict=True))
    assert all(batch == f"asked for {count}" for count, (batch, _) in zip(asked, seen, strict=True))
