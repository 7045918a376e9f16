"""Objectives that match steps where they end, distances of scores, and mean velocities."""

from types import SimpleNamespace

import pytest
import torch

from training.objectives.distillation import Rollout
from training.objectives.experts import Experts
from training.objectives.levels import noised, raised
from training.objectives.mean_velocity import MeanVelocity
from training.objectives.phased_dmd import PhasedDMD, clean_target
from training.objectives.score_identity import ANTI, ZERO, ScoreIdentity, tamed
from training.objectives.trajectory_matching import TrajectoryMatching, chain_of, likeness

_SIGMAS = (1.0, 0.9375, 0.8333, 0.625)
_STEPS = tuple(1000 * sigma for sigma in _SIGMAS)


@pytest.mark.parametrize("sigma", [0.7, 0.9])
def test_the_phases_target_has_the_mean_of_clean_clips(
    normal: SimpleNamespace, sigma: float
) -> None:
    """Regressed on the noisy clip it gives the exact score's line; the point itself does not."""
    count, end = 200_000, 0.6
    clean = 1.5 + 0.6 * torch.randn(count, 1)
    point = noised(clean, end)
    level, noise = torch.full((count,), sigma), torch.randn(count, 1)
    noisy = raised(point, end, level, noise)
    target = clean_target(point, end, level, noise)
    exact = normal.Score(1.5, 0.6)(noisy, level).detach()

    def line(y: torch.Tensor) -> tuple[float, float]:
        x = noisy - noisy.mean()
        return float((x * y).mean() / x.square().mean()), float(y.mean())

    slope, mean = line(exact)
    assert line(target) == pytest.approx((slope, mean), abs=0.03)
    assert abs(line(point)[1] - mean) > 0.5


def test_a_phase_that_ends_clean_learns_clean_clips() -> None:
    point, noise = torch.randn(3, 2), torch.randn(3, 2)
    assert torch.equal(clean_target(point, 0.0, torch.rand(3), noise), point)


@pytest.mark.parametrize("biased", [False, True])
def test_the_fake_score_of_a_perfect_phase_agrees_with_the_teacher(
    normal: SimpleNamespace, biased: bool
) -> None:
    task = normal.Task(_STEPS)
    student = Experts([normal.FlowMap(1.5, 0.6) for _ in range(2)], (0.8333, 0.0))
    task.new_score = lambda: normal.Score(0.9, 0.9)
    objective = PhasedDMD(task, fake_rate=0.06, biased=biased)
    objective.begin(student)
    for _ in range(60):
        objective._learn(None, objective._rollout(student, None, 0), 0)
    found = float(objective.fakes[0].network.mean.detach())  # type: ignore[union-attr]
    # the point at .83 is five sixths noise: its mean is a quarter of the clip's
    assert (abs(found - 1.5) < 0.15) is not biased


def test_a_phases_gradient_reaches_its_expert_alone(normal: SimpleNamespace) -> None:
    task = normal.Task(_STEPS)
    student = Experts([normal.Student(_SIGMAS) for _ in range(2)], (0.8333, 0.0))
    objective = PhasedDMD(task, fake_updates=0)
    objective.begin(student)
    assert objective._steps == [[0, 1], [2, 3]]
    for phase in (0, 1):
        student.zero_grad()
        rollout = objective._rollout(student, None, phase)
        made = task.last_step(student, None, rollout)
        objective.matching(made, None, rollout, phase).backward()
        reached = [any(p.grad is not None for p in n.parameters()) for n in student.networks]
        assert reached == [phase == 0, phase == 1]
    with pytest.raises(TypeError, match="Experts"):
        objective.begin(normal.Student(_SIGMAS))
    with pytest.raises(ValueError, match="falling to 0"):
        Experts(list(student.networks), (0.0, 0.5))


def test_chains_of_fewer_steps_begin_with_noise() -> None:
    assert chain_of(_SIGMAS, 4) == _SIGMAS
    assert chain_of(_SIGMAS, 2) == (1.0, 0.8333)
    assert chain_of(_SIGMAS, 1) == (1.0,)


def test_a_noisy_clip_is_likeliest_as_its_own() -> None:
    sample, noise = torch.randn(4, 2, 3), torch.randn(4, 2, 3)
    sigma = torch.full((4,), 0.5)
    noisy = noised(sample, sigma, noise)
    torch.testing.assert_close(likeness(noisy, sample, sigma, noise), torch.ones(4))
    assert bool((likeness(noisy, sample + 3 * noise.sign().neg(), sigma, noise) < 1).all())


