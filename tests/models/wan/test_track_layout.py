"""Track-v0 at full size, on `meta`: every name and shape of its published layout."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rollcast.models.wan.config_file import student_config, track_identities
from rollcast.models.wan.inspect_files import files_in, inspect_file
from rollcast.models.wan.loading import empty_student
from rollcast.models.wan.locate import FilesMissing, locate
from rollcast.models.wan.names import Renamed, student_name
from rollcast.models.wan.presets.catalogue import preset_named
from rollcast.models.wan.stream.memory_plan import plan_memory
from rollcast.models.wan.weights import Misfit

from ...tiny_checkpoints import diffusers_config, tiny_config, write_diffusers

PRESET = preset_named("track-v0")
DIM, FFN, LAYERS, TEXT, IMAGE, FREQ = 1536, 8960, 30, 4096, 1280, 256


def linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm(name: str, width: int, *, bias: bool = True) -> dict[str, tuple[int, ...]]:
    more = {f"{name}.bias": (width,)} if bias else {}
    return {f"{name}.weight": (width,)} | more


def attention(name: str, *, image: bool) -> dict[str, tuple[int, ...]]:
    made: dict[str, tuple[int, ...]] = {}
    for part in ("to_q", "to_k", "to_v", "to_out.0"):
        made |= linear(f"{name}.{part}", DIM, DIM)
    for part in ("norm_q", "norm_k"):
        made |= norm(f"{name}.{part}", DIM, bias=False)
    if image:
        made |= linear(f"{name}.add_k_proj", DIM, DIM) | linear(f"{name}.add_v_proj", DIM, DIM)
        made |= norm(f"{name}.norm_added_k", DIM, bias=False)
        # converters write it
        made |= norm(f"{name}.norm_added_q", DIM, bias=False)
    return made


def published() -> dict[str, tuple[int, ...]]:
    """Names and shapes of `transformer/`: diffusers' Wan image to video and a track encoder."""
    embed = "condition_embedder"
    made: dict[str, tuple[int, ...]] = {
        "patch_embedding.weight": (DIM, 52, 1, 2, 2),
        "patch_embedding.bias": (DIM,),
        "scale_shift_table": (1, 2, DIM),
        "track_encoder.temporal_conv.weight": (16, 64, 4, 1, 1),
        "track_encoder.temporal_conv.bias": (16,),
        "track_encoder.proj.weight": (16, 16, 1, 1, 1),
        "track_encoder.proj.bias": (16,),
    }
    made |= linear("proj_out", DIM, 16 * 4)
    made |= linear(f"{embed}.text_embedder.linear_1", TEXT, DIM)
    made |= linear(f"{embed}.text_embedder.linear_2", DIM, DIM)
    made |= linear(f"{embed}.time_embedder.linear_1", FREQ, DIM)
    made |= linear(f"{embed}.time_embedder.linear_2", DIM, DIM)
    made |= linear(f"{embed}.time_proj", DIM, 6 * DIM)
    made |= norm(f"{embed}.image_embedder.norm1", IMAGE)
    made |= linear(f"{embed}.image_embedder.ff.net.0.proj", IMAGE, IMAGE)
    made |= linear(f"{embed}.image_embedder.ff.net.2", IMAGE, DIM)
    made |= norm(f"{embed}.image_embedder.norm2", DIM)
    for k in range(LAYERS):
        block = f"blocks.{k}"
        made |= {f"{block}.scale_shift_table": (1, 6, DIM)}
        made |= attention(f"{block}.attn1", image=False) | attention(f"{block}.attn2", image=True)
        made |= norm(f"{block}.norm2", DIM)
        made |= linear(f"{block}.ffn.net.0.proj", DIM, FFN) | linear(f"{block}.ffn.net.2", FFN, DIM)
    return made


