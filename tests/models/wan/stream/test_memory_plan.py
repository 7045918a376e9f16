"""Plans of memory: against what really lives at once, and against what is published of sizes."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from rollcast.models.contract import Controls, StreamRequest
from rollcast.models.registry import load_model
from rollcast.models.staged_model import Row
from rollcast.models.wan.config_file import student_config
from rollcast.models.wan.loading import empty_student
from rollcast.models.wan.locate import locate
from rollcast.models.wan.presets.catalogue import preset_named, presets
from rollcast.models.wan.presets.text_prompt import TextPrompt
from rollcast.models.wan.stream.live_bytes import LiveBytes
from rollcast.models.wan.stream.memory_plan import MemoryPlan, plan_memory, smaller_size
from rollcast.models.wan.stream.model import WanModel
from rollcast.models.wan.vae_files import decoder_in

from ..conftest import PROMPTS, FolderOf

SIZE = (96, 64)
KINDS = ("self-forcing", "reward-forcing", "longlive", "causal-forcing-2-step")


@cache
def full(name: str) -> MemoryPlan:
    """A preset's plan as published."""
    return plan_memory(preset_named(name))


def planned(name: str, folder: Path) -> MemoryPlan:
    preset = preset_named(name)
    files = locate(preset, [str(folder)])
    return plan_memory(
        preset,
        student=student_config(preset, files.config),
        decoder=decoder_in(files.vae, preset.latents),
        size=SIZE,
        dtype=torch.float32,
        reserve=0,
    )


def loaded(name: str, folder: Path, sessions: int) -> WanModel:
    model = load_model(name, threads=1, weights=[str(folder)], size=SIZE, sessions=sessions)
    assert isinstance(model, WanModel)
    return model


@pytest.mark.parametrize(("name", "sessions"), [*zip(KINDS, (1, 2, 3, 2), strict=True)])
def test_a_plan_is_what_lives_at_once(name: str, sessions: int, folder_of: FolderOf) -> None:
    """Within 5%, of a model that is loaded and makes chunks for so many streams in turn."""
    folder, chunks = folder_of(name), 3
    live = LiveBytes()
    with live:
        model = loaded(name, folder, sessions)
        states = [model.start(StreamRequest(seed=k)) for k in range(sessions)]
        for chunk in range(chunks):
            for number, state in enumerate(states):
                prompt = PROMPTS[number] if chunk == chunks - 2 else None
                model.step(state, Controls(prompt=prompt))
    assert live.peak == pytest.approx(planned(name, folder).total(sessions), rel=0.05)


def test_what_lives_at_once_is_what_the_allocator_gave(folder_of: FolderOf) -> None:
    """Within 5%, by torch's own record of its allocator, of all but the decoder.

    A CPU's convolutions unfold what they see, which is their own affair.
    """
    folder, plan = folder_of("longlive"), planned("longlive", folder_of("longlive"))
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        model = loaded("longlive", folder, 1)
        state = model.start(StreamRequest())
        for chunk in range(6):
            prompt = PROMPTS[0] if chunk == 5 else None
            made, latents = model.prepare(state, Controls(prompt=prompt)), None
            for call in range(5):
                (latents,) = model.denoise([Row(made, call, latents, state.caches[0])])
    assert recorded.profiler is not None and recorded.profiler.kineto_results is not None
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()  # pyright: ignore[reportAttributeAccessIssue]
        peak = max(peak, now)
    wanted = plan.weights + plan.cache + plan.denoising + 2 * plan.text
    assert peak == pytest.approx(wanted, rel=0.05)


@pytest.mark.parametrize("name", presets())
def test_a_full_size_student_is_the_published_one(name: str) -> None:
    """1.3B: as many values as Wan's own file of 5,676,070,424 bytes holds in float32."""
    student = empty_student(preset_named(name).student)
    count = sum(parameter.numel() for parameter in student.parameters())
    assert count == 1_418_996_800
    header = 5_676_070_424 - 4 * count
    assert 0 < header < 200_000


@pytest.mark.parametrize("name", ["self-forcing", "reward-forcing", "longlive"])
def test_full_size_plans_agree_with_published_sizes(name: str) -> None:
    preset = preset_named(name)
    plan = full(name)
    tokens, layers, width = 1560, 30, 1536
    frame = tokens * layers * width * 2 * 2
    capacity = preset.cache.capacity_frames
    shadow = 2 * preset.cache.sink_frames * frame if preset.cache.sink == "ema" else 0
    text = preset.stated(TextPrompt)
    assert text is not None
    kept = capacity * 16 * 60 * 104 * 2 if text.switch == "recache" else 0
    assert plan.cache == capacity * frame + shadow + kept
    assert plan.student == 2 * 1_418_996_800
    assert plan.text == 2 * 512 * layers * width * 2
    assert plan.total(2) - plan.total(1) == plan.cache + plan.decoder_state + plan.text


def test_published_cache_sizes() -> None:
    """Of 9 and of 21 frames: 2.59 and 6.04 GB in bfloat16."""
    assert full("self-forcing").cache == pytest.approx(6.04e9, rel=1e-3)
    shadow = 3 * 1560 * 30 * 1536 * 2 * 4
    ema = full("reward-forcing").cache
    assert ema - shadow == pytest.approx(2.59e9, rel=1e-3)


def test_what_fits_is_said() -> None:
    preset = preset_named("reward-forcing")
    plan = full("reward-forcing")
    assert plan.sessions_in(plan.total(2)) == 2 and plan.sessions_in(plan.total(2) - 1) == 1
    assert plan.sessions_in(1000) == 0
    assert smaller_size(preset, plan, 1, 1000) is None
    smaller = smaller_size(preset, plan, 2, plan.total(2) - 4_000_000_000)
    assert smaller is not None and smaller.size < plan.size
    really = plan_memory(preset, size=smaller.size)
    assert smaller.total(2) == pytest.approx(really.total(2), rel=0.02)
    assert really.total(2) < plan.total(2) - 4_000_000_000
