"""DMD2 and what only changes its direction: known gradients, fixed points, and controls."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from training.objectives.adversarial import Adversarial, critic_loss
from training.objectives.cross_mode import CrossMode
from training.objectives.decoupled_dmd import DecoupledDMD
from training.objectives.distillation import Distillation, Rollout, move
from training.objectives.dmd2 import DMD2
from training.objectives.experts import ByPrompt
from training.objectives.f_distill import WEIGHTS, FDistill, levelled
from training.objectives.fake_score import lag
from training.objectives.re_dmd import ReDMD
from training.objectives.students_by_prompt import StudentsByPrompt


def _learn(objective: Distillation, student: nn.Module, updates: int, rate: float = 0.03) -> None:
    optimizer = torch.optim.Adam(student.parameters(), rate)
    objective.begin(student)
    for k in range(updates):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, 2 * (1 - k / updates))
        batch = objective.task.draw() if objective.needs_data else objective.task.prompts()
        losses = objective.losses(student, batch)
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()


def _rollout(made: Tensor, sigma: float = 1.0) -> Rollout:
    return Rollout(torch.randn_like(made), made.detach(), sigma)


def test_a_move_is_a_step_along_the_direction() -> None:
    made = torch.randn(4, 2, 3, requires_grad=True)
    direction, weight = torch.randn(4, 2, 3), torch.tensor([1.0, 2.0, 0.0, 1.0])
    move(made, direction, 2.0, weight).backward()
    assert made.grad is not None
    torch.testing.assert_close(made.grad, -direction / 2 * weight[:, None, None] / made.numel())


def test_dmd2_makes_the_student_the_data(normal: SimpleNamespace) -> None:
    """One step from noise, with a fake score that learns on its own time scale."""
    task, student = normal.Task(), normal.Student((1.0,))
    _learn(DMD2(task, fake_rate=0.08), student, 80, 0.06)
    assert float(student.shift[0].detach()) == pytest.approx(1.5, abs=0.1)
    assert float(student.scale[0].detach().abs()) == pytest.approx(0.6, abs=0.1)


def test_without_a_fake_score_that_learns_spread_is_lost(normal: SimpleNamespace) -> None:
    """The control: a fake score that stays broad lets the student fall into the mode."""
    task, student = normal.Task(), normal.Student((1.0,))
    objective = DMD2(task, fake_updates=0)
    task.new_score = lambda: normal.Score(0.0, 3.0)
    _learn(objective, student, 80, 0.06)
    assert float(student.scale[0].detach().abs()) < 0.3


def test_equal_scores_leave_clips_alone(normal: SimpleNamespace) -> None:
    task = normal.Task()
    objective = DMD2(task)
    objective.begin(normal.Student((1.0,)))
    made = torch.randn(normal.shape, requires_grad=True)
    objective.matching(made, task.prompts(), _rollout(made)).backward()
    assert made.grad is not None and not made.grad.any()
    assert objective.lag["gap"] == 0 and objective.lag["cosine"] == pytest.approx(1)


def test_guidance_of_one_is_none_and_more_goes_on_from_no_prompt(normal: SimpleNamespace) -> None:
    task = normal.Task()
    noisy, sigma = torch.randn(normal.shape), torch.rand(normal.shape[0])
    told, untold = task.teacher(noisy, sigma), task.untold(noisy, sigma)
    objective = DMD2(task)
    assert torch.equal(objective.guided(None, noisy, sigma, 1.0), told)
    torch.testing.assert_close(objective.guided(None, noisy, sigma, 3.0), 3 * told - 2 * untold)


def test_inputs_are_the_students_own_unless_the_data_is_asked_for(normal: SimpleNamespace) -> None:
    task = normal.Task((1000.0, 500.0))
    task.has_data = False
    student = normal.Student((1.0, 0.5))
    own = DMD2(task)
    own.begin(student)
    assert own.losses(student, task.prompts())["matching"].isfinite()
    control = DMD2(task, simulated=False)
    control.begin(student)
    assert control.needs_data and not own.needs_data
    task.has_data = True
    batch = task.draw()
    rollout = control._rollout(student, batch)
    assert torch.equal(rollout.made, batch.latents)


def test_lag_tells_a_late_score_from_one_that_agrees() -> None:
    made = torch.zeros(2, 1, 4)
    real = torch.tensor([1.0, 0, 0, 0]).expand(2, 1, 4)
    late = torch.tensor([0.0, 1, 0, 0]).expand(2, 1, 4)
    assert lag(real, real, made) == pytest.approx({"gap": 0, "cosine": 1})
    assert lag(real, late, made) == pytest.approx({"gap": 2**0.5, "cosine": 0})


class _Fixed(nn.Module):
    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value

    def forward(self, noisy: Tensor, sigma: Tensor, batch: Any = None) -> Tensor:
        return self.value


def test_decoupled_at_one_level_is_dmd_with_guidance(normal: SimpleNamespace) -> None:
    made = torch.randn(normal.shape)
    gradients = []
    for objective in (
        DMD2(normal.Task(), guidance=3.0),
        DecoupledDMD(normal.Task(), guidance=3.0, hybrid=False),
        DecoupledDMD(normal.Task(), guidance=3.0, augments=False),
    ):
        objective.begin(normal.Student((1.0,)))
        objective.fake.network = normal.Score(3.0, 0.3)
        own = made.clone().requires_grad_(True)
        torch.manual_seed(3)
        objective.matching(own, None, _rollout(own)).backward()
        assert own.grad is not None
        gradients.append(own.grad.flatten(1))
    # the same direction for each clip; only what it is divided by differs
    alike = torch.cosine_similarity(gradients[0], gradients[1])
    torch.testing.assert_close(alike, torch.ones_like(alike))
    assert float(torch.cosine_similarity(gradients[0], gradients[2]).mean()) < 0.9


def test_the_hybrid_guides_below_the_steps_level_alone(normal: SimpleNamespace) -> None:
    task = normal.Task()
    objective = DecoupledDMD(task, matches=False)
    objective.begin(normal.Student((1.0,)))
    made = torch.randn(normal.shape)
    task.calls.clear()
    objective.matching(made, None, _rollout(made, 0.4))
    levels = [sigma for _, prompted, sigma in task.calls if not prompted]
    assert len(levels) == 1 and float(levels[0].max()) <= 0.4
    assert float(max(sigma.max() for _, told, sigma in task.calls if told)) > 0.6


# f of each divergence, whose second derivative times r^2 the weight has to be
_DIVERGENCES = {
    "rkl": lambda r: -r.log(),
    "kl": lambda r: r * r.log(),
    "js": lambda r: r * r.log() - (1 + r) * ((1 + r) / 2).log(),
    "hellinger": lambda r: (1 - r.sqrt()).square() / 2,
    "jeffreys": lambda r: (r - 1) * r.log(),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_are_second_derivatives_of_their_divergence(name: str) -> None:
    ratio = torch.tensor([0.2, 0.7, 1.0, 3.0, 15.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(_DIVERGENCES[name](ratio).sum(), ratio, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), ratio)
    torch.testing.assert_close(WEIGHTS[name](ratio).detach(), bend * ratio.detach() ** 2)


def test_ratios_are_levelled_within_like_noise() -> None:
    sigma = torch.tensor([0.11, 0.15, 0.91, 0.95])
    ratio = torch.tensor([1.0, 3.0, 10.0, 10.0])
    torch.testing.assert_close(levelled(ratio, sigma), torch.tensor([0.5, 1.5, 1.0, 1.0]))


def test_f_distill_weighs_what_looks_real(normal: SimpleNamespace) -> None:
    task = normal.Task()
    made = torch.randn(normal.shape)
    sigma = torch.full((len(made),), 0.5)
    logit = torch.linspace(-2, 2, len(made))
    for name, rises in (("rkl", False), ("kl", True), ("js", True)):
        objective = FDistill(task, name)
        objective.begin(normal.Student((1.0,)))
        objective.critic = _Fixed(logit)
        weight = objective.weigh(made, made, sigma, None)
        assert float(weight.mean()) == pytest.approx(1)
        assert bool((weight.diff() > 0).all()) is rises
    with pytest.raises(ValueError, match="divergence 'emd'"):
        FDistill(task, "emd")


@pytest.mark.long
@pytest.mark.parametrize("name", ["js", "kl"])
def test_f_distill_makes_the_student_the_data(normal: SimpleNamespace, name: str) -> None:
    task, student = normal.Task(), normal.Student((1.0,))
    _learn(FDistill(task, name, fake_rate=0.08), student, 60, 0.06)
    assert float(student.shift[0].detach()) == pytest.approx(1.5, abs=0.2)


def test_re_dmd_weighs_by_the_exponential_of_the_reward(normal: SimpleNamespace) -> None:
    made = torch.randn(normal.shape)
    reward = made.flatten(1).mean(1)
    published, normalised = (
        ReDMD(normal.Task(), normalised=n).weigh(made, made, reward, None) for n in (False, True)
    )
    torch.testing.assert_close(published, (2 * reward).exp())
    torch.testing.assert_close(normalised, published / published.mean())
    # a better batch counts for more as published, and no more when normalised
    better = ReDMD(normal.Task(), normalised=False).weigh(made + 1, made, reward, None)
    torch.testing.assert_close(better, published * torch.e**2)
    again = ReDMD(normal.Task()).weigh(made + 1, made, reward, None)
    torch.testing.assert_close(again, normalised)


def test_modes_that_agree_cost_nothing(normal: SimpleNamespace) -> None:
    task, student = normal.Task(), normal.Student((1.0,))
    objective = CrossMode(task)
    rollout = task.roll_out(student, None, (1.0,))
    made = task.last_step(student, None, rollout)
    assert float(objective.apart(student, None, made, rollout).detach()) == 0
    apart = objective.apart(student, None, made + 0.5, rollout)
    assert float(apart.detach()) == pytest.approx(0.25)


def test_the_critics_gradient_has_the_size_of_matching(normal: SimpleNamespace) -> None:
    task, student = normal.Task(), normal.Student((1.0,))
    objective = Adversarial(task, strength=0.5, fake_updates=1)
    objective.begin(student)
    objective.fake.network = normal.Score(0.0, 1.0)
    made: list[Tensor] = []
    plain = task.last_step
    task.last_step = lambda *told: made.append(plain(*told)) or made[-1]
    losses = objective.losses(student, task.draw())
    sizes = [
        float(torch.autograd.grad(losses[name], made[0], retain_graph=True)[0].norm())
        for name in ("critic", "matching")
    ]
    assert sizes[0] == pytest.approx(0.5 * sizes[1], rel=1e-4) and sizes[0] > 0


def test_critics_losses_have_their_known_values(normal: SimpleNamespace) -> None:
    critic, sigma = normal.Critic(), torch.ones(5)
    real, made = (torch.full((5, 2, 4, 3, 3), value) for value in (0.25, -3.0))
    hinge = critic_loss(critic, None, made, real, sigma, "hinge", 0.0)
    assert float(hinge.detach()) == pytest.approx(0.75)
    ranked = critic_loss(critic, None, made, real, sigma, "relativistic", 0.0)
    expected = float(torch.tensor(-3.25).exp().log1p())
    assert float(ranked.detach()) == pytest.approx(expected, rel=1e-4)
    # of a linear critic |D(x) - D(x + 0.1 n)|^2 is 0.01 |w|^2 on average; w is 1 / 72 everywhere
    many = torch.zeros(20_000, 2, 4, 3, 3)
    penalty = critic_loss(critic, None, many - 9, many + 9, torch.ones(1), "hinge", 1.0)
    assert float(penalty.detach()) == pytest.approx(0.01 / 72, rel=0.05)


@pytest.mark.long
def test_each_student_learns_from_its_own_prompts(normal: SimpleNamespace) -> None:
    students = ByPrompt([normal.Student((1.0,)) for _ in range(2)])
    objective = StudentsByPrompt(normal.Task(), lambda task: DMD2(task, fake_rate=0.08))
    objective.begin(students)
    loss = objective.losses(students, None)["matching"]
    loss.backward()
    grads = [[p.grad is not None for p in network.parameters()] for network in students.networks]
    assert all(grads[0]) and not any(grads[1])
    _learn(objective, students, 120, 0.06)
    for k, network in enumerate(students.networks):
        assert float(network.shift[0].detach()) == pytest.approx(k, abs=0.2)  # type: ignore[index]
    with pytest.raises(TypeError, match="ByPrompt"):
        objective.begin(normal.Student((1.0,)))
