"""Embeddings as the store on disk keeps them."""

from __future__ import annotations

from safetensors.torch import load, save
from torch import Tensor

_NAME = "text"


def to_bytes(embeddings: Tensor) -> bytes:
    """Embeddings [L, text_dim] as bytes, in their type."""
    return save({_NAME: embeddings.contiguous()})


def from_bytes(data: bytes) -> Tensor:
    """The inverse of `to_bytes`."""
    return load(data)[_NAME]
