"""Presets beside the golden cases of their families: the same settings, and the same latents.

The latents are made by the calls that serve a stream, with the noise that was recorded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from rollcast.models.parity.published import weights_of
from rollcast.models.parity.rolling import rolling_cache, rolling_recipe
from rollcast.models.parity.students import cache_config, student_config, student_recipe
from rollcast.models.sampling.recipe import Recipe
from rollcast.models.staged_model import ChunkPlan, Row
from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.student.config import CacheConfig
from rollcast.models.wan.layouts import has_two_experts, split_experts
from rollcast.models.wan.presets.catalogue import preset_named
from rollcast.models.wan.presets.preset import Preset
from rollcast.models.wan.presets.start_image import StartImage
from rollcast.models.wan.presets.text_prompt import TextPrompt
from rollcast.models.wan.stream import row_calls
from rollcast.models.wan.stream.conditioning.conditioner import (
    ChunkPlace,
    Conditioner,
    Parts,
    PlanPart,
)
from rollcast.models.wan.stream.conditioning.start_image import StartImageConditioner
from rollcast.models.wan.stream.conditioning.text import TextConditioner
from rollcast.models.wan.stream.plan_parts import place_of, planned
from rollcast.models.wan.stream.row_calls import RowCalls
from rollcast.models.wan.weights import load_weights


def as_published(preset: Preset) -> Preset:
    return preset


def a_quarter(preset: Preset) -> Preset:
    """Everything that counts frames a quarter as long."""
    cache, text = preset.cache, preset.stated(TextPrompt)
    assert text is not None
    return replace(
        preset,
        recipe=replace(preset.recipe, chunk_frames=preset.recipe.chunk_frames // 4),
        cache=replace(
            cache,
            window_frames=cache.window_frames // 4,
            sink_frames=cache.sink_frames // 4,
            pinned_frames=cache.pinned_frames // 4,
        ),
        conditioning=(replace(text, shot_offset=text.shot_offset / 4),),
    )


def with_alpha_07(preset: Preset) -> Preset:
    """An average that shows in six chunks, and is kept in the type of the cache as published."""
    return replace(preset, cache=replace(preset.cache, alpha=0.7, precision="in_place"))


CASES: dict[str, tuple[str, Callable[[Preset], Preset]]] = {
    "self-forcing": ("self_forcing_tiny", as_published),
    "reward-forcing": ("reward_forcing_alpha07_tiny", with_alpha_07),
    "longlive": ("longlive_v1_switch_tiny", as_published),
    "sgf-plus": ("sgf_plus_tiny", as_published),
    "rolling-forcing": ("rolling_forcing_tiny", as_published),
    "longlive-2": ("longlive2_tiny", a_quarter),
    "causal-forcing-1-step": ("causal_forcing_framewise_tiny", as_published),
}
"""The case of a preset, and what the case's settings differ in."""


@dataclass(frozen=True, slots=True)
class Golden:
    """A case with its tensors, and the preset at the case's size."""

    case: dict[str, Any]
    tensors: dict[str, Tensor]
    preset: Preset

    @classmethod
    def of(cls, folder: Path, name: str) -> Golden:
        file, change = CASES[name]
        case = json.loads((folder / f"{file}.json").read_text())
        files = [folder / case[entry] for entry in ("weights", "tensors") if entry in case]
        tensors = {key: value for each in files for key, value in load_file(each).items()}
        return cls(case, tensors, change(preset_named(name)))

    @property
    def is_joint(self) -> bool:
        return self.case["family"] == "rolling_forcing"

    @property
    def given(self) -> Tensor | None:
        """Clean latents that the stream starts from."""
        return self.tensors.get("in/initial_latent")

    @property
    def given_frames(self) -> int:
        return 0 if self.given is None else self.given.shape[1]

    def recipe(self) -> Recipe:
        return rolling_recipe(self.case) if self.is_joint else student_recipe(self.case)

    def cache(self) -> CacheConfig:
        return rolling_cache(self.case) if self.is_joint else cache_config(self.case)


@pytest.fixture
def golden(fixtures: Path) -> Callable[[str], Golden]:
    return lambda name: Golden.of(fixtures / "golden", name)


@pytest.mark.parametrize("name", CASES)
def test_a_preset_has_the_settings_of_its_case(name: str, golden: Callable[[str], Golden]) -> None:
    """All but sizes, and what only a recorded run has: an average rounded, a cache that ends."""
    known = golden(name)
    preset, recipe = known.preset, known.recipe()
    for chunk in range(3):
        assert (
            preset.recipe.timesteps(chunk) == recipe.timesteps(chunk) or recipe.sampler == "unipc"
        )
    assert preset.recipe.chunk_steps() == recipe.chunk_steps()
    same = ("chunk_frames", "first_frames", "sampler", "shift", "shifted_twice", "whole_times")
    assert [getattr(preset.recipe, key) for key in same] == [getattr(recipe, key) for key in same]
    assert preset.recipe.clean_expert == has_two_experts(weights_of(known.tensors))
    student = asdict(student_config(known.case))
    sizes = ("dim", "ffn_dim", "num_heads", "num_layers", "in_channels", "out_channels")
    sizes += ("text_dim", "text_len", "freq_dim")
    own = asdict(preset.student)
    assert {k: own[k] for k in own if k not in sizes} == {
        k: student[k] for k in student if k not in sizes
    }
    quirks = {"ragged": "fold", "zero_start": False, "rolling": True}
    cache = replace(known.cache(), **quirks)
    if not cache.sink_frames:
        cache = replace(cache, sink="none")
    precision = preset.cache.precision if cache.sink == "ema" else cache.precision
    assert replace(preset.cache, precision=precision) == cache
    text = preset.stated(TextPrompt)
    assert text is not None
    assert text.shot_offset == float(known.case.get("multi_shot_rope_offset", 0.0))
    assert (text.switch == "recache") == ("switch_frame_indices" in known.case)


