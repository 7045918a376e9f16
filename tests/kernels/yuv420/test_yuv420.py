"""Frames as YUV420: against the definition, and against what libswscale makes of the same RGB."""

from __future__ import annotations

import av
import numpy as np
import pytest
import torch
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from hypothesis import strategies as st
from torch import Tensor

pytest.importorskip("triton")

from rollcast.benchmarks.gpu.kernel_checks import poisoned_outputs
from rollcast.kernels import dispatch
from rollcast.kernels.yuv420.reference import yuv420_ref
from rollcast.kernels.yuv420.yuv420 import yuv420
from rollcast.kernels.yuv420.yuv420_torch import yuv420_torch

from ...variants import examples


def by_swscale(levels: Tensor) -> np.ndarray:
    """Of uint8 [T, 3, H, W], as encoders have had it made."""
    height, width = levels.shape[2:]
    pad = (0, 0), (0, height % 2), (0, width % 2), (0, 0)
    rgb = np.pad(levels.permute(0, 2, 3, 1).numpy(), pad, mode="edge")
    reformatter = VideoReformatter()
    return np.stack(
        [
            reformatter.reformat(
                av.VideoFrame.from_ndarray(np.ascontiguousarray(each), format="rgb24"),
                format="yuv420p",
                dst_colorspace=Colorspace.ITU601,
                dst_color_range=ColorRange.MPEG,
                threads=1,
            ).to_ndarray()
            for each in rgb
        ]
    )


@pytest.mark.slow
@examples(
    4,
    12,
    height=st.integers(1, 11),
    width=st.one_of(st.integers(1, 9), st.integers(255, 260)),
    layout=st.sampled_from(("rows", "channels last", "frames inside")),
    dtype=st.sampled_from((torch.float32, torch.float16)),
    seed=st.integers(0, 999),
)
def test_equals_the_definition(
    device: torch.device, height: int, width: int, layout: str, dtype: torch.dtype, seed: int
) -> None:
    torch.manual_seed(seed)
    frames = (0.8 * torch.randn(2, 3, height, width, device=device)).to(dtype)
    if layout == "channels last":
        frames = frames.contiguous(memory_format=torch.channels_last)
    elif layout == "frames inside":
        frames = frames.transpose(0, 1).contiguous().transpose(0, 1)
    with poisoned_outputs():
        made = yuv420(frames)
    wanted = yuv420_ref(frames.cpu())
    assert made.dtype == torch.uint8 and made.shape == wanted.shape
    # rounded, and a level between two may go either way: a third of a step of luma at most
    assert (made.cpu().double() - wanted).abs().max() <= 0.5 + 1e-3
    assert (yuv420_torch(frames).cpu().double() - wanted).abs().max() <= 0.5 + 1e-3


@pytest.mark.parametrize("size", [(48, 64), (33, 47), (16, 9)])
@pytest.mark.parametrize("kind", ["noise", "smooth"])
def test_is_that_of_swscale(size: tuple[int, int], kind: str) -> None:
    """Within one step: swscale adds in 15 bits."""
    torch.manual_seed(3)
    levels = torch.randint(0, 256, (2, 3, *size))
    if kind == "smooth":
        levels = levels // 64 + torch.linspace(10, 240, size[1]).long()
    made = yuv420_torch(levels / 127.5 - 1).numpy()
    wanted = by_swscale(levels.to(torch.uint8))
    apart = np.abs(made.astype(int) - wanted)
    assert made.shape == wanted.shape and apart.max() <= 1
    assert apart.mean() < 0.05


def test_the_kernel_and_torch_agree_through_dispatch(device: torch.device) -> None:
    torch.manual_seed(4)
    frames = torch.randn(1, 3, 6, 10, device=device)
    frames[0, :, 1, 2] = float("nan")
    made = []
    for backend in ("sdpa", "triton"):
        with dispatch.use_backend(backend):
            made.append(dispatch.yuv420(frames).int())
    assert (made[0] - made[1]).abs().max() <= 1
    assert made[0][0, 1, 2] == made[1][0, 1, 2] == 16, "what is no number is black"
