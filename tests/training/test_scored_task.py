"""The embedded model's own student, taught by objectives that know nothing of it."""

import copy

import pytest
import torch

from training.objectives import DISTILLATIONS
from training.pocket_student import PocketStudent
from training.scored_task import ScoredTrainingTask
from training.sequences import Batch
from training.task import TrainingTask

Embedded = tuple[TrainingTask, PocketStudent, Batch]


@pytest.fixture
def scored(embedded: Embedded) -> ScoredTrainingTask:
    return ScoredTrainingTask(embedded[0], copy.deepcopy(embedded[1]))


def test_the_last_step_is_that_of_the_rollout(
    embedded: Embedded, scored: ScoredTrainingTask
) -> None:
    _, student, batch = embedded
    rollout = scored.roll_out(student, batch, (1.0, 0.5), deterministic=True)
    made = scored.last_step(student, batch, rollout)
    assert made.requires_grad and not rollout.made.requires_grad
    # with gradients, products may be summed in another order
    torch.testing.assert_close(made.detach(), rollout.made, atol=1e-4, rtol=1e-4)


@pytest.mark.long
def test_each_clip_has_a_level_and_words_can_be_left_out(
    embedded: Embedded, scored: ScoredTrainingTask
) -> None:
    _, student, batch = embedded
    noisy = torch.randn_like(batch.latents)
    with torch.no_grad():
        mixed = scored.score(student, batch, noisy, torch.tensor([0.3, 0.8]))
        for row, sigma in enumerate((0.3, 0.8)):
            alone = scored.estimate(student, batch, noisy, 1000 * sigma)
            torch.testing.assert_close(mixed[row], alone[row], atol=1e-4, rtol=1e-4)
        untold = scored.score(student, batch, noisy, torch.tensor([0.3, 0.8]), prompted=False)
    assert float((untold - mixed).abs().max()) > 1e-4


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in DISTILLATIONS if name != "re-dmd"])
def test_losses_are_finite_and_reach_the_student(
    embedded: Embedded, scored: ScoredTrainingTask, name: str
) -> None:
    """Re-DMD's reward reads pictures, for which there is no decoder here."""
    torch.manual_seed(2)
    student, batch = copy.deepcopy(embedded[1]), embedded[2]
    objective = DISTILLATIONS[name](scored)
    objective.begin(student)
    # the scores begin equal: a real one that is off has something to say
    with torch.no_grad():
        for parameter in scored.teacher.parameters():
            parameter.mul_(1.05)
    losses = objective.losses(student, batch)
    torch.stack(list(losses.values())).sum().backward()
    grads = [p.grad for p in student.student.parameters() if p.grad is not None]
    assert grads and all(torch.isfinite(g).all() for g in grads)
    assert any(bool(g.any()) for g in grads)
