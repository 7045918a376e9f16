"""Every preset at full size on `meta`: each name and shape is that of the published layout.

The layout is written out here from Wan's published modules, not taken from the student.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import pytest

from rollcast.models.student.config import StudentConfig
from rollcast.models.wan.loading import empty_student
from rollcast.models.wan.number_types import quantised_layers
from rollcast.models.wan.presets.catalogue import preset_named, presets
from rollcast.models.wan.presets.preset import Preset

pytestmark = pytest.mark.slow

Shapes = dict[str, tuple[int, ...]]
PUBLISHED = {
    # Wan's own configurations: width, feed-forward width, heads, layers, and how many values
    (1536, 8960, 12, 30): 1.42e9,
    (3072, 14336, 24, 30): 5.00e9,
    (5120, 13824, 40, 40): 14.3e9,
}
ADDED = (
    "img_emb.",
    "track_head.",
    "cond_encoder.",
    "trainable_cond_mask.",
    "casual_audio_encoder.",
    "audio_injector.",
    "frame_packer.",
)
"""What families have beside Wan's text to video; shapes of the first two are written out below."""
EVERY = pytest.mark.parametrize("preset", presets().values(), ids=lambda preset: preset.name)


def wan_layout(config: StudentConfig) -> Shapes:
    """Names and shapes of Wan's transformer, text to video."""
    dim, wide = config.dim, config.ffn_dim
    patch = config.patch
    shapes: Shapes = {
        "patch_embedding.weight": (dim, stem_channels(config), *patch),
        "patch_embedding.bias": (dim,),
        "head.modulation": (1, 2, dim),
        **linear("text_embedding.0", config.text_dim, dim),
        **linear("text_embedding.2", dim, dim),
        **linear("time_embedding.0", config.freq_dim, dim),
        **linear("time_embedding.2", dim, dim),
        **linear("time_projection.1", dim, 6 * dim),
        **linear("head.head", dim, config.out_channels * prod(patch)),
    }
    for layer in range(config.num_layers):
        block = f"blocks.{layer}"
        shapes[f"{block}.modulation"] = (1, 6, dim)
        shapes[f"{block}.norm3.weight"] = shapes[f"{block}.norm3.bias"] = (dim,)
        shapes |= linear(f"{block}.ffn.0", dim, wide) | linear(f"{block}.ffn.2", wide, dim)
        for attention in ("self_attn", "cross_attn"):
            for part in "qkvo":
                shapes |= linear(f"{block}.{attention}.{part}", dim, dim)
            for norm in ("norm_q", "norm_k"):
                shapes[f"{block}.{attention}.{norm}.weight"] = (dim,)
        if config.image_dim:
            # Wan 2.1 image to video: attention to an image beside the text
            shapes |= linear(f"{block}.cross_attn.k_img", dim, dim)
            shapes |= linear(f"{block}.cross_attn.v_img", dim, dim)
            shapes[f"{block}.cross_attn.norm_k_img.weight"] = (dim,)
    return shapes


def added_layout(config: StudentConfig) -> Shapes:
    """Of an image's embedding (Wan 2.1 image to video), and of tracks (FastVideo's TrackWan)."""
    shapes: Shapes = {}
    if config.image_dim:
        seen = config.image_dim
        shapes |= linear("img_emb.proj.1", seen, seen) | linear("img_emb.proj.3", seen, config.dim)
        for place, width in (("0", seen), ("4", config.dim)):
            for name in ("weight", "bias"):
                shapes[f"img_emb.proj.{place}.{name}"] = (width,)
    if config.track_channels:
        made = config.track_features
        shapes["track_head.temporal.weight"] = (made, config.track_channels, 4, 1, 1)
        shapes["track_head.mix.weight"] = (made, made, 1, 1, 1)
        if config.track_bias:
            shapes["track_head.temporal.bias"] = shapes["track_head.mix.bias"] = (made,)
    return shapes


def stem_channels(config: StudentConfig) -> int:
    """Latents, then a mask and a condition, then tracks."""
    tracks = config.track_features if config.track_channels else 0
    return config.in_channels + config.extra_channels + tracks


def linear(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def split(shapes: Shapes) -> Iterator[Shapes]:
    """What is Wan's, and what a family adds."""
    for added in (False, True):
        yield {name: s for name, s in shapes.items() if name.startswith(ADDED) is added}


def shapes_of(preset: Preset) -> Shapes:
    student = empty_student(preset.student)
    return {name: tuple(tensor.shape) for name, tensor in student.state_dict().items()}


@EVERY
def test_names_and_shapes_are_those_that_are_published(preset: Preset) -> None:
    wans, added = split(shapes_of(preset))
    assert wans == wan_layout(preset.student)
    written = added_layout(preset.student)
    assert {name: added.get(name) for name in written} == written


@EVERY
def test_it_is_one_of_wans_sizes(preset: Preset) -> None:
    config = preset.student
    size = (config.dim, config.ffn_dim, config.num_heads, config.num_layers)
    assert size in PUBLISHED, "a size that Wan publishes"
    wans, _ = split(shapes_of(preset))
    plain = [shape for name, shape in wans.items() if "_img" not in name]
    assert sum(map(prod, plain)) == pytest.approx(PUBLISHED[size], rel=0.02)


@EVERY
def test_conditioning_and_head_stay_when_it_is_quantised(preset: Preset) -> None:
    small, stays = quantised_layers(empty_student(preset.student))
    config = preset.student
    each = 10 + (2 if config.image_dim else 0)
    in_blocks = [name for name in small if name.startswith("blocks.")]
    assert len(in_blocks) == each * config.num_layers
    assert {"text_embedding.0", "time_projection.1", "head.head"} <= set(stays)


def test_wan_1_3b_to_the_last_value() -> None:
    shapes = shapes_of(preset_named("self-forcing"))
    assert len(shapes) == 825 and sum(map(prod, shapes.values())) == 1_418_996_800
