"""Golden cases of Live Avatar: four caches, a sink of tokens, speech; the sink may change.

Published quirks are on here and nowhere else: rotations in float16, and speech that knows nothing
of the chunk before.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..live_avatar.inputs import encode_sink, speech_tokens
from ..sampling.batches import CallRow, call_rows
from ..sampling.euler import Euler, EulerSchedule
from ..student.causal_student import CausalStudent
from ..student.conditioning import Conditions
from ..student.config import AvatarConfig, CacheConfig, StudentConfig
from ..student.token_sink import SinkTokens
from ..wan.weights import load_weights, plain_names
from .published import difference, wan_shape

_SETTINGS: dict[str, Any] = {
    "enable_adain": True,
    "adain_mode": "attn_norm",
    "zero_timestep": True,
    "enable_motioner": False,
    "enable_framepack": True,
    "framepack_drop_mode": "padd",
    "add_last_motion": True,
    "rope_theta": 10000,
    "motion_frames": [73, 19],
}
# Read below, or by `wan_shape`; the rest only describes what the tensors show.
_SHAPE = (
    "dim ffn_dim num_heads num_layers in_dim out_dim text_dim text_len freq_dim patch eps cond_dim "
    "audio_dim num_audio_token audio_inject_layers rope_table_len latent_block steps timesteps "
    "tokens_per_latent_frame cache_tokens cache_blocks blocks audio_frames_per_block rel_dist "
    "sigmas"
)
_KNOWN = frozenset((*_SETTINGS, *_SHAPE.split()))


def avatar_differences(case: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[float, ...]:
    """Greatest absolute difference of each block: of its latents after every step on record.

    Raises ValueError on other shapes, and names the fields that are not understood when a case
    that has some differs.
    """
    prefix = case.get("output_prefix", "")
    differences: list[float] = []
    for block, steps in enumerate(avatar_blocks(case, tensors)):
        names = [f"block{block}_step{step}_x" for step in range(len(steps))]
        pairs = [
            (made, tensors[prefix + name])
            for name, made in zip(names, steps, strict=True)
            if prefix + name in tensors
        ]
        pairs.append((steps[-1], tensors[f"{prefix}block{block}_x0"]))
        differences.append(max(difference(*pair) for pair in pairs))
    unknown = [
        f"{part}.{name}"
        for part in ("config", "setup")
        for name in case[part]
        if name not in _KNOWN
    ]
    if unknown and not max(differences) <= float(case["tolerance"]):
        raise ValueError(f"differs by {max(differences):.3g}; not understood: {', '.join(unknown)}")
    return tuple(differences)


def avatar_blocks(case: dict[str, Any], tensors: dict[str, Tensor]) -> list[list[Tensor]]:
    """Latents [C, F, h, w] of every block of a case after each of its steps.

    Raises ValueError for settings that are not Live Avatar's or do not fit its tensors.
    """
    tensors = {name.removeprefix("in/"): tensor for name, tensor in tensors.items()}
    student = CausalStudent(avatar_config(case, tensors["audio"].shape[1])).eval()
    load_weights(student, plain_names(_weights(tensors)))
    context = student.encode_text(tensors["text"][None])
    schedule = avatar_schedule(case, tensors)
    motion = tensors["motion"].transpose(1, 2)

    def sink(reference: Tensor) -> SinkTokens:
        """Of one frame [1, 1, C, h, w]."""
        return encode_sink(student, reference, motion, context)

    height, width = tensors["noise"].shape[-2:]
    caches = [
        student.new_cache(avatar_cache(case), height=height, width=width)
        for _ in schedule.timesteps
    ]
    sampler = Euler(schedule)
    swap, blocks = _sink_swap(case), _blocks(case, tensors["noise"])
    frames = int(case["setup"]["audio_frames_per_block"])
    made: list[list[Tensor]] = []
    for block, noise in enumerate(tensors["noise"][:blocks]):
        new: SinkTokens | None = None
        if block == 0:
            new = sink(tensors["ref"].transpose(1, 2))
        elif block == swap:
            new = sink(made[0][-1][:, :1].transpose(0, 1)[None])
        speech = tensors["audio"][..., block * frames : (block + 1) * frames]
        conditions = Conditions(speech=speech_tokens(student, speech))
        latents, steps = noise.transpose(0, 1)[None], []
        for step, cache in enumerate(caches):
            if new is not None:
                cache.set_sink(new)
            row = CallRow(latents, context, conditions, cache, sampler, step)
            (latents,) = call_rows(student, [row])
            steps.append(latents[0].transpose(0, 1))
        made.append(steps)
    return made


def avatar_config(case: dict[str, Any], audio_layers: int = 25) -> StudentConfig:
    """The student of a case's published configuration. Raises ValueError for unknown variants."""
    published = case["config"]
    given = published | case["setup"]
    other = {
        key: given[key] for key in _SETTINGS if given.get(key, _SETTINGS[key]) != _SETTINGS[key]
    }
    if other:
        raise ValueError(f"only Live Avatar's own settings are known; got {other}")
    return StudentConfig(
        **wan_shape(published, patch="patch"),
        avatar=AvatarConfig(
            pose_channels=published["cond_dim"],
            audio_layers=audio_layers,
            audio_dim=published["audio_dim"],
            audio_tokens=published["num_audio_token"],
            inject_layers=tuple(published["audio_inject_layers"]),
            half_rope=True,
        ),
    )


