"""From a prompt to what a student attends to: embeddings, and keys and values made of them once."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import torch
from torch import Tensor

from ...student.causal_student import CausalStudent
from ...student.conditioning import TextContext
from ..text.embedding_bytes import from_bytes
from ..text.reader import TextFailed, TextReader


def contexts_kept(sessions: int) -> int:
    """Texts whose keys and values are at hand: one of each stream, and one that it changes to."""
    return sessions + 1


class Prompts:
    """Prompts of all streams; the keys and values of the `kept` last used texts are at hand.

    They follow from the text alone, so that streams share nothing by sharing them.
    """

    def __init__(self, reader: TextReader, kept: int) -> None:
        self._reader = reader
        self._kept = kept
        self._contexts: OrderedDict[str, TextContext] = OrderedDict()

    def embeddings(self, prompt: str) -> Tensor:
        """Embeddings [L, text_dim] of a prompt, on the CPU; waits where it was not read before.

        Raises ValueError if it cannot be read.
        """
        try:
            return from_bytes(self._reader.get(prompt))
        except TextFailed as error:
            raise ValueError(f"the prompt could not be read: {error}") from error

    def context(self, student: CausalStudent, embeddings: Tensor) -> TextContext:
        """What `student` makes of embeddings [L, text_dim]."""
        plain = embeddings.contiguous().view(torch.uint8).numpy()
        key = hashlib.sha256(plain.tobytes()).hexdigest()
        if key in self._contexts:
            self._contexts.move_to_end(key)
        else:
            weight = student.patch_embedding.weight
            self._contexts[key] = student.encode_text(embeddings[None].to(weight))
            while len(self._contexts) > self._kept:
                self._contexts.popitem(last=False)
        return self._contexts[key]
