"""Speech heard between the blocks: each frame's tokens attend to its audio (Wan2.2-S2V)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import CrossAttention, Stream


class AdaptiveNorm(nn.Module):
    """Layer norm with shift and scale from an embedding of the frame's whole sound."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, 2 * dim)

    def forward(self, x: Tensor, whole: Tensor) -> Tensor:
        """`x` [B, N, d], `whole` [B, d]."""
        shift, scale = self.linear(F.silu(whole)).unsqueeze(1).chunk(2, dim=2)
        return F.layer_norm(x, x.shape[-1:], eps=1e-5) * (1 + scale) + shift


class AudioInjector(nn.Module):
    """Cross-attention to audio after some of the blocks, added to the video tokens."""

    def __init__(self, dim: int, heads: int, layers: Sequence[int]) -> None:
        super().__init__()
        self.injector = nn.ModuleList(CrossAttention(dim, heads, 1e-6) for _ in layers)
        self.injector_adain_layers = nn.ModuleList(AdaptiveNorm(dim) for _ in layers)
        self._order = {layer: place for place, layer in enumerate(layers)}

    def forward(self, stream: Stream, layer: int, speech: Tensor) -> Stream:
        """Tokens [B, F * P, d] behind block `layer`; `speech` [B, F, A + 1, d], the whole last."""
        if layer not in self._order:
            return stream
        x = stream.whole()
        place = self._order[layer]
        attention = self.injector[place]
        assert isinstance(attention, CrossAttention)
        per_frame = x.unflatten(1, (speech.shape[1], -1)).flatten(0, 1)
        audio = speech.flatten(0, 1)
        heard = self.injector_adain_layers[place](per_frame, audio[:, -1])
        key, value = attention.keys_values(audio[:, :-1])
        return Stream(x, attention(heard, key, value).reshape(x.shape))
