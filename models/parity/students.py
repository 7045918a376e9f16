"""Golden cases of students that make chunk after chunk from one cache with a clean pass.

Self-Forcing, Reward Forcing, LongLive 1 and 2, Causal-Forcing and Self-Gradient Forcing+. Published
quirks are on here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..sampling.chunk_maker import ChunkMaker, ChunkStream, Prompt
from ..sampling.denoising import recache
from ..sampling.recipe import Recipe
from ..student.causal_student import CausalStudent
from ..student.config import CacheConfig, RopeFamily, StudentConfig
from ..wan.layouts import has_two_experts, split_experts
from ..wan.number_types import NumberTypes
from .published import (
    EXACT,
    check_shape,
    difference,
    golden_student,
    numbered,
    recipe_of,
    recorded_noise,
    wan_shape,
    weights_of,
)


def student_differences(
    case: dict[str, Any], tensors: dict[str, Tensor], types: NumberTypes = EXACT
) -> tuple[float, ...]:
    """Greatest absolute difference of each chunk's latents. Raises ValueError on other shapes."""
    rollout = _Rollout(case, tensors, types)
    made = rollout.run()
    expected = tensors["out/latents"]
    check_shape(made, expected)
    return tuple(difference(made[:, chunk], expected[:, chunk]) for chunk in rollout.chunks)


class _Rollout:
    """One case being generated."""

    def __init__(
        self, case: dict[str, Any], tensors: dict[str, Tensor], types: NumberTypes
    ) -> None:
        self.case = case
        self.noise = tensors["in/noise"]
        self.initial = tensors.get("in/initial_latent", tensors.get("in/image_latent"))
        config, weights = student_config(case), weights_of(tensors)
        expert: CausalStudent | None = None
        if has_two_experts(weights):
            weights, other = split_experts(weights)
            expert = golden_student(config, other, types)
        recipe = replace(student_recipe(case), clean_expert=expert is not None)
        student = golden_student(config, weights, types)
        self.maker = ChunkMaker(student, recipe, cache_config(case), expert)
        self.prompts = [self.maker.encode(prompt) for prompt in _prompts(tensors)]
        self.renoise = recorded_noise(tensors)
        # LongLive 2 keeps the given frames in the place of noise, others put them before it.
        self.held = self.initial if case["family"] == "longlive2" else None
        self.given = 0 if self.initial is None or self.held is not None else self.initial.shape[1]
        missing = tensors["out/latents"].shape[1] - self.given - self.noise.shape[1]
        if self.held is not None and missing == self.held.shape[1]:
            self.noise = torch.cat((self.held, self.noise), dim=1)
        self.chunks = tuple(recipe.chunks(self.given + self.noise.shape[1]))

    def run(self) -> Tensor:
        """All latents [B, F, C, h, w]."""
        batch, _, _, height, width = self.noise.shape
        stream = self.maker.start(height=height, width=width, batch=batch)
        made = self.noise[:, :0]
        if self.given and self.initial is not None:
            self.maker.give(stream, self.initial, self.prompts[0])
            made = self.initial
        segment = 0
        for number, chunk in enumerate(c for c in self.chunks if c.start >= self.given):
            if segment < len(self._switches()) and chunk.start >= self._switches()[segment]:
                segment += 1
                self._switch(stream, made, self.prompts[segment])
            segment = _entry(self.case.get("prompt_of_chunk"), number, segment)
            if number and _entry(self.case.get("shot_boundary"), number, False):
                stream.cache.begin_shot(float(self.case["multi_shot_rope_offset"]))
            latents = self.maker.next(
                stream,
                self.noise[:, chunk.start - self.given : chunk.stop - self.given],
                self.prompts[segment],
                renoise=self.renoise,
                held=self.held if number == 0 else None,
            )
            assert latents is not None, "only a joint window fills first"
            made = torch.cat((made, latents), dim=1)
        return made

    def _switches(self) -> list[int]:
        return self.case.get("switch_frame_indices", [])

    def _switch(self, stream: ChunkStream, made: Tensor, prompt: Prompt) -> None:
        held = min(stream.cache.config.capacity_frames, made.shape[1])
        if held:
            recache(
                self.maker.student,
                stream.cache,
                made[:, -held:],
                prompt.context,
                rewrite_sink=not self.case.get("global_sink", False),
                context_timestep=self.maker.recipe.context_timestep,
            )