@pytest.mark.parametrize("name", CASES)
@torch.inference_mode()
def test_served_calls_make_the_latents_of_its_case(
    name: str, golden: Callable[[str], Golden], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = golden(name)
    expected = known.tensors["out/latents"]
    monkeypatch.setattr(row_calls, "counter_noise", Recorded(known))
    calls = served(known)
    made = [] if known.given is None else [known.given]
    cache = calls.new_cache()
    for plan in plans(known):
        latents: Tensor | None = None
        for call in range(len(calls.chunk_steps.calls)):
            (latents,) = calls.denoise([Row(plan, call, latents, cache)])
        assert latents is not None
        made.append(latents)
    latents = torch.cat(made, dim=1)
    assert latents.shape[1] == expected.shape[1] - (12 if known.is_joint else 0)
    assert float((latents - expected[:, : latents.shape[1]]).abs().max()) <= 1e-5


def served(known: Golden) -> RowCalls:
    """The preset with the case's weights."""
    config, weights = student_config(known.case), weights_of(known.tensors)
    writer = None
    if has_two_experts(weights):
        weights, other = split_experts(weights)
        writer = filled(CausalStudent(config), other)
    student = filled(CausalStudent(config), weights)
    text = known.preset.stated(TextPrompt)
    assert text is not None
    # without weights of their own: prompts and pictures are recorded as what was made of them
    parts = Parts(
        preset=known.preset,
        student=config,
        network=student,
        size=known.preset.size,
        device=torch.device("meta"),
        dtype=torch.float32,
    )
    rows, columns = known.case["latent_hw"]
    kinds: list[Conditioner[Any]] = [TextConditioner(text, parts)]
    image = known.preset.stated(StartImage)
    if known.given is not None and image is not None:
        kinds.append(StartImageConditioner(image, parts))
    return RowCalls(known.preset, student, kinds, (rows, columns), kept=2, writer=writer)


def filled(student: CausalStudent, weights: dict[str, Tensor]) -> CausalStudent:
    load_weights(student, weights)
    return student.eval()


def plans(known: Golden) -> Iterator[ChunkPlan]:
    """Plans of the case's chunks; of a joint window those of which nothing recorded is the end."""
    case, frames = known.case, known.preset.recipe.chunk_frames
    count = known.tensors["in/noise"].shape[1] // frames
    segment, switches = 0, case.get("switch_frame_indices", [])
    of_chunks: Sequence[int] = case.get("prompt_of_chunk", ())
    for chunk in range(count - 4 if known.is_joint else count):
        switched = segment < len(switches) and chunk * frames >= switches[segment]
        segment = of_chunks[chunk] if of_chunks else segment + switched
        key = "in/prompt_embeds"
        text = known.tensors[key if key in known.tensors else f"{key}/{segment}"][0]
        told = {
            "recaches": switched,
            "opens_shot": bool(chunk) and bool(case.get("shot_boundary", [0] * count)[chunk]),
        }
        start = known.given_frames + chunk * frames
        place = ChunkPlace(chunk=chunk, start=start, frames=frames, seed=0)
        parts = {"text": PlanPart({"embeddings": text}, told)}
        if known.given is not None:
            parts["start_image"] = PlanPart({} if chunk else {"latents": known.given})
        yield planned(chunk, 0, restart=chunk == 0, place=place, parts=parts)


class Recorded:
    """Noise in the order in which it was drawn; of a joint window's each block's own part."""

    def __init__(self, known: Golden) -> None:
        self._known = known
        names = sorted(name for name in known.tensors if name.startswith("in/renoise/"))
        self._later = iter([known.tensors[name] for name in names])

    def __call__(
        self, plan: ChunkPlan, number: int, shape: Sequence[int], *where: object
    ) -> Tensor:
        del where
        recipe, place = self._known.preset.recipe, place_of(plan)
        frames, steps = recipe.chunk_frames, len(recipe.steps)
        if not self._known.is_joint:
            if number == 0:
                start = place.start - self._known.given_frames
                return self._known.tensors["in/noise"][:, start : start + frames]
            return next(self._later).reshape(tuple(shape))
        if number < steps:
            block = number + (place.chunk + steps - 1 if place.chunk else 0)
            return self._known.tensors["in/noise"][:, block * frames : (block + 1) * frames]
        window, block = divmod(number - 1 - steps, steps)
        block += place.chunk > 0 or window == steps - 1
        return next(self._later)[block * frames : (block + 1) * frames][None]
