"""Names of weights in the layouts that students are published in, turned into the student's own.

Its own are those of Wan's code. diffusers names the same tensors differently, FastVideo adds a
track encoder to that, and Self-Gradient Forcing+ keeps two models in one file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(f"^{pattern}$"), own)
    for pattern, own in (
        (r"condition_embedder\.text_embedder\.linear_1\.(.+)", r"text_embedding.0.\1"),
        (r"condition_embedder\.text_embedder\.linear_2\.(.+)", r"text_embedding.2.\1"),
        (r"condition_embedder\.time_embedder\.linear_1\.(.+)", r"time_embedding.0.\1"),
        (r"condition_embedder\.time_embedder\.linear_2\.(.+)", r"time_embedding.2.\1"),
        (r"condition_embedder\.time_proj\.(.+)", r"time_projection.1.\1"),
        (r"condition_embedder\.image_embedder\.norm1\.(.+)", r"img_emb.proj.0.\1"),
        (r"condition_embedder\.image_embedder\.ff\.net\.0\.proj\.(.+)", r"img_emb.proj.1.\1"),
        (r"condition_embedder\.image_embedder\.ff\.net\.2\.(.+)", r"img_emb.proj.3.\1"),
        (r"condition_embedder\.image_embedder\.norm2\.(.+)", r"img_emb.proj.4.\1"),
        (r"condition_embedder\.image_embedder\.pos_embed", r"img_emb.emb_pos"),
        (r"(blocks\.\d+\.)scale_shift_table", r"\1modulation"),
        (r"(blocks\.\d+\.)attn1\.to_([qkv])\.(.+)", r"\1self_attn.\2.\3"),
        (r"(blocks\.\d+\.)attn1\.to_out\.0\.(.+)", r"\1self_attn.o.\2"),
        (r"(blocks\.\d+\.)attn1\.(norm_[qk]\..+)", r"\1self_attn.\2"),
        (r"(blocks\.\d+\.)attn2\.to_([qkv])\.(.+)", r"\1cross_attn.\2.\3"),
        (r"(blocks\.\d+\.)attn2\.to_out\.0\.(.+)", r"\1cross_attn.o.\2"),
        (r"(blocks\.\d+\.)attn2\.(norm_[qk]\..+)", r"\1cross_attn.\2"),
        (r"(blocks\.\d+\.)attn2\.add_([kv])_proj\.(.+)", r"\1cross_attn.\2_img.\3"),
        (r"(blocks\.\d+\.)attn2\.norm_added_k\.(.+)", r"\1cross_attn.norm_k_img.\2"),
        (r"(blocks\.\d+\.)norm2\.(.+)", r"\1norm3.\2"),
        (r"(blocks\.\d+\.)ffn\.net\.0\.proj\.(.+)", r"\1ffn.0.\2"),
        (r"(blocks\.\d+\.)ffn\.net\.2\.(.+)", r"\1ffn.2.\2"),
        (r"scale_shift_table", r"head.modulation"),
        (r"proj_out\.(.+)", r"head.head.\1"),
        (r"track_encoder\.temporal_conv\.(.+)", r"track_head.temporal.\1"),
        (r"track_encoder\.proj\.(.+)", r"track_head.mix.\1"),
    )
)
# Converters write it, and no code that is published reads it.
_UNUSED = re.compile(r"^blocks\.\d+\.attn2\.norm_added_q\.")
_MEMORY = "memory_"


def own_name(name: str) -> str | None:
    """The student's own name of a weight that Wan's code or diffusers calls `name`.

    None for what no published code reads; a name of neither stays as it is.
    """
    if _UNUSED.match(name):
        return None
    for pattern, own in _RULES:
        if pattern.match(name):
            return pattern.sub(own, name)
    return name


def clean_expert_name(name: str) -> str | None:
    """The student's own name of a weight of the model for the clean pass; None for any other.

    In files with two models `memory_` stands before the name of a module or of a parameter.
    """
    parts = name.split(".")
    plain = [part.removeprefix(_MEMORY) for part in parts]
    return None if plain == parts else ".".join(plain)


def has_two_experts(names: Iterable[str]) -> bool:
    """Whether these are the names of a generating model and of one for the clean pass."""
    return any(clean_expert_name(name) is not None for name in names)


def split_experts(
    weights: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights of the model that generates, and of the one for the clean pass (SGF+).

    Both have the names of an ordinary student. Raises ValueError if there is no second model.
    """
    if not has_two_experts(weights):
        raise ValueError("no weights with memory_ in their name; expected those of two experts")
    own: dict[str, Tensor] = {}
    clean: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        plain = clean_expert_name(name)
        if plain is None:
            own[name] = tensor
        else:
            clean[plain] = tensor
    return own, clean
