"""Golden cases of Self-Forcing, Reward Forcing and LongLive: a rolling cache and a clean pass.

Published quirks are on here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..sampling.denoising import FlowSchedule, denoise_chunk, prefill, recache
from ..student.causal_student import CausalStudent
from ..student.conditioning import TextContext
from ..student.config import CacheConfig, StudentConfig
from ..student.kv_cache import StudentCache
from ..wan.weights import load_weights, plain_names
from .published import check_shape, difference, wan_shape


def student_differences(case: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[float, ...]:
    """Greatest absolute difference of each chunk's latents. Raises ValueError on other shapes."""
    rollout = _Rollout(case, tensors)
    made = rollout.run()
    expected = tensors["out/latents"]
    check_shape(made, expected)
    return tuple(difference(made[:, chunk], expected[:, chunk]) for chunk in rollout.chunks())


class _Rollout:
    """One case being generated."""

    def __init__(self, case: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        self.case = case
        self.noise = tensors["in/noise"]
        self.initial = tensors.get("in/initial_latent")
        self.block = int(case["num_frame_per_block"])
        self.first_alone = bool(case.get("independent_first_frame", False))
        self.student = CausalStudent(student_config(case)).eval()
        weights = {
            name.removeprefix("w/"): tensor
            for name, tensor in tensors.items()
            if name.startswith("w/")
        }
        load_weights(self.student, plain_names(weights))
        self.contexts = [self.student.encode_text(prompt) for prompt in _prompts(tensors)]
        self.renoise = (tensors[name] for name in sorted(tensors) if name.startswith("in/renoise/"))
        table = case.get("scheduler", {})
        self.schedule = FlowSchedule(float(table.get("shift", 5.0)), int(table.get("steps", 1000)))

    def chunks(self) -> Iterator[slice]:
        """Frames of the output, chunk by chunk, those of the initial latents included."""
        total = self.noise.shape[1] + (0 if self.initial is None else self.initial.shape[1])
        start = 0
        while start < total:
            length = 1 if self.first_alone and start == 0 else self.block
            yield slice(start, start + length)
            start += length

    def run(self) -> Tensor:
        """All latents [B, F, C, h, w]."""
        made = torch.zeros(self.noise.shape[0], 0, *self.noise.shape[2:])
        cache = self.student.new_cache(
            cache_config(self.case),
            height=self.noise.shape[3],
            width=self.noise.shape[4],
            batch=self.noise.shape[0],
        )
        if self.initial is not None:
            first = 1 if self.first_alone else None
            prefill(
                self.student,
                cache,
                self.initial,
                self.contexts[0],
                chunk_frames=self.block,
                first_frames=first,
            )
            made = self.initial
        given, segment = made.shape[1], 0
        for chunk in self.chunks():
            if chunk.start < given:
                continue
            if segment < len(self._switches()) and chunk.start >= self._switches()[segment]:
                segment += 1
                self._switch(cache, made, self.contexts[segment])
            noise = self.noise[:, chunk.start - given : chunk.stop - given]
            made = torch.cat((made, self._denoise(cache, noise, self.contexts[segment])), dim=1)
        return made

    def _switches(self) -> list[int]:
        return self.case.get("switch_frame_indices", [])

    def _switch(self, cache: StudentCache, made: Tensor, context: TextContext) -> None:
        held = min(cache.config.capacity_frames, made.shape[1])
        if held:
            recache(
                self.student,
                cache,
                made[:, -held:],
                context,
                rewrite_sink=not self.case.get("global_sink", False),
                context_timestep=float(self.case.get("context_noise", 0)),
            )

    def _denoise(self, cache: StudentCache, noise: Tensor, context: TextContext) -> Tensor:
        return denoise_chunk(
            self.student,
            cache,
            noise,
            self.case["denoising_step_list_warped"],
            context,
            schedule=self.schedule,
            renoise=lambda sample: next(self.renoise).reshape(sample.shape),
            context_timestep=float(self.case.get("context_noise", 0)),
        )


def student_config(case: dict[str, Any]) -> StudentConfig:
    """The student of a case's published configuration."""
    published = case["config"]
    if not (published.get("qk_norm", True) and published.get("cross_attn_norm", True)):
        raise ValueError("only students with qk_norm and cross_attn_norm are known")
    relative = case["family"] in ("reward_forcing", "longlive_infinity")
    return StudentConfig(
        **wan_shape(published, patch="patch_size"),
        rope="slot" if relative else "absolute",
    )


def cache_config(case: dict[str, Any]) -> CacheConfig:
    """The cache of a case, with the quirks of its family."""
    published = case["config"]
    capacity = int(case["cache_tokens"]) // int(case["frame_seqlen"])
    local, sinks = published["local_attn_size"], published["sink_size"]
    ema = case["family"] == "reward_forcing" and local != -1
    return CacheConfig(
        window_frames=capacity - sinks,
        sink_frames=sinks,
        sink="ema" if ema else "static",
        alpha=case.get("compression_alpha") or 0.999,
        precision="in_place",
        ragged="overwrite",
        rolling=local != -1,
        guard_sink=case["family"].startswith("longlive"),
        zero_start=case["family"] == "reward_forcing",
    )


def _prompts(tensors: dict[str, Tensor]) -> list[Tensor]:
    """The prompt of each segment."""
    if "in/prompt_embeds" in tensors:
        return [tensors["in/prompt_embeds"]]
    names = [name for name in tensors if name.startswith("in/prompt_embeds/")]
    return [tensors[name] for name in sorted(names, key=lambda name: int(name.rsplit("/", 1)[1]))]
