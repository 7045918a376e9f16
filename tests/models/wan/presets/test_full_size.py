"""Students of presets at full size, without memory: every name and shape, and how many values."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel

from rollcast.models.student.config import StudentConfig
from rollcast.models.wan.layouts import own_name
from rollcast.models.wan.loading import empty_student
from rollcast.models.wan.names import generator_name, writer_name
from rollcast.models.wan.presets.catalogue import preset_named, presets
from rollcast.models.wan.presets.wan21 import T2V_1_3B
from rollcast.models.wan.presets.wan22 import TI2V_5B

from ....tiny_checkpoints import expert_name

pytestmark = pytest.mark.slow

COUNTS = {T2V_1_3B: 1_418_996_800, TI2V_5B: 4_999_787_712}


def shape_of(config: StudentConfig) -> StudentConfig:
    """The model of Wan that a student is one of."""
    widths = {base.dim: base for base in COUNTS}
    return widths[config.dim]


PLAIN = tuple(
    name
    for name, preset in presets().items()
    if preset.student.stem_channels == preset.student.out_channels and preset.student.dim < 5120
)
"""Those whose students have Wan's own layers and no others."""


@pytest.mark.parametrize("name", PLAIN)
def test_a_student_is_wans_model(name: str) -> None:
    """By diffusers' model of that size: its names, translated, and its shapes."""
    config = preset_named(name).student
    own = {key: tuple(value.shape) for key, value in empty_student(config).state_dict().items()}
    with torch.device("meta"):
        library = WanTransformer3DModel(
            num_attention_heads=config.num_heads,
            attention_head_dim=config.head_dim,
            in_channels=config.in_channels,
            out_channels=config.out_channels,
            text_dim=config.text_dim,
            freq_dim=config.freq_dim,
            ffn_dim=config.ffn_dim,
            num_layers=config.num_layers,
        )
    theirs = {own_name(key): tuple(value.shape) for key, value in library.state_dict().items()}
    assert own == theirs
    assert sum(torch.Size(shape).numel() for shape in own.values()) == COUNTS[shape_of(config)]


def test_wans_file_of_the_smaller_model_has_as_many_values() -> None:
    """5,676,070,424 bytes in float32, with a header of names and shapes."""
    header = 5_676_070_424 - 4 * COUNTS[T2V_1_3B]
    assert 0 < header < 200_000


@pytest.mark.parametrize("name", ["sgf-plus", "sgf-plus-framewise"])
def test_a_file_of_two_models_is_told_apart(name: str) -> None:
    """Every weight of a block twice, and every module outside of them; nothing else is there."""
    own = empty_student(preset_named(name).student).state_dict()
    wrapped = "model._fsdp_wrapped_module."
    published = [f"{wrapped}{key}" for key in own]
    published += [f"{wrapped}{expert_name(key)}" for key in own]
    assert f"{wrapped}blocks.29.self_attn.norm_q.memory_weight" in published
    assert f"{wrapped}blocks.29.memory_modulation" in published
    assert f"{wrapped}memory_time_projection.1.bias" in published
    assert len(set(published)) == 2 * len(own)
    for named in (generator_name, writer_name):
        assert sorted(filter(None, map(named, published))) == sorted(own)
