"""Layers of the Wan causal DiT (Wan 2.1 and Self-Forcing, Apache-2.0), by their published names."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels.dispatch import (
    linear_gelu,
    modulate,
    normed_attention,
    residual,
    residual_layer_norm,
    residual_modulate,
    rms_norm,
    row_scaled_linear,
)
from .row_scaled_linear import RowScaledLinear, join

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
KeysValues = tuple[Tensor, Tensor]


class FusedAttend(Protocol):
    """An `Attend` that norms, places and stores what was projected in one kernel."""

    def attend_projected(self, norms: QKVO, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention [B, H, N, D] of projections [B, N, d] before the norms of `norms`."""
        ...


@dataclass(slots=True)
class Stream:
    """Tokens `x` [B, N, d] between parts of the DiT, with `gate` * `branch` yet to be added.

    The part that comes begins with a norm of the sum, and one kernel does both. `gate`
    [B, F, 1, d]; None: one. Without a `branch` nothing is to be added; so it is behind a norm, and
    what was added need not be kept.
    """

    x: Tensor
    branch: Tensor | None = None
    gate: Tensor | None = None

    def whole(self) -> Tensor:
        """The tokens with it."""
        return self.x if self.branch is None else residual(self.x, self.branch, self.gate)

    def modulated(self, shift: Tensor, scale: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        """`whole`, and norm(whole) * (1 + scale) + shift."""
        if self.branch is None:
            return self.x, modulate(self.x, shift, scale, eps)
        self.x, normed = residual_modulate(self.x, self.branch, self.gate, shift, scale, eps)
        self.branch = self.gate = None
        return self.x, normed

    def normed(self, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
        """`whole`, and `norm` of it, of what a part left."""
        assert self.branch is not None
        weight, bias = norm.weight, norm.bias
        self.x, normed = residual_layer_norm(self.x, self.branch, self.gate, weight, bias, norm.eps)
        self.branch = self.gate = None
        return self.x, normed


class RMSNorm(nn.Module):
    """Root-mean-square norm over the last dimension, in float32; the weight is applied after."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)


class QKVO(nn.Module):
    """The projections that every attention of the DiT has."""

    def __init__(self, dim: int, heads: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim)
        self.v = nn.Linear(dim, dim)
        self.o = nn.Linear(dim, dim)
        self.norm_q = RMSNorm(dim, eps)
        self.norm_k = RMSNorm(dim, eps)

    def queries(self, x: Tensor) -> Tensor:
        """[B, H, N, D] of `x` [B, N, d]."""
        return self._split(self.norm_q(self.q(x)))

    def normed_heads(
        self, query: Tensor, key: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """[B, H, N, D] each, of what was projected, [B, N, d]."""
        return self._split(self.norm_q(query)), self._split(self.norm_k(key)), self._split(value)

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, H, N, D] each, of `x` [B, N, d]."""
        return self._split(self.norm_k(self.k(x))), self._split(self.v(x))

    def merge(self, x: Tensor) -> Tensor:
        """The output projection of heads [B, H, N, D], [B, N, d]."""
        return self.o(x.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class SelfAttention(QKVO):
    """Attention among video tokens; `attend` brings the positions, the past and the mask."""

    def __init__(self, dim: int, heads: int, eps: float) -> None:
        super().__init__(dim, heads, eps)
        # Weights and biases, and in float8 their scales between them.
        self._packed: tuple[Tensor, ...] | None = None

    def pack(self) -> None:
        """Make one matrix of the projections of queries, keys and values, where kernels take all.

        Their names and values stay: they become parts of it. Call it once weights are where they
        will stay; projections that are not plain linear layers any more are left as they are.
        """
        parts = (self.q, self.k, self.v)
        scaled = [part for part in parts if isinstance(part, RowScaledLinear)]
        if len(scaled) == len(parts):
            self._packed = join(scaled)
            return
        if not all(type(part) is nn.Linear for part in parts):
            return
        if not all(type(part.weight) is nn.Parameter for part in parts):
            return
        with torch.no_grad():
            weight = torch.cat([part.weight for part in parts])
            bias = torch.cat([part.bias for part in parts])
        pieces = zip(parts, weight.chunk(3), bias.chunk(3), strict=True)
        for part, its_weight, its_bias in pieces:
            part.weight = nn.Parameter(its_weight, requires_grad=part.weight.requires_grad)
            part.bias = nn.Parameter(its_bias, requires_grad=part.bias.requires_grad)
        self._packed = weight, bias

    @property
    def packed(self) -> tuple[Tensor, ...] | None:
        """What `pack` made: the weights, in float8 their scales, and the biases; None: nothing."""
        return self._packed

    def forward(self, x: Tensor, attend: Attend | FusedAttend) -> Tensor:
        if not callable(attend):
            return self.merge(attend.attend_projected(self, *self._projected(x)))
        key, value = self.keys_values(x)
        return self.merge(attend(self.queries(x), key, value))

    def _projected(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [B, N, d] before norms; packed ones lie beside each other."""
        if self._packed is None:
            return self.q(x), self.k(x), self.v(x)
        scaled = len(self._packed) == 3
        product = row_scaled_linear(x, *self._packed) if scaled else F.linear(x, *self._packed)
        query, key, value = product.chunk(3, dim=2)
        return query, key, value


class CrossAttention(QKVO):
    """Attention to keys and values made elsewhere, without positions and without a mask.

    With `image` the same queries also attend to an image (Wan 2.1 image to video), and both results
    are added up.
    """

    def __init__(self, dim: int, heads: int, eps: float, *, image: bool = False) -> None:
        super().__init__(dim, heads, eps)
        self.k_img = nn.Linear(dim, dim) if image else None
        self.v_img = nn.Linear(dim, dim) if image else None
        self.norm_k_img = RMSNorm(dim, eps) if image else None

    def image_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, H, N, D] each, of an image's tokens `x` [B, N, d]."""
        assert self.k_img is not None and self.v_img is not None and self.norm_k_img is not None
        return self._split(self.norm_k_img(self.k_img(x))), self._split(self.v_img(x))

    def forward(
        self, x: Tensor, key: Tensor, value: Tensor, image: KeysValues | None = None
    ) -> Tensor:
        seen = ((key, value),) if image is None else ((key, value), image)
        norm = self.norm_q
        return self.o(normed_attention(self.q(x), norm.weight, norm.eps, *seen))


class Block(nn.Module):
    """Self-attention, text, image and audio cross-attention and feed-forward.

    Modulated per frame, or per token if each of these counts as a frame.
    """

    def __init__(
        self, dim: int, ffn_dim: int, heads: int, eps: float, *, audio: bool, image: bool = False
    ) -> None:
        super().__init__()
        self.dim, self.eps = dim, eps
        self.modulation = nn.Parameter(torch.randn(1, 6, dim) / dim**0.5)
        self.self_attn = SelfAttention(dim, heads, eps)
        self.norm3 = nn.LayerNorm(dim, eps)
        self.cross_attn = CrossAttention(dim, heads, eps, image=image)
        self.norm_audio = nn.LayerNorm(dim, eps) if audio else None
        self.audio_attn = CrossAttention(dim, heads, eps) if audio else None
        self.ffn = nn.Sequential(
            nn.Linear(dim, ffn_dim), nn.GELU(approximate="tanh"), nn.Linear(ffn_dim, dim)
        )

    def forward(
        self,
        stream: Stream,
        modulation: Tensor,
        attend: Attend | FusedAttend,
        text: KeysValues,
        audio: Tensor | None,
        image: KeysValues | None = None,
    ) -> Stream:
        """Tokens [B, F * P, d]; `modulation` [B, F, 6, d], its own added, `audio` [B, F, A, d]."""
        shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = modulation.unsqueeze(3).unbind(2)
        x, h = stream.modulated(shift, scale, self.eps)
        x, h = Stream(x, self.self_attn(h, attend), gate).normed(self.norm3)
        stream = Stream(x, self.cross_attn(h, *text, image))
        if audio is not None:
            stream = self._hear(stream, audio)
        x, h = stream.modulated(ffn_shift, ffn_scale, self.eps)
        return Stream(x, self._feed_forward(h), ffn_gate)

    def _feed_forward(self, x: Tensor) -> Tensor:
        first, _, last = self.ffn
        assert isinstance(first, nn.Linear)
        if isinstance(last, RowScaledLinear):
            return last(first(x), gelu=True)
        return last(linear_gelu(x, first))

    def _hear(self, stream: Stream, audio: Tensor) -> Stream:
        """Attention of each frame to its own audio tokens."""
        assert self.audio_attn is not None and self.norm_audio is not None
        x, h = stream.normed(self.norm_audio)
        per_frame = h.unflatten(1, (audio.shape[1], -1)).flatten(0, 1)
        key, value = self.audio_attn.keys_values(audio.flatten(0, 1))
        return Stream(x, self.audio_attn(per_frame, key, value).reshape(x.shape))


class Head(nn.Module):
    """Modulated projection to patches; `kernel` 3 looks at the neighbouring tokens as well."""

    def __init__(self, dim: int, patch_values: int, eps: float, kernel: int) -> None:
        super().__init__()
        self.eps = eps
        self.modulation = nn.Parameter(torch.randn(1, 2, dim) / dim**0.5)
        self.head = (
            nn.Linear(dim, patch_values)
            if kernel == 1
            else nn.Conv2d(dim, patch_values, kernel, padding=kernel // 2)
        )

    def forward(
        self,
        stream: Stream,
        embedding: Tensor,
        rows: int,
        columns: int,
        raster: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """[B, F, rows, columns, patch_values] of tokens [B, F * P, d].

        `embedding` is [B, F, d], or [B, F * P, d] for one of each token. `raster` puts tokens that
        come in another order back into rows.
        """
        batch = stream.x.shape[0]
        shift, scale = (self.modulation + embedding.unsqueeze(2)).unsqueeze(3).unbind(2)
        x = stream.modulated(shift, scale, self.eps)[1]
        x = x if raster is None else raster(x)
        x = x.view(-1, rows, columns, x.shape[-1])
        if isinstance(self.head, nn.Linear):
            patches = self.head(x)
        else:
            patches = self.head(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return patches.unflatten(0, (batch, -1))


def sinusoid(timesteps: Tensor, dim: int) -> Tensor:
    """Embedding [..., dim] of `timesteps`, cosines first; computed in float64, returned in it."""
    half = dim // 2
    exponent = torch.arange(half, dtype=torch.float64, device=timesteps.device) / half
    angles = timesteps.double().unsqueeze(-1) * 10_000.0**-exponent
    return torch.cat((angles.cos(), angles.sin()), dim=-1)


def float32_sinusoid(values: Tensor, dim: int) -> Tensor:
    """The same as diffusers and FastVideo compute it, float32 all the way, which differs.

    The last bit of a frequency is six thousandths of a radian for an id of 100000, and what it is
    depends on whose exponential a machine has. Here it is that of the recorded runs on any machine:
    the nearest float32, except that a 200th of a bit short of halfway counts as halfway.
    """
    half = dim // 2
    places = torch.arange(half, dtype=torch.float32, device=values.device)
    exponents = -math.log(10_000.0) * places / half
    frequencies = (exponents.double().exp() * (1 + 2.0**-31)).float()
    angles = values.float().unsqueeze(-1) * frequencies
    return torch.cat((angles.cos(), angles.sin()), dim=-1)
