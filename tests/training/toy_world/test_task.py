"""The toy world as a task: streams on the server's caches, and the same in one pass."""

import copy
from dataclasses import replace

import pytest
import torch

from rollcast.kernels.block_sparse.choose_blocks import choose_blocks
from rollcast.models.student.config import CacheConfig, RopeFamily
from rollcast.models.toy_world.config import CACHE, PATCH, SINKS, SIZE
from training.objectives.experts import ByPrompt, Experts
from training.objectives.trajectory_matching import chain_of
from training.toy_world.law import NO_MOOD
from training.toy_world.methods import METHODS
from training.toy_world.metrics import measure
from training.toy_world.network import ToyNetwork
from training.toy_world.oracle import Oracle
from training.toy_world.sinks import FINE_PATCH, WINDOWS
from training.toy_world.task import STEPS, ToyBatch, ToyTask, clips_of, stream, whole_clips
from training.toy_world.world import Prompt

_SIGMAS = tuple(step / 1000 for step in STEPS)


def _network(seed: int = 0, patch: tuple[int, int, int] = PATCH) -> ToyNetwork:
    """One whose output is not zero, as an untrained one's is."""
    torch.manual_seed(seed)
    network = ToyNetwork(24, 2, patch=patch)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


@pytest.fixture(scope="module")
def task() -> ToyTask:
    return ToyTask(Oracle(), _network(), rows=3)


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("kind", ["one", "experts"])
def test_the_last_step_at_once_is_that_of_the_stream(
    task: ToyTask, kind: str, deterministic: bool
) -> None:
    """Six chunks through a window of three: the parallel pass sees what the caches did."""
    student = _network(1)
    if kind == "experts":
        student = Experts([student, _network(2)], (0.85, 0.0))
    batch = task.prompts()
    for count in (1, 3):
        rollout = task.roll_out(student, batch, _SIGMAS[:count], deterministic=deterministic)
        assert rollout.sigma == _SIGMAS[count - 1]
        made = task.last_step(student, batch, rollout)
        # float32 sums in another order through two layers
        torch.testing.assert_close(made.detach(), rollout.made, atol=2e-4, rtol=1e-4)
        made.sum().backward()
    assert not rollout.made.requires_grad and not rollout.noisy.requires_grad


@pytest.mark.parametrize("name", ["dmd2-ema-.9", "dmd2-sink-left-behind", "blade"])
def test_sinks_and_windows_are_taught_as_they_are_sampled(task: ToyTask, name: str) -> None:
    """Each student's own cache, through clips longer than its window; another's makes another."""
    method = METHODS[name]
    fine = method.form == "fine"
    student = method.arranged(_network(1, patch=FINE_PATCH if fine else PATCH))
    batch = ToyBatch(Prompt.each(3))
    rollout = stream(student, batch.prompt, _SIGMAS[:1], 8)
    made = task.last_step(student, batch, rollout)
    made.sum().backward()
    made = made.detach()
    torch.testing.assert_close(made, rollout.made, atol=2e-4, rtol=1e-4)
    student.cache = WINDOWS["dense"] if fine else SINKS["static"]
    student.turn_by("slot")
    other = task.last_step(student, batch, rollout).detach()
    assert float((other - made).abs().max()) > 1e-3


