"""Layers of speech features to audio tokens of each latent frame, causally (Wan2.2-S2V)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Video frames before a chunk that its tokens depend on.
HISTORY_FRAMES = 5


class SpeechProjector(nn.Module):
    """A weighted mean of the feature layers and three causal convolutions, 4 video frames to 1.

    Each latent frame gets `tokens` tokens, one that is learned, and one of the frame as a whole.
    The tokens of latent frame j depend on video frames 4 j - 5 to 4 j + 3: nothing ahead.
    """

    def __init__(self, layers: int, features: int, dim: int, tokens: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.full((1, layers, 1, 1), 0.01))
        self.encoder = _Encoder(features, dim, tokens)

    def forward(self, features: Tensor, history: Tensor | None = None) -> Tensor:
        """[B, T / 4, tokens + 2, d] of `features` [B, layers, C, T]; the last token is the whole.

        `history` [B, layers, C, 5] are the features right before; None: copies of the first ones,
        which is what the published code does for every chunk. Raises ValueError if T is not a
        multiple of 4.
        """
        if features.shape[3] % 4:
            raise ValueError(f"{features.shape[3]} video frames; expected a multiple of 4")
        if history is None:
            history = features[..., :1].expand(-1, -1, -1, HISTORY_FRAMES)
        return self.project(torch.cat((history, features), dim=3))[:, 2:]

    def project(self, features: Tensor) -> Tensor:
        """As `forward`, from the start of a file: [B, (T + 3) // 4, tokens + 2, d]."""
        weights = F.silu(self.weights)
        mean = ((features * weights) / weights.sum(dim=1, keepdim=True)).sum(dim=1)
        return self.encoder(mean)


class _CausalConv(nn.Module):
    """A convolution over time that looks back only; before the start, the first value repeats."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, 3, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T / stride] of `x` [B, C, T]; then a norm over channels and SiLU."""
        y = self.conv(F.pad(x, (2, 0), mode="replicate")).transpose(1, 2)
        return F.silu(F.layer_norm(y, y.shape[-1:], eps=1e-6)).transpose(1, 2)


class _Encoder(nn.Module):
    """Several heads for the tokens, one for the whole frame, behind the same two convolutions."""

    def __init__(self, features: int, dim: int, tokens: int) -> None:
        super().__init__()
        self.conv1_local = _HeadsConv(features, dim // 4, tokens)
        self.conv1_global = _CausalConv(features, dim // 4, 1)
        self.conv2 = _CausalConv(dim // 4, dim // 2, 2)
        self.conv3 = _CausalConv(dim // 2, dim, 2)
        self.final_linear = nn.Linear(dim, dim)
        self.padding_tokens = nn.Parameter(torch.zeros(1, 1, 1, dim))

    def forward(self, x: Tensor) -> Tensor:
        heads = self.conv3(self.conv2(self.conv1_local(x)))
        tokens = heads.unflatten(0, (x.shape[0], -1)).permute(0, 3, 1, 2)
        whole = self.final_linear(self.conv3(self.conv2(self.conv1_global(x))).transpose(1, 2))
        padding = self.padding_tokens.expand(*tokens.shape[:2], 1, -1)
        return torch.cat((tokens, padding, whole.unsqueeze(2)), dim=2)


class _HeadsConv(_CausalConv):
    """One convolution for all heads, which are rows of the batch from here on."""

    def __init__(self, features: int, width: int, heads: int) -> None:
        super().__init__(features, heads * width, 1)
        self._heads = heads

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(F.pad(x, (2, 0), mode="replicate"))
        y = y.unflatten(1, (self._heads, -1)).flatten(0, 1).transpose(1, 2)
        return F.silu(F.layer_norm(y, y.shape[-1:], eps=1e-6)).transpose(1, 2)