def student_recipe(case: dict[str, Any]) -> Recipe:
    """How a case's chunks are sampled. Raises ValueError for samplers that are not known."""
    block = int(case["num_frame_per_block"])
    if case["family"] != "longlive2":
        alone = bool(case.get("independent_first_frame", False))
        return recipe_of(case, chunk_frames=block, first_frames=1 if alone else None)
    sampler = case["sampler"]
    wanted = {"name": "FlowUniPC", "order": 2, "solver_type": "bh2", "predict_x0": True}
    other = {
        key: sampler.get(key) for key in wanted if sampler.get(key, wanted[key]) != wanted[key]
    }
    if other:
        raise ValueError(f"sampler {other}; only {wanted} are known")
    count = int(sampler["steps"])
    recipe = Recipe(
        chunk_frames=block,
        steps=tuple(range(count)),
        sampler="unipc",
        shift=float(sampler["shift"]),
        context_timestep=float(case.get("context_noise") or 0),
    )
    times = list(recipe.sampler_for(0, torch.randn_like).timesteps)
    if times != sampler.get("timesteps", times):
        raise ValueError(f"timesteps {sampler['timesteps']}; {count} steps have {times}")
    return recipe


def student_config(case: dict[str, Any]) -> StudentConfig:
    """The student of a case's published configuration."""
    published = case["config"]
    if not (published.get("qk_norm", True) and published.get("cross_attn_norm", True)):
        raise ValueError("only students with qk_norm and cross_attn_norm are known")
    rope = _rope(case)
    trained = int(case["kv_cache_train_frames"]) if rope == "top_aligned" else 0
    return StudentConfig(
        **wan_shape(published, patch="patch_size"), rope=rope, trained_frames=trained
    )


def _rope(case: dict[str, Any]) -> RopeFamily:
    """Which keys a case caches, and where they stand."""
    family = case["family"]
    if family == "sgf_plus" and case["long_video"]:
        modes: dict[str, RopeFamily] = {"contiguous": "slot", "top_aligned": "top_aligned"}
        mode = case["kv_cache_position_mode"]
        if mode not in modes:
            raise ValueError(f"kv_cache_position_mode {mode!r}; expected one of {list(modes)}")
        return modes[mode]
    raw = family in ("reward_forcing", "longlive_infinity") or case.get("use_relative_rope", False)
    return "slot" if raw else "absolute"


def cache_config(case: dict[str, Any]) -> CacheConfig:
    """The cache of a case, with the quirks of its family."""
    published, family = case["config"], case["family"]
    local, sinks = published["local_attn_size"], published["sink_size"]
    if family == "sgf_plus" and case["long_video"]:
        local, sinks = int(case["kv_cache_max_frames"]), int(case["kv_cache_sink"])
    elif "cache_tokens" in case:
        capacity = int(case["cache_tokens"]) // int(case["frame_seqlen"])
        return _cache(case, capacity, sinks, rolling=local != -1)
    return _cache(case, local, sinks, rolling=True)


def _cache(case: dict[str, Any], capacity: int, sinks: int, *, rolling: bool) -> CacheConfig:
    family = case["family"]
    shots = family == "longlive2" and case.get("multi_shot_sink", False)
    return CacheConfig(
        window_frames=capacity - sinks,
        sink_frames=sinks,
        sink="ema" if family == "reward_forcing" and rolling else "static",
        alpha=0.999 if case.get("compression_alpha") is None else float(case["compression_alpha"]),
        precision="in_place",
        ragged="overwrite",
        rolling=rolling,
        guard_sink=family in ("longlive", "longlive_infinity"),
        # both attend to the whole sink, zeros while the stream is shorter
        zero_start=family in ("reward_forcing", "longlive"),
        pinned_frames=sinks if shots else 0,
    )


def _entry(of_chunks: Sequence[Any] | None, number: int, otherwise: Any) -> Any:
    """The entry of chunk `number`, if the case has one for each."""
    return otherwise if of_chunks is None else of_chunks[number]


def _prompts(tensors: dict[str, Tensor]) -> list[Tensor]:
    """The prompt of each segment."""
    if "in/prompt_embeds" in tensors:
        return [tensors["in/prompt_embeds"]]
    names = numbered(tensors, "in/prompt_embeds/")
    if not names:
        raise ValueError("no tensor in/prompt_embeds, nor any in/prompt_embeds/*")
    return [tensors[name] for name in names]
