"""The sizes of a student as its `config.json` gives them, Wan's or diffusers'; free of torch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..student.config import StudentConfig
from .presets.preset import Preset
from .weight_files import BadCheckpoint

# What Wan's configurations call an argument of `StudentConfig`, and then diffusers'.
_WAN = {"in_dim": "in_channels", "out_dim": "out_channels", "patch_size": "patch"} | {
    name: name for name in "dim ffn_dim num_heads num_layers text_dim text_len freq_dim eps".split()
}
# What Wan2.2-S2V's says of an avatar beside that.
_AVATAR = {
    "audio_dim": "audio_dim",
    "num_audio_token": "audio_tokens",
    "audio_inject_layers": "inject_layers",
    "cond_dim": "pose_channels",
}
_DIFFUSERS = {
    "num_attention_heads": "num_heads",
    "patch_size": "patch",
    "image_dim": "image_dim",
} | {
    name: name
    for name in "ffn_dim num_layers in_channels out_channels text_dim freq_dim eps".split()
}
# FastVideo's, of a track encoder.
_TRACKS = {
    "id_dim": "track_channels",
    "track_channels": "track_features",
    "vae_temporal_compression": "track_stride",
    "use_bias": "track_bias",
}


def student_config(preset: Preset, config: Path | None) -> StudentConfig:
    """The preset's, with the sizes that a `config.json` beside the weights gives.

    Raises BadCheckpoint for one that cannot be read.
    """
    if config is None:
        return preset.student
    try:
        given: dict[str, Any] = json.loads(config.read_bytes())
        if not _is_wan(given):
            return preset.student
        names = _DIFFUSERS if "num_attention_heads" in given else _WAN
        sizes = {ours: given[theirs] for theirs, ours in names.items() if theirs in given}
        if "attention_head_dim" in given:
            sizes["dim"] = given["num_attention_heads"] * given["attention_head_dim"]
        if "patch" in sizes:
            sizes["patch"] = tuple(sizes["patch"])
        return replace(preset.student, **_conditioned(preset.student, sizes, given))
    except (ValueError, TypeError, AttributeError) as error:
        raise BadCheckpoint(f"{config} is no configuration of a Wan model: {error}") from error


def track_identities(config: Path | None) -> int | None:
    """How many identities of tracks a student knows, if the `config.json` beside it says so."""
    if config is None:
        return None
    given: dict[str, Any] = json.loads(config.read_bytes())
    tracks: dict[str, Any] = given.get("track_config") or {}
    return tracks.get("max_track_id")


def _conditioned(
    own: StudentConfig, sizes: dict[str, Any], given: dict[str, Any]
) -> dict[str, Any]:
    """`sizes` with those of what a student has beside its latents: an image, tracks, a voice."""
    made = dict(sizes)
    if not own.image_dim or made.get("image_dim") is None:
        made.pop("image_dim", None)
    beside = own.extra_channels
    if own.track_channels:
        tracks: dict[str, Any] = given.get("track_config") or {}
        made |= {ours: tracks[theirs] for theirs, ours in _TRACKS.items() if theirs in tracks}
        beside += made.get("track_features", own.track_features)
    if own.avatar is not None:
        heard = {ours: given[theirs] for theirs, ours in _AVATAR.items() if theirs in given}
        if "inject_layers" in heard:
            heard["inject_layers"] = tuple(heard["inject_layers"])
        made["avatar"] = replace(own.avatar, **heard)
    if "in_channels" in made:
        # published are all that enter, ours are those of the latents
        made["in_channels"] -= beside
    return made


def is_wan_config(file: Path) -> bool:
    """Whether a file is the configuration of a Wan student."""
    try:
        return _is_wan(json.loads(file.read_bytes()))
    except (ValueError, AttributeError):
        return False


def _is_wan(given: dict[str, Any]) -> bool:
    named = str(given.get("_class_name", ""))
    return "Wan" in named and "Autoencoder" not in named
