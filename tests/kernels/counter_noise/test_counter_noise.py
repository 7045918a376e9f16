"""Noise by counter: the published vectors, the kernel bit for bit, and that it is normal."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

pytest.importorskip("triton")

import triton
import triton.language as tl

from rollcast.kernels.counter_noise.counter_noise import counter_noise, normal
from rollcast.kernels.counter_noise.normal_table import quantiles
from rollcast.kernels.counter_noise.reference import counter_noise_ref, normals_ref, philox_ref
from rollcast.kernels.dispatch import normal_noise, use_backend
from rollcast.kernels.launch import launch

from ...variants import examples


def test_the_first_words_are_the_published_ones() -> None:
    """Random123's known answer for a counter and a key of zeros."""
    assert [f"{word:08x}" for word in philox_ref(0, 0, 1)[0]] == [
        "6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8",
    ]  # fmt: skip


@pytest.mark.slow
@examples(
    8,
    25,
    key=st.integers(0, 2**63 - 1),
    stream=st.integers(0, 2**31 - 1),
    count=st.integers(1, 9000),
)
def test_the_kernel_draws_the_same_bits(
    device: torch.device, key: int, stream: int, count: int
) -> None:
    out = torch.full((count,), float("nan"), device=device)
    made = counter_noise(key, stream, out).cpu()
    wanted = torch.from_numpy(counter_noise_ref(key, stream, count))
    assert torch.equal(made, wanted)


@triton.jit
def normals_kernel(Out, Table, Words, count, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    words = tl.load(Words + at, mask=at < count, other=0).to(tl.uint32)
    tl.store(Out + at, normal(Table, words), mask=at < count)


def test_words_that_a_stream_meets_once_in_ages(device: torch.device) -> None:
    """Both ends of every octave, by the kernel as well."""
    ends = [0, 1, 2**31 - 1, 2**31, 2**32 - 1]
    octaves = [word + more for word in (1 << k for k in range(31)) for more in (-1, 0, 1)]
    words = np.array([*ends, *octaves], np.uint32)
    made = normals_ref(words)
    # the largest: two-sided, 2^-32
    assert 6.2 < made[0] < 6.5 and made[3] == -made[0]
    assert np.all(np.diff(np.abs(normals_ref(np.sort(words[words < 2**31])))) <= 0)
    out = torch.empty(len(words), device=device)
    table, given = (
        torch.from_numpy(each.copy()).to(device) for each in (quantiles(), words.astype(np.int64))
    )
    launch(normals_kernel, (1,), out, out, table, given, len(words), BLOCK=128)
    assert torch.equal(out.cpu(), torch.from_numpy(made))


def test_types_are_rounded_alike(device: torch.device) -> None:
    for dtype in (torch.float16, torch.bfloat16):
        if dtype == torch.bfloat16 and device.type == "cpu":
            continue
        wanted = torch.from_numpy(counter_noise_ref(5, 1, 4096)).to(dtype)
        assert torch.equal(
            counter_noise(5, 1, torch.empty_like(wanted, device=device)).cpu(), wanted
        )


def test_it_is_normal_and_streams_differ() -> None:
    made = counter_noise_ref(7, 0, 400_000).astype(np.float64)
    # 4 standard errors
    assert abs(made.mean()) < 4 / 400_000**0.5
    assert abs(made.var() - 1) < 4 * (2 / 400_000) ** 0.5
    for limit, share in ((1.0, 0.3173105), (2.0, 0.0455003), (3.0, 0.0026998)):
        error = (share * (1 - share) / 400_000) ** 0.5
        assert abs((np.abs(made) > limit).mean() - share) < 4 * error
    others = counter_noise_ref(7, 1, 400_000), counter_noise_ref(8, 0, 400_000)
    for other in (*others, np.roll(made, 1)):
        assert abs(np.mean(made * other)) < 4 / 400_000**0.5


def test_the_table_is_right_everywhere() -> None:
    """Against the distribution itself: 1e-6 of x, and nothing jumps between two rows."""
    from statistics import NormalDist

    drawn = np.random.default_rng(0).integers(0, 2**31, 3000, np.uint32)
    drawn = np.concatenate((drawn, drawn >> 9, drawn >> 18))
    wanted = [-NormalDist().inv_cdf((2 * int(word) + 1) / 2**33) for word in drawn]
    np.testing.assert_allclose(normals_ref(drawn), wanted, atol=3e-6)
    assert quantiles().shape == (256, 4)


def test_dispatch_draws_the_same_by_any_backend(device: torch.device) -> None:
    with use_backend("triton"):
        by_kernel = normal_noise(3, 2, (2, 5, 7), device, torch.float32)
    with use_backend("sdpa"):
        by_cpu = normal_noise(3, 2, (2, 5, 7), device, torch.float32)
    assert by_kernel.shape == (2, 5, 7) and torch.equal(by_kernel, by_cpu)
