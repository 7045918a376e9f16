"""Wan's text encoder, UMT5 (arXiv 2304.09151), by transformers: prompts to embeddings.

Its weights stay mapped from their file: 11 GB that are only read, and given back when memory is
short.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ftfy
import torch
from torch import Tensor

from ...quiet_imports import quiet_imports
from ..checkpoint import open_checkpoint
from ..names import Renamed
from ..weight_files import BadCheckpoint
from ..weights import fill

with quiet_imports():
    from transformers import AutoTokenizer, UMT5Config, UMT5EncoderModel

_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")
# Wan's names of the parts of a block, and transformers'.
_PARTS = {
    "norm1.weight": "layer.0.layer_norm.weight",
    "norm2.weight": "layer.1.layer_norm.weight",
    "pos_embedding.embedding.weight": "layer.0.SelfAttention.relative_attention_bias.weight",
    "ffn.gate.0.weight": "layer.1.DenseReluDense.wi_0.weight",
    "ffn.fc1.weight": "layer.1.DenseReluDense.wi_1.weight",
    "ffn.fc2.weight": "layer.1.DenseReluDense.wo.weight",
} | {f"attn.{part}.weight": f"layer.0.SelfAttention.{part}.weight" for part in "qkvo"}
_TABLE = "shared.weight"
_TIED = "encoder.embed_tokens.weight"


class TextEncoder:
    """A tokenizer and an encoder, read from files as Wan or diffusers lay them out.

    Texts are cut at `text_len` tokens. It computes on the CPU, in the type of the file.
    """

    def __init__(self, weights: Path, tokenizer: Path, text_len: int) -> None:
        """Raises FileNotFoundError, and ValueError for files that do not fit."""
        self._text_len = text_len
        self._tokenizer: Any = AutoTokenizer.from_pretrained(tokenizer, local_files_only=True)
        named = Renamed(open_checkpoint(weights), encoder_name)
        config = _config(named, weights.parent)
        with torch.device("meta"):
            model = UMT5EncoderModel(config)
        self._model = fill(model, _WithTied(named), copy=False)

    @torch.inference_mode()
    def encode(self, text: str) -> Tensor:
        """Embeddings [L, text_dim] of a prompt's L tokens, without padding.

        The padding that students are given changes nothing here: it is masked, and zeros behind.
        """
        tokens = self._tokenizer(
            clean(text), truncation=True, max_length=self._text_len, return_tensors="pt"
        )
        return self._model(input_ids=tokens.input_ids).last_hidden_state[0]


def clean(text: str) -> str:
    """`text` as Wan cleans it: characters mended, HTML entities resolved, single spaces."""
    mended = html.unescape(html.unescape(ftfy.fix_text(text)))
    return re.sub(r"\s+", " ", mended.strip()).strip()


def encoder_name(name: str) -> str | None:
    """Transformers' name of a weight that may have Wan's."""
    block = _BLOCK.fullmatch(name)
    if block is not None:
        number, part = block.groups()
        return f"encoder.block.{number}.{_PARTS.get(part, part)}"
    named = {"token_embedding.weight": _TABLE, "norm.weight": "encoder.final_layer_norm.weight"}
    # the table is there once or twice
    return None if name == _TIED else named.get(name, name)


class _WithTied(Mapping[str, Tensor]):
    """Weights with the table of words under both of its names."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights

    def __getitem__(self, name: str) -> Tensor:
        return self._weights[_TABLE if name == _TIED else name]

    def __iter__(self) -> Any:
        yield from self._weights
        yield _TIED

    def __len__(self) -> int:
        return len(self._weights) + 1


def _config(weights: Mapping[str, Tensor], folder: Path) -> UMT5Config:
    """The encoder's configuration: that of its folder, else as its shapes say."""
    file = folder / "config.json"
    # beside Wan's own file it is the student's
    if file.exists() and json.loads(file.read_bytes()).get("model_type") == "umt5":
        return UMT5Config.from_pretrained(folder)
    first = "encoder.block.0.layer"
    try:
        words, width = weights[_TABLE].shape
        buckets, heads = weights[f"{first}.0.SelfAttention.relative_attention_bias.weight"].shape
        inner = weights[f"{first}.0.SelfAttention.q.weight"].shape[0]
        wide = weights[f"{first}.1.DenseReluDense.wi_0.weight"].shape[0]
    except KeyError as error:
        raise BadCheckpoint(f"the text encoder is no UMT5: it lacks {error}") from error
    numbers = {int(name.split(".")[2]) for name in weights if name.startswith("encoder.block.")}
    return UMT5Config(
        vocab_size=words,
        d_model=width,
        d_kv=inner // heads,
        d_ff=wide,
        num_layers=1 + max(numbers),
        num_heads=heads,
        relative_attention_num_buckets=buckets,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
    )