@pytest.mark.parametrize("step", range(4))
def test_a_perfect_trajectory_is_left_alone(normal: SimpleNamespace, step: int) -> None:
    """The teacher's own score at points of its flow: nothing moves, until the student is off."""
    task = normal.Task(_STEPS)
    objective = TrajectoryMatching(task)
    objective.begin(normal.FlowMap(1.5, 0.6))
    student = normal.FlowMap(1.5, 0.6)
    end = (*_SIGMAS, 0.0)[step + 1]
    rollout = task.roll_out(student, None, _SIGMAS[: step + 1], deterministic=True)
    gradients = []
    for mean in (1.5, 1.0):
        objective.fake.network = normal.Score(mean, 0.6)
        made = task.last_step(student, None, rollout).detach().requires_grad_(True)
        objective.matching(made, None, rollout, end).backward()
        assert made.grad is not None
        gradients.append(made.grad)
    assert not gradients[0].any()
    # a fake score that sees too low a mean sends clips up: the gradient of the loss is negative
    assert float(gradients[1].mean()) < 0


def test_a_trajectory_is_matched_between_its_steps(normal: SimpleNamespace) -> None:
    task = normal.Task(_STEPS)
    objective = TrajectoryMatching(task)
    student = normal.FlowMap(1.5, 0.6)
    objective.begin(student)
    rollout = task.roll_out(student, None, _SIGMAS[:2], deterministic=True)
    task.calls.clear()
    objective.matching(task.last_step(student, None, rollout), None, rollout, _SIGMAS[2])
    for _, _, sigma in task.calls:
        assert _SIGMAS[2] < float(sigma.min()) and float(sigma.max()) < _SIGMAS[1]


@pytest.mark.parametrize("exact", [True, False])
def test_the_fake_score_learns_where_trajectories_lead(
    normal: SimpleNamespace, exact: bool
) -> None:
    task, student = normal.Task((1000.0, 700.0)), normal.FlowMap(1.5, 0.6)
    task.new_score = lambda: normal.Score(0.5, 0.9)
    objective = TrajectoryMatching(task, fake_rate=0.05, exact_target=exact)
    objective.begin(student)
    for _ in range(80):
        rollout, end = objective._rollout(student, None, objective.sigmas)
        objective._learn(None, rollout, end)
    assert float(objective.fake.network.mean.detach()) == pytest.approx(1.5, abs=0.2)  # type: ignore[arg-type]


def test_trajectory_matching_of_one_step_makes_the_student_the_data(
    normal: SimpleNamespace,
) -> None:
    task, student = normal.Task(), normal.Student((1.0,))
    objective = TrajectoryMatching(task, fake_rate=0.05)
    optimizer = torch.optim.Adam(student.parameters(), 0.06)
    objective.begin(student)
    for _ in range(80):
        optimizer.zero_grad()
        objective.losses(student, task.prompts())["matching"].backward()
        optimizer.step()
    assert float(student.shift[0].detach()) == pytest.approx(1.5, abs=0.2)


def test_score_identity_is_zero_between_equals_and_leads_to_the_data(
    normal: SimpleNamespace,
) -> None:
    task = normal.Task()
    task.has_data = False
    objective = ScoreIdentity(task)
    objective.begin(normal.Student((1.0,)))
    made = torch.randn(normal.shape, requires_grad=True)
    loss = objective.matching(made, task.prompts())
    loss.backward()
    assert float(loss.detach()) == 0 and made.grad is not None and not made.grad.any()
    objective.fake.network = normal.Score(0.0, 0.6)
    low = (0.6 * torch.randn(normal.shape)).requires_grad_(True)
    objective.matching(low, task.prompts()).backward()
    assert low.grad is not None and float(low.grad.mean()) < 0
    # the fake score learns on steps of its own, not on the student's
    assert all(p.grad is None for p in objective.fake.network.parameters())
    assert all(p.requires_grad for p in objective.fake.network.parameters())


def test_score_identity_refuses_data(normal: SimpleNamespace) -> None:
    task, student = normal.Task(), normal.Student((1.0,))
    objective = ScoreIdentity(task, fake_rate=0.05)
    objective.begin(student)
    with pytest.raises(AssertionError, match="without data"):
        objective.losses(student, task.draw())
    task.has_data = False
    assert objective.losses(student, task.prompts())["matching"].isfinite()


