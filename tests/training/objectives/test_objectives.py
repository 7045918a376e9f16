"""Every objective teaches: its losses reach the student, and following them helps."""

import copy

import pytest
import torch
from torch import Tensor, nn

from training.__main__ import Run
from training.objectives import OBJECTIVES
from training.objectives.distribution_matching import DistributionMatching
from training.objectives.reward import RewardedMatching
from training.pocket_student import PocketStudent
from training.student import prepare
from training.task import TrainingTask


@pytest.fixture(scope="module")
def taught(smoke_run: Run) -> tuple[TrainingTask, PocketStudent]:
    """The smoke run's task, and its student."""
    task, student = prepare(smoke_run.data, smoke_run.parts)
    saved = torch.load(smoke_run.parts / "student/student.pt", weights_only=True)
    student.load_state_dict(saved["student"])
    return task, student


@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_are_finite_and_reach_the_student(
    taught: tuple[TrainingTask, PocketStudent], name: str
) -> None:
    torch.manual_seed(3)
    task, student = taught[0], copy.deepcopy(taught[1])
    objective = OBJECTIVES[name](task)
    objective.begin(student)
    losses = objective.losses(student, task.draw(), pixels=True)
    torch.stack([loss.float() for loss in losses.values()]).sum().backward()
    grads = [p.grad for p in student.student.parameters() if p.grad is not None]
    assert grads and all(torch.isfinite(g).all() for g in grads)
    assert any(g.abs().sum() > 0 for g in grads)


@pytest.mark.parametrize(
    ("name", "updates"), [("regression", 8), ("flow-matching", 16), ("self-rollout", 16)]
)
def test_following_them_brings_samples_nearer_to_the_truth(
    taught: tuple[TrainingTask, PocketStudent], name: str, updates: int
) -> None:
    """By a quarter at least for any seed of eight; times and noise that are drawn differ much."""
    torch.manual_seed(4)
    task, student = taught[0], copy.deepcopy(taught[1])
    objective = OBJECTIVES[name](task)
    batch = task.draw()
    optimizer = torch.optim.Adam(student.parameters(), 1e-3)
    before = _error(task, student, objective.steps, batch)
    for _ in range(updates):
        optimizer.zero_grad()
        objective.losses(student, batch, pixels=False)["latent"].backward()
        optimizer.step()
    assert _error(task, student, objective.steps, batch) < 0.9 * before


def _error(task: TrainingTask, student: PocketStudent, steps, batch) -> float:
    with torch.no_grad():
        made = task.sample(student, batch, steps=steps)[-1]
    return float((made - batch.latents).square().mean())


class _Believes(nn.Module):
    """A score network that sees the same sample in everything."""

    def __init__(self, sample: Tensor) -> None:
        super().__init__()
        self.sample = sample

    def forward(self, *_: object) -> Tensor:
        return self.sample


@pytest.mark.parametrize("kind", [DistributionMatching, RewardedMatching])
def test_distribution_matching_goes_from_the_fake_score_to_the_real_one(
    taught: tuple[TrainingTask, PocketStudent], kind: type[DistributionMatching]
) -> None:
    task, student = taught
    objective = kind(task)
    objective.begin(student)
    batch = task.draw()
    made = batch.latents.clone().requires_grad_(True)
    real, fake = made.detach() + 1.5, made.detach() - 0.5
    objective.real, objective.fake = _Believes(real), _Believes(fake)  # type: ignore[assignment]
    objective.weigh = lambda made, batch: torch.ones(len(made))  # type: ignore[method-assign]
    objective._matching(made, batch).backward()
    assert made.grad is not None
    # a step against the gradient of (made - wanted)^2 / 2: (fake - real) / mean |made - real|
    expected = (fake - real) / 1.5 / made.numel()
    torch.testing.assert_close(made.grad, expected, atol=1e-9, rtol=1e-4)


def test_equal_scores_leave_the_student_alone(taught: tuple[TrainingTask, PocketStudent]) -> None:
    task, student = taught
    objective = DistributionMatching(task)
    objective.begin(student)
    made = task.draw().latents.clone().requires_grad_(True)
    torch.manual_seed(1)
    objective._matching(made, task.draw()).backward()
    assert made.grad is not None and made.grad.abs().max() == 0


def test_the_reward_prefers_mouths_that_follow_and_motion_that_is_there(
    taught: tuple[TrainingTask, PocketStudent],
) -> None:
    task, _ = taught
    torch.manual_seed(6)
    objective = RewardedMatching(task)
    batch = task.draw()
    frozen = batch.latents.clone()
    frozen[1:] = frozen[1:, :1]
    weight = objective.weigh(frozen, batch)
    assert weight.mean() == pytest.approx(1, abs=1e-5)
    assert weight[0] > weight[1:].max()
