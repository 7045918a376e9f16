"""Keys and values that a student makes of texts, and of images beside them: made once, and kept."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from ...student.causal_student import CausalStudent
from ...student.conditioning import TextContext
from ...upload import uploaded


def contexts_kept(sessions: int) -> int:
    """Texts whose keys and values are at hand: one of each stream, and one that it changes to."""
    return sessions + 1


class Contexts:
    """The keys and values of the `kept` last used texts of one student.

    They follow from the text and the image alone, so that streams share nothing by sharing them.
    """

    def __init__(self, student: CausalStudent, kept: int) -> None:
        self._student = student
        self._kept = kept
        self._contexts: OrderedDict[str, TextContext] = OrderedDict()
        # of tensors that live: a stream's text is the same one in every call
        self._digests = WeakTensorKeyDictionary()

    def of(self, text: Tensor, image: Tensor | None = None) -> TextContext:
        """What the student makes of `text` [L, text_dim] and `image` [N, image_dim]."""
        key = ":".join(self._digest(each) for each in (text, image) if each is not None)
        if key in self._contexts:
            self._contexts.move_to_end(key)
            return self._contexts[key]
        weight = self._student.patch_embedding.weight
        told, seen = (
            None if each is None else uploaded(each[None], weight.device, weight.dtype)
            for each in (text, image)
        )
        assert told is not None
        made = self._student.encode_text(told, seen)
        self._contexts[key] = made
        while len(self._contexts) > self._kept:
            self._contexts.popitem(last=False)
        return made

    def _digest(self, tensor: Tensor) -> str:
        """What tells its values from others."""
        found = self._digests.get(tensor)
        if found is None:
            plain = tensor.contiguous().view(torch.uint8).numpy()
            found = hashlib.sha256(plain.tobytes()).hexdigest()
            self._digests[tensor] = found
        return found
