"""The way between two prompts' embeddings, beside float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rollcast.models.wan.text.blend import toward


def tokens(count: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(count, 24, generator=torch.Generator().manual_seed(seed)).to(dtype)


def turned64(a: Tensor, b: Tensor, share: float) -> Tensor:
    """A token on the way, by turning the first by a part of the angle towards the second."""
    a, b = a.double(), b.double()
    unit = a / a.norm()
    beside = b - (b @ unit) * unit
    angle = torch.atan2(beside.norm(), b @ unit) * share
    direction = angle.cos() * unit + angle.sin() * beside / beside.norm()
    return direction * (a.norm() + share * (b.norm() - a.norm()))


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9])
def test_slerp_turns_each_token_and_takes_lengths_linearly(share: float) -> None:
    a, b = tokens(5, 1), tokens(5, 2)
    made = toward(a, b, share, "slerp")
    wanted = torch.stack([turned64(x, y, share) for x, y in zip(a, b, strict=True)])
    # given back in float32
    assert (made.double() - wanted).abs().max() < 1e-6


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_linear_is_the_mean_of_padded_texts(share: float) -> None:
    a, b = tokens(3, 1), tokens(6, 2)
    made = toward(a, b, share, "linear")
    padded = torch.cat((a, torch.zeros(3, 24))).double()
    assert (made.double() - (padded + share * (b.double() - padded))).abs().max() < 1e-6
    assert made.shape == (6, 24) and toward(b, a, 0.5, "linear").shape == (6, 24)


def test_where_there_is_no_angle_it_is_linear() -> None:
    a = tokens(4, 1)
    b = torch.stack((a[0], -a[1], torch.zeros(24), 2 * a[3]))
    linear, made = toward(a, b, 0.25, "linear"), toward(a, b, 0.25, "slerp")
    assert made.isfinite().all() and (made - linear).abs().max() < 1e-5


@pytest.mark.parametrize("blend", ["linear", "slerp"])
def test_steps_of_equal_parts_are_the_same_way(blend: str) -> None:
    """A third, then half of what is left, then all of it: thirds of the way."""
    a, b = tokens(5, 3), tokens(5, 4)
    now = a
    for left, share in ((3, 1 / 3), (2, 2 / 3)):
        now = toward(now, b, 1 / left, blend)  # pyright: ignore[reportArgumentType]
        wanted = toward(a, b, share, blend)  # pyright: ignore[reportArgumentType]
        assert (now - wanted).abs().max() < 1e-5
    assert toward(now, b, 1.0, blend) is b  # pyright: ignore[reportArgumentType]


def test_types_are_those_of_the_new_text() -> None:
    a, b = tokens(2, 1, torch.bfloat16), tokens(2, 2, torch.bfloat16)
    made = toward(a, b, 0.5, "slerp")
    assert made.dtype == torch.bfloat16
    assert (made.float() - toward(a.float(), b.float(), 0.5, "slerp")).abs().max() < 0.02