@pytest.mark.parametrize("guidance", [ZERO, 1.0, ANTI])
def test_guidance_of_the_fake_score(normal: SimpleNamespace, guidance: float) -> None:
    """Zero: it is told no prompt. Anti: it goes on from the prompt's to beyond no prompt's."""
    task, student = normal.Task(), normal.Student((1.0,))
    objective = ScoreIdentity(task, fake_guidance=guidance, fake_rate=0.05)
    objective.begin(student)
    noisy, sigma = torch.randn(normal.shape), torch.rand(normal.shape[0])
    task.calls.clear()
    for _ in range(6):
        objective.losses(student, task.prompts())
    told = {prompted for model, prompted, _ in task.calls if model is objective.fake.network}
    assert told == {ZERO: {False}, 1.0: {True}, ANTI: {True, False}}[guidance]
    plain = task.score
    task.score = lambda model, batch, noisy, sigma, prompted=True: (
        plain(model, batch, noisy, sigma) + (10.0 if prompted else 0.0)
    )
    apart = objective._guided_fake(None, noisy, sigma) - objective.fake.network(noisy, sigma)
    torch.testing.assert_close(apart.detach(), torch.full_like(apart, 10 * guidance))


@pytest.mark.parametrize("part", ["velocity_matching", "velocity_distillation"])
def test_mean_velocities_of_the_true_flow_are_left_alone(
    normal: SimpleNamespace, part: str
) -> None:
    """u of the flow's own mean velocity is the teacher's velocity; another flow's is not."""
    task = normal.Task()
    objective = MeanVelocity(task)
    batch = task.draw()
    losses = []
    for mean, spread in ((1.5, 0.6), (0.5, 1.2)):
        torch.manual_seed(1)
        student = normal.FlowMap(mean, spread)
        if part == "velocity_matching":
            sigma = torch.linspace(0.3, 0.95, len(batch.latents))
            loss = objective.velocity_matching(student, batch, batch.latents, sigma)
        else:
            noise = torch.randn(normal.shape)
            made = task.score(student, batch, noise, torch.ones(len(noise)))
            loss = objective.velocity_distillation(student, batch, made)
        losses.append(float(loss.detach()))
    # a difference over .01 in place of a derivative
    assert losses[0] < 2e-3 and losses[1] > 50 * losses[0]


def test_mean_velocity_moves_clips_towards_the_data_without_a_fake_score(
    normal: SimpleNamespace,
) -> None:
    task, student = normal.Task(), normal.FlowMap(0.8, 0.6)
    objective = MeanVelocity(task)
    objective.begin(student)
    losses = objective.losses(student, task.draw())
    losses["distilling"].backward()
    assert student.off.grad is not None and float(student.off.grad) < 0
    assert {model for model, _, _ in task.calls} == {task.teacher, student}
    assert isinstance(task.roll_out(student, None, (1.0,)), Rollout)


def test_a_trajectorys_loss_moves_values_as_far_as_the_scores_are_apart(
    normal: SimpleNamespace,
) -> None:
    """Where they agree, as on an empty background, next to nothing moves."""
    task = normal.Task(_STEPS)
    objective = TrajectoryMatching(task)
    objective.begin(normal.Student(_SIGMAS))
    apart = torch.tensor([1.0, 0.01, 0.01]).expand(normal.shape)

    def score(model: object, batch: object, noisy: torch.Tensor, *_: object) -> torch.Tensor:
        return apart if model is task.teacher else torch.zeros_like(noisy)

    task.score = lambda *told, **_: score(*told)
    made = torch.zeros(normal.shape, requires_grad=True)
    rollout = Rollout(torch.randn(normal.shape), made.detach(), _SIGMAS[-1])
    objective.matching(made, None, rollout, 0.0).backward()
    assert made.grad is not None
    far, near = made.grad[..., 0].abs().mean(), made.grad[..., 1].abs().mean()
    assert float(far / near) == pytest.approx(100, rel=0.01)


def test_a_clip_whose_slope_is_no_number_or_huge_is_not_the_whole_step() -> None:
    gradient = torch.ones(5, 2, 3)
    gradient[1, 0, 0] = torch.nan
    gradient[2] *= 1000
    kept = tamed(gradient)
    assert kept.isfinite().all()
    assert torch.equal(kept[[0, 3, 4]], gradient[[0, 3, 4]])
    assert float(kept[2].norm() / kept[0].norm()) == pytest.approx(5)
