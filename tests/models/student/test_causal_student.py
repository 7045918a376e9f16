"""The student's parts: published names, text padding, optional inputs and their absence."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch

from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.student.conditioning import Conditions
from rollcast.models.student.config import CacheConfig, StudentConfig

StudentMaker = Callable[..., CausalStudent]
ConditionsMaker = Callable[[CausalStudent, int], Conditions]
PUBLISHED = re.compile(
    r"(patch_embedding|text_embedding\.[02]|time_embedding\.[02]|time_projection\.1|head\.head)"
    r"\.(weight|bias)"
    r"|head\.modulation|blocks\.\d+\.modulation|blocks\.\d+\.norm3\.(weight|bias)"
    r"|blocks\.\d+\.ffn\.[02]\.(weight|bias)"
    r"|blocks\.\d+\.(self|cross)_attn\.([qkvo]\.(weight|bias)|norm_[qk]\.weight)"
)
CACHE = CacheConfig(window_frames=2, sink_frames=1)


def run(student: CausalStudent, x: torch.Tensor, conditions: Conditions) -> torch.Tensor:
    context = student.encode_text(torch.ones(1, 2, student.config.text_dim))
    cache = student.new_cache(CACHE, height=x.shape[3], width=x.shape[4])
    return student(x, torch.full((1, 1), 700.0), context, cache, conditions)


def test_a_wan_config_has_exactly_the_published_parameters(make_student: StudentMaker) -> None:
    names = list(make_student().state_dict())
    assert [name for name in names if not PUBLISHED.fullmatch(name)] == []
    # 6 embeddings of two tensors each, head, and 27 + 2 tensors a block (see the pattern).
    assert len(names) == 15 + 2 * 27


def test_text_padding_is_zero_rows_that_count(make_student: StudentMaker) -> None:
    student = make_student()
    text = torch.randn(1, 2, 10)
    short = student.encode_text(text)
    padded = student.encode_text(torch.cat((text, torch.zeros(1, 3, 10)), dim=1))
    for one, two in zip(short.layers, padded.layers, strict=True):
        assert torch.equal(one[0], two[0])
        assert one[0].shape[2] == 5
        assert one[1][:, :, 4].any()
    with pytest.raises(ValueError, match="at most 5"):
        student.encode_text(torch.randn(1, 6, 10))


def test_one_context_serves_a_batch(make_student: StudentMaker) -> None:
    student = make_student()
    context = student.encode_text(torch.randn(1, 5, 10))
    x = torch.randn(2, 2, 4, 4, 4)
    both, one = (
        student.forward_sequence(
            part, torch.full((1, 1), 700.0), context, cache=CACHE, chunk_frames=1
        )
        for part in (x, x[1:])
    )
    torch.testing.assert_close(both[1:], one, atol=1e-5, rtol=1e-5)


def test_patches_keep_their_places(make_student: StudentMaker) -> None:
    """A change of one latent pixel with attention silenced moves its own patch only."""
    student = make_student(num_layers=1)
    for parameter in student.blocks.parameters():
        parameter.zero_()
    x = torch.randn(1, 1, 4, 6, 4)
    changed = x.clone()
    changed[0, 0, 1, 3, 2] += 1.0
    moved = (run(student, x, Conditions()) != run(student, changed, Conditions()))[0, 0].any(0)
    wanted = torch.zeros(6, 4, dtype=torch.bool)
    wanted[2:4, 2:4] = True
    assert torch.equal(moved, wanted)


@pytest.mark.parametrize("name", ["frames", "audio", "tracks", "channels", "base"])
def test_every_condition_counts(
    make_student: StudentMaker, make_conditions: ConditionsMaker, name: str
) -> None:
    student = make_student(conditioned=True)
    conditions = make_conditions(student, 1)
    values = {item: getattr(conditions, item) for item in Conditions.__dataclass_fields__}
    other = Conditions(**(values | {name: values[name] + 0.5}))
    x = torch.randn(1, 1, 4, 4, 4)
    assert not torch.allclose(run(student, x, conditions), run(student, x, other), atol=1e-3)


def test_an_untrained_student_returns_draft_and_base(make_conditions: ConditionsMaker) -> None:
    """Zero-initialised parts: before training, the sample is the base."""
    torch.manual_seed(0)
    config = StudentConfig(
        dim=48, ffn_dim=64, num_heads=2, num_layers=2, in_channels=4, out_channels=4,
        text_dim=10, text_len=5, freq_dim=16, patch=(1, 1, 1), prediction="sample",
        audio_tokens=3, audio_dim=6, frame_dim=7, draft=True, grid=(4, 4), track_channels=2,
        extra_channels=5, stem_kernel=3, head_kernel=3,
    )  # fmt: skip
    student = CausalStudent(config).requires_grad_(False)
    conditions = make_conditions(student, 1)
    x = torch.randn(1, 1, 4, 4, 4)
    assert conditions.base is not None and student.draft is not None
    assert torch.equal(run(student, x, conditions), conditions.base)
    torch.nn.init.normal_(student.draft.weight)
    draft = student.draft(conditions.frames).reshape(1, 1, 4, 4, 4)
    torch.testing.assert_close(run(student, x, conditions), conditions.base + draft)


def test_misfits_are_told(make_student: StudentMaker, make_conditions: ConditionsMaker) -> None:
    student = make_student(conditioned=True)
    with pytest.raises(ValueError, match="needs Conditions"):
        run(student, torch.randn(1, 1, 4, 4, 4), Conditions())
    with pytest.raises(ValueError, match="drafts"):
        run(student, torch.randn(1, 1, 4, 4, 6), make_conditions(student, 1))
    with pytest.raises(ValueError, match="not divisible"):
        run(make_student(), torch.randn(1, 1, 4, 5, 4), Conditions())


def test_bfloat16_is_close_to_float32(
    make_student: StudentMaker, make_conditions: ConditionsMaker
) -> None:
    student = make_student(conditioned=True, rope="slot")
    conditions = make_conditions(student, 1)
    x = torch.randn(1, 1, 4, 4, 4)
    wide = run(student, x, conditions)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = run(student, x, conditions).float()
    # 8 bits of mantissa through two layers.
    assert (mixed - wide).norm() / wide.norm() < 0.05
