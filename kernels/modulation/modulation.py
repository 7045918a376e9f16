"""LayerNorm, scale and shift of a DiT block in one pass over the tokens.

Bytes, for N tokens of width d in a type of s bytes: as LayerNorm and addcmul it is two reads and
two writes, 4 N d s; here one read and one write, 2 N d s. Wan 1.3B at 480x832, a chunk of 3 frames:
4680 x 1536 x 2 = 14.4 MB a pass, so 28.8 MB less of 57.5 for each of two modulations a block and
one in the head, 61 a call: 8.8 GB a chunk of 5 calls. Gate and residual alone are one addcmul
already, three passes that a kernel of their own could not lower: they stay that.
"""

# A kernel takes plain values where Triton's stubs say constexpr.
# pyright: reportArgumentType=false

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from ..gpu import on_gpu
from ..launch import launch


@triton.jit(do_not_specialize=["tokens"])
def modulate_kernel(
    X, Shift, Scale, Out,
    tokens, eps,
    x_b, x_n, shift_b, shift_f, scale_b, scale_f, out_b, out_n,
    FRAME_TOKENS: tl.constexpr, WIDTH: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_T: tl.constexpr,
):  # fmt: skip
    """BLOCK_T tokens of one batch element."""
    batch = tl.program_id(1).to(tl.int64)
    token = tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T)[:, None]
    column = tl.arange(0, BLOCK_W)[None, :]
    inside = (token < tokens) & (column < WIDTH)
    at = token.to(tl.int64)
    x = tl.load(X + batch * x_b + at * x_n + column, mask=inside, other=0.0).to(tl.float32)
    mean = tl.sum(x, 1) / WIDTH
    centred = tl.where(inside, x - mean[:, None], 0.0)
    spread = tl.rsqrt(tl.sum(centred * centred, 1) / WIDTH + eps)
    # As the separate operations round: the norm first, then the modulated value.
    normed = (centred * spread[:, None]).to(X.dtype.element_ty).to(tl.float32)
    frame = token // FRAME_TOKENS
    shift_at = batch * shift_b + frame * shift_f + column
    scale_at = batch * scale_b + frame * scale_f + column
    shift = tl.load(Shift + shift_at, mask=inside, other=0.0).to(tl.float32)
    scale = tl.load(Scale + scale_at, mask=inside, other=0.0).to(tl.float32)
    made = normed * (1.0 + scale) + shift
    out_at = batch * out_b + at * out_n + column
    tl.store(Out + out_at, made.to(Out.dtype.element_ty), mask=inside)


def modulate(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    """norm(x) * (1 + scale) + shift; `x` [B, F * P, d], the others [B, F, 1, d].

    Raises ValueError for frames that do not divide the tokens.
    """
    batch, tokens, width = x.shape
    frames = shift.shape[1]
    if tokens % frames or shift.shape != scale.shape:
        raise ValueError(
            f"{tokens} tokens, shift {tuple(shift.shape)}, scale {tuple(scale.shape)}; expected "
            "whole frames and equal shapes"
        )
    x = x if x.stride(2) == 1 else x.contiguous()
    shift, scale = (y if y.stride(3) == 1 else y.contiguous() for y in (shift, scale))
    out = x.new_empty(x.shape)
    block_t = 1 if on_gpu(x) else 64
    launch(
        modulate_kernel, (triton.cdiv(tokens, block_t), batch), x,
        x, shift, scale, out, tokens, eps, *x.stride()[:2], *shift.stride()[:2],
        *scale.stride()[:2], *out.stride()[:2], FRAME_TOKENS=tokens // frames, WIDTH=width,
        BLOCK_W=triton.next_power_of_2(width), BLOCK_T=block_t,
    )  # fmt: skip
    return out