def on_meta(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def test_every_name_and_shape_is_the_published_one() -> None:
    weights = on_meta(published())
    student = empty_student(PRESET.student)
    assert Misfit.of(student, Renamed(weights, student_name)).count == 0
    count = sum(parameter.numel() for parameter in student.parameters())
    # Wan's own 1.3B, and what image and tracks add
    wan = 1_418_996_800
    image = 30 * (2 * (DIM * DIM + DIM) + DIM) + 2 * IMAGE + IMAGE * IMAGE + IMAGE
    image += IMAGE * DIM + DIM + 2 * DIM
    tracks = 16 * 64 * 4 + 16 + 16 * 16 + 16
    assert count == wan + image + tracks + 36 * DIM * 4
    unread = 30 * DIM
    assert count == sum(tensor.numel() for tensor in weights.values()) - unread


@pytest.mark.parametrize("gone", ["track_encoder.proj.bias", "blocks.7.attn2.add_v_proj.weight"])
def test_a_weight_that_is_missing_is_noticed(gone: str) -> None:
    weights = on_meta({name: shape for name, shape in published().items() if name != gone})
    assert Misfit.of(empty_student(PRESET.student), Renamed(weights, student_name)).count == 1


def test_its_configuration_says_what_it_has(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    given: dict[str, Any] = diffusers_config(PRESET.student)
    assert given["in_channels"] == 52 and given["track_config"]["use_bias"]
    file.write_text(json.dumps(given))
    assert student_config(PRESET, file) == PRESET.student
    # newer converters: wider identities, no bias
    given["track_config"] |= {"id_dim": 128, "use_bias": False, "track_channels": 8}
    given["in_channels"] = 44
    file.write_text(json.dumps(given))
    wanted = replace(PRESET.student, track_channels=128, track_bias=False, track_features=8)
    made = student_config(PRESET, file)
    assert track_identities(file) == 100_000 and track_identities(None) is None
    assert made == wanted and made.stem_channels == 44 and made.in_channels == 16


def test_a_students_image_does_not_matter_to_who_sees_none(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    plain = preset_named("self-forcing")
    file.write_text(json.dumps(diffusers_config(plain.student) | {"image_dim": 1280}))
    assert student_config(plain, file) == plain.student


@pytest.mark.slow
def test_a_bundle_is_found_and_what_it_lacks_is_named(tmp_path: Path) -> None:
    write_diffusers(PRESET, tmp_path)
    files = locate(PRESET, [str(tmp_path)])
    assert files.config == tmp_path / "transformer" / "config.json"
    assert files.more["image_encoder"].parent == tmp_path / "image_encoder"
    # diffusers pads texts to 512 tokens, whatever its configuration says
    assert student_config(PRESET, files.config) == replace(tiny_config(PRESET), text_len=512)
    kinds = {inspect_file(file, None).kind for file in files_in(tmp_path)}
    assert kinds == {"student", "VAE", "text encoder", "image encoder"}
    for file in (tmp_path / "image_encoder").iterdir():
        file.unlink()
    (tmp_path / "image_encoder").rmdir()
    with pytest.raises(FilesMissing, match="track-v0 lacks image_encoder") as missing:
        locate(PRESET, [str(tmp_path)])
    assert "H1yori233/Track-v0" in missing.value.hint


def test_the_full_size_plan_agrees_with_published_sizes() -> None:
    plan = plan_memory(PRESET)
    frame = 1560 * LAYERS * DIM * 2 * 2
    assert plan.cache == 6 * frame + 6 * 16 * 60 * 104 * 2, "and the latents that are noted"
    count = sum(parameter.numel() for parameter in empty_student(PRESET.student).parameters())
    assert plan.student == 2 * count
    # keys and values of 512 tokens of text and 257 of the image
    assert plan.text == 2 * (512 + 257) * LAYERS * DIM * 2
    clip, vae = 630_766_080 - 19_677_440, 53_000_000
    assert plan.conditioning == pytest.approx(2 * (clip + vae), rel=0.02)
    # what the encoder remembers of 480 x 832 pixels while it still sees the picture
    assert 5e8 < plan.conditioning_state < 2e9