def avatar_cache(case: dict[str, Any]) -> CacheConfig:
    """The cache of each step of a case. Raises ValueError for one that holds no whole blocks."""
    setup = case["setup"]
    frames, rest = divmod(int(setup["cache_tokens"]), int(setup["tokens_per_latent_frame"]))
    block = int(setup["latent_block"][1]) if "latent_block" in setup else 1
    if rest or frames % block or not frames:
        raise ValueError(
            f"setup.cache_tokens {setup['cache_tokens']}; expected whole blocks of {block} frames "
            f"of {setup['tokens_per_latent_frame']} tokens"
        )
    distance = case.get("rel_dist")
    distance = setup.get("rel_dist") if distance is None else distance
    if not isinstance(distance, int) or distance < 0:
        raise ValueError(f"rel_dist {distance!r}; expected a number of frames for the whole case")
    return CacheConfig(window_frames=frames, rolling_distance=distance)


def avatar_schedule(case: dict[str, Any], tensors: dict[str, Tensor]) -> EulerSchedule:
    """The steps of a case, of its JSON or its tensors: whichever has as many as it says.

    Raises ValueError if neither has.
    """
    setup = case["setup"]
    recorded = {name: tensors[name].tolist() for name in ("timesteps", "sigmas") if name in tensors}
    found = [each for each in (setup, recorded) if "timesteps" in each and "sigmas" in each]
    for each in found:
        if len(each["timesteps"]) == setup.get("steps", len(each["timesteps"])):
            return EulerSchedule(tuple(each["timesteps"]), tuple(each["sigmas"]))
    raise ValueError(f"no timesteps and sigmas for setup.steps {setup.get('steps')!r}")


def _sink_swap(case: dict[str, Any]) -> int | None:
    """From which block on the sink is the first frame of block 0's output."""
    swap = case.get("sink_swap_at_block")
    if swap is not None and (not isinstance(swap, int) or swap < 1):
        raise ValueError(f"sink_swap_at_block {swap!r}; expected a block after block 0, or null")
    return swap


def _blocks(case: dict[str, Any], noise: Tensor) -> int:
    blocks = int(case["setup"].get("blocks", len(noise)))
    if not 1 <= blocks <= len(noise):
        raise ValueError(f"setup.blocks {blocks}; the case has noise for {len(noise)}")
    return blocks


def _weights(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The student's among all tensors of a case: those of modules, whose names have a dot."""
    return {name.removeprefix("w/"): tensor for name, tensor in tensors.items() if "." in name}