def test_a_fifth_of_the_blocks_at_most_is_attended_to() -> None:
    """Of 72 in a full window: what BLADE's students are taught and served with."""
    cache, tokens = WINDOWS["sparse"], (SIZE // FINE_PATCH[1]) * (SIZE // FINE_PATCH[2])
    assert cache.sparse is not None
    keys = tokens * cache.capacity_frames
    query, key = torch.randn(2, 1, 4, keys, 16).unbind(0)
    blocks = choose_blocks(query[:, :, :tokens], key, cache.sparse)
    assert blocks.mask.shape[-1] == 72
    assert int(blocks.mask.sum(-1).max()) == 14 and float(blocks.density) <= 0.2


def test_a_sink_of_raw_keys_is_a_reference_that_rolls_along(task: ToyTask) -> None:
    """Right behind the window of absolute places it is the same stream, at its own place not."""
    student, batch = _network(1), task.prompts()
    clips: list[torch.Tensor] = []
    ways: tuple[tuple[RopeFamily, CacheConfig], ...] = (
        ("slot", CACHE),
        ("absolute", replace(CACHE, bounded_sink=True)),
        ("absolute", CACHE),
    )
    for rope, cache in ways:
        student.turn_by(rope)
        torch.manual_seed(7)
        clips.append(clips_of(student, batch.prompt, _SIGMAS[:2], 9, cache=cache))
    torch.testing.assert_close(clips[1], clips[0], atol=2e-4, rtol=1e-4)
    assert float((clips[2] - clips[0])[:, 5:].abs().max()) > 1e-3


def test_a_student_that_is_told_its_steps_begins_without_knowing_them() -> None:
    student, prompt = _network(1), Prompt.each(3)
    noisy, sigma = torch.randn(3, 1, 12, 12, 12), torch.ones(3)

    def made(steps: int) -> torch.Tensor:
        return student(noisy, sigma, prompt.asked(steps))

    before = made(4)
    student.tell_steps()
    assert student.steps is not None
    assert torch.equal(made(4), before) and torch.equal(made(1), before)
    made(2).square().mean().backward()
    reached = student.steps.weight.grad
    assert reached is not None
    assert reached.any(1).tolist() == [False, False, True, False, False]
    with torch.no_grad():
        student.steps.weight.normal_()
    assert not torch.allclose(made(4), made(1))
    score = ToyTask(Oracle(), _network(), tells_steps=True).new_score()
    assert isinstance(score, ToyNetwork) and score.steps is not None


def test_the_past_counts_in_the_last_step(task: ToyTask) -> None:
    student, batch = _network(1), task.prompts()
    rollout = task.roll_out(student, batch, _SIGMAS[:1])
    made = student.last_step(
        rollout.made.flip(1), rollout.noisy, torch.ones(3), batch.prompt
    ).detach()
    torch.testing.assert_close(made[:, 0], rollout.made[:, 0], atol=2e-4, rtol=1e-4)
    assert float((made[:, 1:] - rollout.made[:, 1:]).abs().max()) > 1e-3


def test_prompts_come_without_data_and_clips_with_their_own(task: ToyTask) -> None:
    assert task.prompts().latents is None
    batch = task.draw()
    assert batch.latents is not None and batch.latents.shape[:2] == (3, 6)
    assert set(task.routed(1, 3).prompts().prompt.mood.tolist()) == {1}


def test_scores_are_told_the_prompt_or_nothing(task: ToyTask) -> None:
    batch, seen = task.prompts(), []

    def score(noisy: torch.Tensor, sigma: torch.Tensor, prompt: Prompt) -> torch.Tensor:
        seen.append(prompt.mood.tolist())
        return noisy

    noisy, sigma = torch.randn(3, 6, 12, 12, 12), torch.rand(3)
    for prompted in (True, False):
        task.score(score, batch, noisy, sigma, prompted=prompted)
    assert seen == [batch.prompt.mood.tolist(), [NO_MOOD] * 3]


def test_students_by_prompt_make_the_clips_of_their_moods() -> None:
    students, prompt = ByPrompt([_network(k) for k in range(3)]), Prompt.each(6)
    torch.manual_seed(5)
    clips = clips_of(students, prompt, _SIGMAS[:1], 2)
    other = copy.deepcopy(students)
    with torch.no_grad():
        for parameter in other.networks[1].parameters():
            parameter.mul_(1.5)
    torch.manual_seed(5)
    changed = (clips_of(other, prompt, _SIGMAS[:1], 2) - clips).abs().flatten(1).amax(1) > 0
    assert changed.tolist() == [False, True, False, False, True, False]


def test_motion_is_rewarded(task: ToyTask) -> None:
    batch = task.draw()
    assert batch.latents is not None
    still = batch.latents[:, :1, -3:].repeat(1, 6, 4, 1, 1)
    assert task.reward(batch, still).tolist() == [0, 0, 0]
    assert float(task.reward(batch, batch.latents).mean()) > 0.2


def test_the_oracle_samples_legal_clips() -> None:
    torch.manual_seed(6)
    prompt = Prompt.each(12)
    clips = whole_clips(Oracle(), prompt, 12)
    report = measure(clips, prompt)
    assert report["legal"] > 0.95 and report["palette_accuracy"] > 0.7
    assert chain_of(_SIGMAS, 2) == (_SIGMAS[0], _SIGMAS[2])
