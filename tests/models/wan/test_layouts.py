"""Names of the diffusers layout and of files with two experts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.wan.layouts import has_two_experts, own_name, split_experts
from rollcast.models.wan.weights import load_student, load_weights, plain_names

StudentMaker = Callable[..., CausalStudent]
TOP = """
condition_embedder.text_embedder.linear_1.weight text_embedding.0.weight
condition_embedder.text_embedder.linear_1.bias text_embedding.0.bias
condition_embedder.text_embedder.linear_2.weight text_embedding.2.weight
condition_embedder.text_embedder.linear_2.bias text_embedding.2.bias
condition_embedder.time_embedder.linear_1.weight time_embedding.0.weight
condition_embedder.time_embedder.linear_1.bias time_embedding.0.bias
condition_embedder.time_embedder.linear_2.weight time_embedding.2.weight
condition_embedder.time_embedder.linear_2.bias time_embedding.2.bias
condition_embedder.time_proj.weight time_projection.1.weight
condition_embedder.time_proj.bias time_projection.1.bias
condition_embedder.image_embedder.norm1.weight img_emb.proj.0.weight
condition_embedder.image_embedder.norm1.bias img_emb.proj.0.bias
condition_embedder.image_embedder.ff.net.0.proj.weight img_emb.proj.1.weight
condition_embedder.image_embedder.ff.net.0.proj.bias img_emb.proj.1.bias
condition_embedder.image_embedder.ff.net.2.weight img_emb.proj.3.weight
condition_embedder.image_embedder.ff.net.2.bias img_emb.proj.3.bias
condition_embedder.image_embedder.norm2.weight img_emb.proj.4.weight
condition_embedder.image_embedder.norm2.bias img_emb.proj.4.bias
patch_embedding.weight patch_embedding.weight
patch_embedding.bias patch_embedding.bias
scale_shift_table head.modulation
proj_out.weight head.head.weight
proj_out.bias head.head.bias
track_encoder.temporal_conv.weight track_head.temporal.weight
track_encoder.temporal_conv.bias track_head.temporal.bias
track_encoder.proj.weight track_head.mix.weight
track_encoder.proj.bias track_head.mix.bias
"""
BLOCK = """
scale_shift_table modulation
attn1.to_q.weight self_attn.q.weight
attn1.to_q.bias self_attn.q.bias
attn1.to_k.weight self_attn.k.weight
attn1.to_k.bias self_attn.k.bias
attn1.to_v.weight self_attn.v.weight
attn1.to_v.bias self_attn.v.bias
attn1.to_out.0.weight self_attn.o.weight
attn1.to_out.0.bias self_attn.o.bias
attn1.norm_q.weight self_attn.norm_q.weight
attn1.norm_k.weight self_attn.norm_k.weight
attn2.to_q.weight cross_attn.q.weight
attn2.to_q.bias cross_attn.q.bias
attn2.to_k.weight cross_attn.k.weight
attn2.to_k.bias cross_attn.k.bias
attn2.to_v.weight cross_attn.v.weight
attn2.to_v.bias cross_attn.v.bias
attn2.to_out.0.weight cross_attn.o.weight
attn2.to_out.0.bias cross_attn.o.bias
attn2.norm_q.weight cross_attn.norm_q.weight
attn2.norm_k.weight cross_attn.norm_k.weight
attn2.add_k_proj.weight cross_attn.k_img.weight
attn2.add_k_proj.bias cross_attn.k_img.bias
attn2.add_v_proj.weight cross_attn.v_img.weight
attn2.add_v_proj.bias cross_attn.v_img.bias
attn2.norm_added_k.weight cross_attn.norm_k_img.weight
norm2.weight norm3.weight
norm2.bias norm3.bias
ffn.net.0.proj.weight ffn.0.weight
ffn.net.0.proj.bias ffn.0.bias
ffn.net.2.weight ffn.2.weight
ffn.net.2.bias ffn.2.bias
"""


def published_names(layers: int) -> dict[str, str]:
    """Own names by those of diffusers, as recorded beside its golden cases."""
    pairs = [line.split() for line in TOP.split("\n") if line]
    for layer in range(layers):
        blocks = [line.split() for line in BLOCK.split("\n") if line]
        pairs += [[f"blocks.{layer}.{theirs}", f"blocks.{layer}.{own}"] for theirs, own in blocks]
    return {pair[0]: pair[1] for pair in pairs}


def test_every_name_of_the_diffusers_layout(make_student: StudentMaker, tmp_path: Path) -> None:
    student = make_student(num_layers=11, image_dim=7, track_channels=2, patch=(1, 1, 1))
    names, weights = published_names(11), student.state_dict()
    assert set(names.values()) == set(weights)
    theirs = {name: weights[own] for name, own in names.items()}
    # Converters write it for Fun-InP, and nothing reads it.
    theirs["blocks.10.attn2.norm_added_q.weight"] = torch.zeros(48)
    made = plain_names(theirs)
    assert {name: id(tensor) for name, tensor in made.items()} == {
        name: id(tensor) for name, tensor in weights.items()
    }
    path = tmp_path / "transformer.pt"
    torch.save(theirs, path)
    loaded = load_student(path, student.config).state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in loaded.items())


def test_names_of_wan_are_their_own(make_student: StudentMaker) -> None:
    student = make_student(image_dim=7, track_channels=2)
    assert all(own_name(name) == name for name in student.state_dict())


def test_unknown_names_stay_to_be_reported(make_student: StudentMaker) -> None:
    student = make_student()
    own_of = {own: theirs for theirs, own in published_names(2).items()}
    theirs = {own_of[name]: tensor for name, tensor in student.state_dict().items()}
    theirs["blocks.1.attn3.to_q.weight"] = torch.zeros(1)
    theirs["condition_embedder.image_embedder.pos_embed"] = torch.zeros(1)
    with pytest.raises(ValueError, match=r"2 .+: blocks.1.attn3.to_q.weight, img_emb.emb_pos"):
        load_weights(student, plain_names(theirs))


def test_two_experts_in_one_file(make_student: StudentMaker) -> None:
    """`memory_` before parameters in blocks, and before whole modules outside of them."""
    own, memory = make_student(seed=0), make_student(seed=1)
    named = {f"model._fsdp_wrapped_module.{n}": t for n, t in own.state_dict().items()}
    for name, tensor in memory.state_dict().items():
        parts = name.split(".")
        place = len(parts) - 1 if parts[0] == "blocks" else 0
        parts[place] = f"memory_{parts[place]}"
        named[f"model._fsdp_wrapped_module.{'.'.join(parts)}"] = tensor
    assert "model._fsdp_wrapped_module.blocks.1.self_attn.q.memory_weight" in named
    assert "model._fsdp_wrapped_module.memory_head.modulation" in named
    plain = plain_names(named)
    assert has_two_experts(plain)
    for student, weights in zip((own, memory), split_experts(plain), strict=True):
        assert weights.keys() == student.state_dict().keys()
        assert all(torch.equal(t, student.state_dict()[n]) for n, t in weights.items())


def test_one_expert_is_not_two(make_student: StudentMaker) -> None:
    weights = make_student().state_dict()
    assert not has_two_experts(weights)
    with pytest.raises(ValueError, match="two experts"):
        split_experts(weights)
