"""Golden cases of Live Avatar: four caches, a sink of tokens, speech; the sink may change.

Published quirks are on here and nowhere else: rotations in float16, and speech that knows nothing
of the chunk before.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .avatar import encode_sink, speech_tokens
from .conditioning import Conditions
from .config import AvatarConfig, CacheConfig, StudentConfig
from .euler import EulerSchedule, euler_chunk
from .parity_published import difference, wan_shape
from .student import CausalStudent
from .token_sink import SinkTokens
from .weights import load_weights, plain_names


def avatar_differences(case: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[float, ...]:
    """Greatest absolute difference of each block's latents. Raises ValueError on other shapes."""
    prefix = case.get("output_prefix", "")
    return tuple(
        difference(made, tensors[f"{prefix}block{block}_x0"])
        for block, made in enumerate(avatar_blocks(case, tensors))
    )


def avatar_blocks(case: dict[str, Any], tensors: dict[str, Tensor]) -> list[Tensor]:
    """Clean latents [C, F, h, w] of every block of a case."""
    tensors = {name.removeprefix("in/"): tensor for name, tensor in tensors.items()}
    student = CausalStudent(avatar_config(case)).eval()
    load_weights(student, plain_names(_weights(tensors)))
    context = student.encode_text(tensors["text"][None])
    schedule = EulerSchedule(
        _numbers("timesteps", case, tensors), _numbers("sigmas", case, tensors)
    )
    motion = tensors["motion"].transpose(1, 2)

    def sink(reference: Tensor) -> SinkTokens:
        """Of one frame [1, 1, C, h, w]."""
        return encode_sink(student, reference, motion, context)

    height, width = tensors["noise"].shape[-2:]
    caches = [
        student.new_cache(avatar_cache(case), height=height, width=width)
        for _ in schedule.timesteps
    ]
    swap = case.get("sink_swap_at_block")
    frames = int(case["setup"]["audio_frames_per_block"])
    made: list[Tensor] = []
    for block, noise in enumerate(tensors["noise"]):
        new: SinkTokens | None = None
        if block == 0:
            new = sink(tensors["ref"].transpose(1, 2))
        elif block == swap:
            new = sink(made[0][:, :1].transpose(0, 1)[None])
        speech = tensors["audio"][..., block * frames : (block + 1) * frames]
        conditions = Conditions(speech=speech_tokens(student, speech))
        latents = euler_chunk(
            student, caches, noise.transpose(0, 1)[None], schedule, context, conditions, sink=new
        )
        made.append(latents[0].transpose(0, 1))
    return made


def avatar_config(case: dict[str, Any]) -> StudentConfig:
    """The student of a case's published configuration. Raises ValueError for unknown variants."""
    published = case["config"]
    known = {
        "enable_adain": True,
        "adain_mode": "attn_norm",
        "zero_timestep": True,
        "enable_motioner": False,
        "enable_framepack": True,
        "add_last_motion": True,
    }
    other = {key: published[key] for key in known if published.get(key, known[key]) != known[key]}
    if other:
        raise ValueError(f"only Live Avatar's own settings are known; got {other}")
    return StudentConfig(
        **wan_shape(published, patch="patch"),
        avatar=AvatarConfig(
            pose_channels=published["cond_dim"],
            audio_dim=published["audio_dim"],
            audio_tokens=published["num_audio_token"],
            inject_layers=tuple(published["audio_inject_layers"]),
            half_rope=True,
        ),
    )


def avatar_cache(case: dict[str, Any]) -> CacheConfig:
    """The cache of each step of a case."""
    setup = case["setup"]
    frames = int(setup["cache_tokens"]) // int(setup["tokens_per_latent_frame"])
    distance = case.get("rel_dist")
    distance = setup["rel_dist"] if distance is None else distance
    return CacheConfig(window_frames=frames, rolling_distance=int(distance))


def _numbers(name: str, case: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[float, ...]:
    return tuple(tensors[name].tolist() if name in tensors else case["setup"][name])


def _weights(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The student's among all tensors of a case: those of modules, whose names have a dot."""
    return {name.removeprefix("w/"): tensor for name, tensor in tensors.items() if "." in name}
