"""Layers against what their formulas say, in float64."""

from __future__ import annotations

import math

import pytest
import torch

from rollcast.kernels.dispatch import modulate, residual
from rollcast.models.student.blocks import Block, Head, RMSNorm, Stream, sinusoid


def test_sinusoid_puts_cosines_first() -> None:
    waves = sinusoid(torch.tensor([[833.333]]), 8)[0, 0]
    assert waves.dtype == torch.float64
    time = torch.tensor(833.333).double().item()
    for index in range(4):
        angle = time * 10_000 ** (-index / 4)
        assert waves[index].item() == pytest.approx(math.cos(angle), abs=1e-12)
        assert waves[index + 4].item() == pytest.approx(math.sin(angle), abs=1e-12)


def test_rms_norm() -> None:
    torch.manual_seed(0)
    norm = RMSNorm(10, 1e-6)
    torch.nn.init.normal_(norm.weight)
    x = torch.randn(3, 10)
    wide = x.double()
    wanted = wide / (wide.square().mean(-1, keepdim=True) + 1e-6).sqrt() * norm.weight
    torch.testing.assert_close(norm(x).double(), wanted, atol=1e-6, rtol=1e-6)
    assert norm(x.bfloat16()).shape == (3, 10)


def test_each_frame_has_its_own_modulation() -> None:
    torch.manual_seed(1)
    x, shift, scale = torch.randn(2, 6, 5), torch.randn(2, 3, 1, 5), torch.randn(2, 3, 1, 5)
    made = modulate(x, shift, scale, 1e-6)
    for token in range(6):
        frame = token // 2
        mean, std = x[1, token].mean(), x[1, token].std(correction=0)
        wanted = (x[1, token] - mean) / std * (1 + scale[1, frame, 0]) + shift[1, frame, 0]
        torch.testing.assert_close(made[1, token], wanted, atol=1e-4, rtol=1e-4)
    branch = torch.randn(2, 6, 5)
    torch.testing.assert_close(
        residual(x, branch, scale)[0, 5], x[0, 5] + scale[0, 2, 0] * branch[0, 5]
    )


def test_audio_of_one_frame_moves_only_that_frame() -> None:
    torch.manual_seed(2)
    block = Block(12, 16, 2, 1e-6, audio=True)
    x, audio = torch.randn(1, 6, 12), torch.randn(1, 3, 2, 12)
    changed = audio.clone()
    changed[:, 1] += 1.0
    text = torch.randn(2, 1, 2, 4, 6).unbind(0)

    def run(heard: torch.Tensor) -> torch.Tensor:
        zeros = torch.zeros(1, 3, 6, 12)
        stream = Stream(x)
        made = block(stream, zeros, lambda query, key, value: value, (text[0], text[1]), heard)
        return made.whole()

    moved = (run(changed) != run(audio)).any(dim=2)[0]
    assert moved.tolist() == [False, False, True, True, False, False]


def test_wide_head_looks_at_neighbours_within_the_frame() -> None:
    torch.manual_seed(3)
    head = Head(6, 2, 1e-6, kernel=3)
    x, embedding = torch.randn(1, 18, 6), torch.randn(1, 2, 6)
    changed = x.clone()
    changed[0, 0] = torch.randn(6)
    difference = (head(Stream(x), embedding, 3, 3) != head(Stream(changed), embedding, 3, 3)).any(
        -1
    )[0]
    assert difference[0, :2, :2].all()
    assert not difference[0, 2].any()
    assert not difference[1].any()
