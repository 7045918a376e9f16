"""Keys and values of texts are made once, told apart by their values, and bounded in number."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable

import pytest
import torch

from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.wan.stream import contexts as module
from rollcast.models.wan.stream.contexts import Contexts

StudentMaker = Callable[..., CausalStudent]


@torch.inference_mode()
def test_values_tell_texts_apart(make_student: StudentMaker) -> None:
    contexts = Contexts(make_student(image_dim=6), kept=2)
    text, image = torch.randn(5, 10), torch.randn(3, 6)
    made = contexts.of(text)
    assert contexts.of(text.clone()) is made
    seen = contexts.of(text, image)
    assert seen is not made and seen.images and not made.images
    assert contexts.of(text + 1e-3) is not made
    assert contexts.of(text) is not made, "two are kept, and this was the oldest"


@torch.inference_mode()
def test_a_tensor_is_read_once_and_not_kept(
    make_student: StudentMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []

    def sha256(data: bytes) -> object:
        counted.append(len(data))
        return hashlib.new("sha256", data)

    monkeypatch.setattr(module.hashlib, "sha256", sha256)
    contexts, text = Contexts(make_student(), kept=2), torch.randn(5, 10)
    for _ in range(6):
        contexts.of(text)
    assert counted == [200]
    assert len(contexts._digests) == 1
    del text
    gc.collect()
    assert len(contexts._digests) == 0
