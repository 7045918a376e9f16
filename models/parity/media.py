"""Golden cases at the two ends of a student: speech features before it, Wan's decoder behind it."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from ..live_avatar.speech_frames import features_of_frames, to_video_rate
from ..wan.decoder import WanDecoder, WanDecoderConfig
from .published import difference


def vae_differences(case: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[float, ...]:
    """Greatest absolute difference of each streamed piece, then of the whole in one call."""
    published = case["config"]
    decoder = WanDecoder(
        WanDecoderConfig(
            dim=published["dim"],
            latent_channels=published["z_dim"],
            multipliers=tuple(published["dim_mult"]),
            residual_blocks=published["num_res_blocks"],
            doubles_time=tuple(reversed(published["temporal"])),
        )
    ).eval()
    decoder.load_published(tensors)
    latents = tensors["z"].transpose(1, 2)
    memory: dict[str, Tensor] = {}
    pairs: list[tuple[Tensor, Tensor]] = []
    start = 0
    for piece, count in enumerate(case["latents_per_call"]):
        made = decoder(latents[:, start : start + count], memory)
        pairs.append((made, tensors[f"s{piece}"]))
        start += count
    pairs.append((decoder(latents, {}), tensors["full"]))
    return tuple(difference(made.transpose(1, 2), expected) for made, expected in pairs)


def speech_differences(case: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[float, ...]:
    """Greatest absolute difference of the features at 30 Hz, then of each table of video frames."""
    features = to_video_rate(tensors["wav2vec_hidden"])
    differences = [difference(features, tensors["feat30"])]
    for name, recorded in case["buckets"].items():
        numbers = re.fullmatch(r"fps(\d+)_bf(\d+)", name)
        if numbers is None:
            raise ValueError(f"table {name!r}; expected a name like fps25_bf48")
        fps, batch = (int(number) for number in numbers.groups())
        made, batches = features_of_frames(tensors["feat30"], fps=fps, batch_frames=batch)
        if batches != recorded["num_repeat"]:
            raise ValueError(f"{batches} batches, {name} has {recorded['num_repeat']}")
        differences.append(difference(made, tensors[f"bucket_{name}"]))
    return tuple(differences)
