"""The student beside diffusers' `WanTransformer3DModel`: random weights both ways, one pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from torch import Tensor

from rollcast.models.parity.published import diffusers_shape
from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.student.conditioning import Conditions
from rollcast.models.student.config import CacheConfig, StudentConfig
from rollcast.models.wan.weights import load_weights, plain_names

from ...tiny_checkpoints import diffusers_name, filled

FRAMES, HEIGHT, WIDTH = 3, 4, 6
TEXT = 512
"""Tokens of text; theirs takes what is behind so many for those of an image."""
IMAGE_NAMES = {
    "cross_attn.k_img.": "attn2.add_k_proj.",
    "cross_attn.v_img.": "attn2.add_v_proj.",
    "cross_attn.norm_k_img.": "attn2.norm_added_k.",
    "img_emb.proj.0.": "condition_embedder.image_embedder.norm1.",
    "img_emb.proj.1.": "condition_embedder.image_embedder.ff.net.0.proj.",
    "img_emb.proj.3.": "condition_embedder.image_embedder.ff.net.2.",
    "img_emb.proj.4.": "condition_embedder.image_embedder.norm2.",
}
TEXT_TO_VIDEO: dict[str, Any] = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "in_channels": 16,
    "out_channels": 16,
    "text_dim": 20,
    "freq_dim": 32,
    "ffn_dim": 40,
    "num_layers": 2,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "eps": 1e-6,
}
IMAGE_TO_VIDEO = TEXT_TO_VIDEO | {"in_channels": 36, "image_dim": 28, "added_kv_proj_dim": 24}
KINDS = pytest.mark.parametrize("config", [TEXT_TO_VIDEO, IMAGE_TO_VIDEO], ids=["text", "image"])


def inputs(config: dict[str, Any], seed: int) -> dict[str, Any]:
    """Of `WanTransformer3DModel`, for two clips at their own times."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    image = random(2, 5, config["image_dim"]) if "image_dim" in config else None
    return {
        "hidden_states": random(2, config["in_channels"], FRAMES, HEIGHT, WIDTH),
        "timestep": torch.tensor([999.0, 312.5]),
        "encoder_hidden_states": random(2, TEXT, config["text_dim"]),
        "encoder_hidden_states_image": image,
    }


def their_name(name: str) -> str:
    """Diffusers' name of a student's weight, those for images included."""
    for part, instead in IMAGE_NAMES.items():
        name = name.replace(part, instead)
    return diffusers_name(name)


def theirs(model: WanTransformer3DModel, given: dict[str, Any]) -> Tensor:
    return model(**given, return_dict=False)[0]


def ours(student: CausalStudent, given: dict[str, Any]) -> Tensor:
    """The same by a student whose window is the whole clip."""
    latents = given["hidden_states"].transpose(1, 2)
    channels = student.config.in_channels
    cache = student.new_cache(
        CacheConfig(window_frames=FRAMES, rolling=False), height=HEIGHT, width=WIDTH, batch=2
    )
    context = student.encode_text(
        given["encoder_hidden_states"], given["encoder_hidden_states_image"]
    )
    extra = latents[:, :, channels:] if student.config.extra_channels else None
    made = student(
        latents[:, :, :channels],
        given["timestep"][:, None],
        context,
        cache,
        Conditions(channels=extra),
    )
    return made.transpose(1, 2)


def pair(config: dict[str, Any], seed: int) -> tuple[WanTransformer3DModel, CausalStudent]:
    """Both with random weights of their own."""
    torch.manual_seed(seed)
    model = filled(WanTransformer3DModel(**config), 0.2)
    student = filled(CausalStudent(StudentConfig(**diffusers_shape(config), text_len=TEXT)), 0.2)
    return model, student


@KINDS
@pytest.mark.parametrize("seed", [0, 1])
@torch.inference_mode()
def test_a_student_with_their_weights_predicts_the_same(config: dict[str, Any], seed: int) -> None:
    model, student = pair(config, seed)
    load_weights(student, plain_names(model.state_dict()))
    given = inputs(config, seed)
    wanted = theirs(model, given)
    assert wanted.std() > 0.1
    # float32 on both sides, sums in other orders
    torch.testing.assert_close(ours(student, given), wanted, atol=1e-5, rtol=1e-5)


@KINDS
@torch.inference_mode()
def test_their_model_with_a_students_weights_predicts_the_same(config: dict[str, Any]) -> None:
    model, student = pair(config, 2)
    weights = {their_name(name): tensor for name, tensor in student.state_dict().items()}
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    # modulations have a dimension more, or one less
    model.load_state_dict({name: t.reshape(shapes[name]) for name, t in weights.items()})
    given = inputs(config, 2)
    wanted = theirs(model, given)
    assert wanted.std() > 0.1
    torch.testing.assert_close(ours(student, given), wanted, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_it_would_be_noticed() -> None:
    model, student = pair(TEXT_TO_VIDEO, 3)
    load_weights(student, plain_names(model.state_dict()))
    given = inputs(TEXT_TO_VIDEO, 3)
    student.blocks[1].ffn[2].weight[0, 0] += 0.05  # pyright: ignore[reportIndexIssue, reportAttributeAccessIssue]
    assert (ours(student, given) - theirs(model, given)).abs().max() > 1e-4
