"""What the VAEs of Wan 2.1 and 2.2 are built of, each part as a stream that remembers.

Architecture and parameter names after Wan 2.1 (arXiv 2503.20314, Apache-2.0) and Wan 2.2's 5B model
(Apache-2.0), whose levels have a shortcut around them. Everything is [B, C, T, h, w]. A convolution
over time looks back two frames; what it saw last is kept in the stream's own memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels.dispatch import attention, backend_for, norm_silu, sum_norm_silu
from ...kernels.gpu import on_gpu

_LOOK_BACK = 2
Memory = dict[str, Tensor]


class Sum:
    """`x` + `branch` that nobody has added up yet: a norm that comes next does both in one pass.

    The sum takes the place of `branch`.
    """

    def __init__(self, x: Tensor, branch: Tensor) -> None:
        self._x: Tensor | None = x
        self._branch = branch

    def whole(self) -> Tensor:
        """The sum."""
        if self._x is not None:
            self._branch.add_(self._x)
            self._x = None
        return self._branch

    def normed(self, weight: Tensor, room: Callable[[Tensor], Tensor]) -> Tensor:
        """What `room` gives for the shape of the sum, its new frames being norm and SiLU of it."""
        if self._x is None or backend_for(self._branch) != "triton":
            seen = room(self.whole())
            norm_silu(self._branch, weight, seen[:, :, _LOOK_BACK:])
        else:
            seen = room(self._branch)
            new = seen[:, :, _LOOK_BACK:]
            self._branch = sum_norm_silu(self._x, self._branch, weight, new)
            self._x = None
        return seen


def whole(x: Tensor | Sum) -> Tensor:
    """`x`, added up."""
    return x.whole() if isinstance(x, Sum) else x


class Streaming(nn.Module, ABC):
    """A part with a memory; `name` is the key that its own is kept under."""

    name = ""

    @abstractmethod
    def stream(self, x: Tensor, memory: Memory) -> Tensor:
        """What it makes of the stream's next frames `x`."""


class CausalConv(nn.Conv3d, Streaming):
    """A convolution with 2 frames of look-back, which are zeros at the start of a stream."""

    def __init__(self, inputs: int, outputs: int, *, spatial: int = 3) -> None:
        edge = spatial // 2
        super().__init__(inputs, outputs, (3, spatial, spatial), padding=(0, edge, edge))

    def stream(self, x: Tensor, memory: Memory) -> Tensor:
        """The next frames [B, C', T, h, w] of `x` [B, C, T, h, w]."""
        seen = self._room(x, memory)
        seen[:, :, _LOOK_BACK:] = x
        return self._over(seen, memory)

    def normed(self, norm: Norm, x: Tensor | Sum, memory: Memory) -> Tensor:
        """As `stream`, of what `norm` and SiLU make of `x`."""
        if isinstance(x, Sum):
            return self._over(x.normed(norm.gamma, lambda like: self._room(like, memory)), memory)
        seen = self._room(x, memory)
        norm_silu(x, norm.gamma, seen[:, :, _LOOK_BACK:])
        return self._over(seen, memory)

    def _room(self, x: Tensor, memory: Memory) -> Tensor:
        """What it saw last, and room behind it for the shape of `x`, in the layout of weights."""
        past, frames = memory.get(self.name), _LOOK_BACK + x.shape[2]
        seen = empty_like_weight(self.weight, (*x.shape[:2], frames, *x.shape[3:]))
        seen[:, :, :_LOOK_BACK] = 0 if past is None else past
        return seen

    def _over(self, seen: Tensor, memory: Memory) -> Tensor:
        memory[self.name] = seen[:, :, -_LOOK_BACK:].clone()
        return _as_by_cudnn(self(seen), self.weight)


class HalvingConv(nn.Conv3d, Streaming):
    """Half as many frames; the stream's first stays as it is, and the next ones see it."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, dim, (3, 1, 1), stride=(2, 1, 1))

    def stream(self, x: Tensor, memory: Memory) -> Tensor:
        """Of an odd number of frames at the start of a stream, of an even number later."""
        past = memory.get(self.name)
        memory[self.name] = x[:, :, -1:].clone()
        if past is not None:
            return self(torch.cat((past, x), dim=2))
        first = x[:, :, :1]
        return first if x.shape[2] == 1 else torch.cat((first, self(x)), dim=2)


class Norm(nn.Module):
    """Unit length over channels, times the square root of their number and a learned factor."""

    def __init__(self, dim: int, axes: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim, *(1,) * axes))

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=1) * x.shape[1] ** 0.5 * self.gamma


class Residual(nn.Module):
    """Two convolutions, with a path around them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            Norm(inputs, 3),
            nn.SiLU(),
            CausalConv(inputs, outputs),
            Norm(outputs, 3),
            nn.SiLU(),
            nn.Identity(),
            CausalConv(outputs, outputs),
        )
        self.shortcut = nn.Conv3d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def stream(self, x: Tensor | Sum, memory: Memory) -> Sum:
        """What it makes of the stream's next frames `x`."""
        made = whole(through(self.residual, x, memory))
        past = self.shortcut(whole(x))
        if isinstance(self.shortcut, nn.Conv3d):
            # a weight of one pixel has no layout: it is that of what came
            past = _as_by_cudnn(past, made)
        return Sum(past, made)


class FrameAttention(nn.Module):
    """Attention among the pixels of each frame, one head."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = Norm(dim, 2)
        self.to_qkv = nn.Conv2d(dim, 3 * dim, 1)
        self.proj = nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        frames = x.transpose(1, 2).flatten(0, 1)
        pixels = self.to_qkv(self.norm(frames)).flatten(2).transpose(1, 2).unsqueeze(1)
        mixed = attention(*pixels.chunk(3, dim=3))
        mixed = mixed.squeeze(1).transpose(1, 2).reshape(frames.shape)
        return x + self.proj(mixed).unflatten(0, (x.shape[0], -1)).transpose(1, 2)


class Upsample(Streaming):
    """Twice as high and wide, and twice as many frames but for the stream's first."""

    def __init__(self, dim: int, outputs: int, doubles_time: bool) -> None:
        super().__init__()
        self.resample = nn.Sequential(nn.Identity(), nn.Conv2d(dim, outputs, 3, padding=1))
        self.time_conv = CausalConv(dim, 2 * dim, spatial=1) if doubles_time else None

    def stream(self, x: Tensor, memory: Memory) -> Tensor:
        if self.time_conv is not None:
            x = self._double_time(self.time_conv, x, memory)
        frames = x.transpose(1, 2).flatten(0, 1)
        larger = F.interpolate(frames, scale_factor=2.0, mode="nearest-exact")
        made = _as_by_cudnn(self.resample(larger), self.resample[1].weight)
        return made.unflatten(0, (x.shape[0], -1)).transpose(1, 2)

    @staticmethod
    def _double_time(conv: CausalConv, x: Tensor, memory: Memory) -> Tensor:
        """The first frame of a stream stays one, and the frames behind it do not see it."""
        started = f"{conv.name}.started"
        first = x[:, :, :0] if started in memory else x[:, :, :1]
        _start(memory, started, x)
        rest = x[:, :, first.shape[2] :]
        if not rest.shape[2]:
            return first
        pairs = conv.stream(rest, memory).unflatten(1, (2, -1))
        begins, count = first.shape[2], rest.shape[2]
        shape = (*x.shape[:2], begins + 2 * count, *x.shape[3:])
        doubled = empty_like_weight(conv.weight, shape)
        doubled[:, :, :begins] = first
        doubled[:, :, begins:].unflatten(2, (count, 2)).copy_(pairs.permute(0, 2, 3, 1, 4, 5))
        return doubled


class Downsample(Streaming):
    """Half as high and wide, and half as many frames but for the stream's first."""

    def __init__(self, dim: int, halves_time: bool) -> None:
        super().__init__()
        # zeros on the right and at the bottom only
        self.resample = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(dim, dim, 3, stride=2))
        self.time_conv = HalvingConv(dim) if halves_time else None

    def stream(self, x: Tensor, memory: Memory) -> Tensor:
        frames = self.resample(x.transpose(1, 2).flatten(0, 1))
        x = (
            _as_by_cudnn(frames, self.resample[1].weight)
            .unflatten(0, (x.shape[0], -1))
            .transpose(1, 2)
        )
        return x if self.time_conv is None else self.time_conv.stream(x, memory)


class UpLevel(Streaming):
    """A level of Wan 2.2's decoder: residuals, then `upsample` if there is one, a shortcut around.

    The shortcut copies each value to the pixels and frames that it becomes.
    """

    def __init__(
        self, inputs: int, outputs: int, residuals: int, upsample: Upsample | None
    ) -> None:
        super().__init__()
        self.upsamples = nn.Sequential(
            *(Residual(inputs if k == 0 else outputs, outputs) for k in range(residuals)),
            *([] if upsample is None else [upsample]),
        )
        self._outputs = outputs
        self._upsamples = upsample is not None
        self._frames = 2 if upsample is not None and upsample.time_conv is not None else 1

    def stream(self, x: Tensor, memory: Memory) -> Tensor:
        started = f"{self.name}.started"
        at_start = started not in memory
        _start(memory, started, x)
        made = whole(through(self.upsamples, x, memory))
        if not self._upsamples:
            return made
        if at_start:
            self._add_copies(made[:, :, :1], x[:, :, :1], self._frames - 1)
            self._add_copies(made[:, :, 1:], x[:, :, 1:], 0)
        else:
            self._add_copies(made, x, 0)
        return made

    def _add_copies(self, made: Tensor, x: Tensor, skipped: int) -> None:
        """Add to `made` the values of `x` that each of its own is a copy of, in one pass.

        Of a latent's frames the first `skipped` are not there. Channels count frames, rows and
        columns of what they become, as far as there are enough of them: the rest is repeated.
        """
        frames, each = self._frames, x.shape[1] // self._outputs
        times = min(frames, each)
        rows = min(2, each // times)
        parts = x.unflatten(1, (self._outputs, times, rows, each // (times * rows)))
        copies = parts.expand(-1, -1, frames, 2, 2, -1, -1, -1)[:, :, skipped:]
        squares = made.unflatten(4, (-1, 2)).unflatten(3, (-1, 2))
        squares.unflatten(2, (-1, frames - skipped)).add_(copies.permute(0, 1, 5, 2, 6, 3, 7, 4))


class DownLevel(Streaming):
    """A level of Wan 2.2's encoder: residuals, then `downsample` if any, with a shortcut around.

    The shortcut is the mean of the values that become one.
    """

    def __init__(
        self, inputs: int, outputs: int, residuals: int, downsample: Downsample | None
    ) -> None:
        super().__init__()
        self.downsamples = nn.Sequential(
            *(Residual(inputs if k == 0 else outputs, outputs) for k in range(residuals)),
            *([] if downsample is None else [downsample]),
        )
        self._outputs = outputs
        self._side = 1 if downsample is None else 2
        self._frames = 2 if downsample is not None and downsample.time_conv is not None else 1

    def stream(self, x: Tensor, memory: Memory) -> Tensor:
        return whole(through(self.downsamples, x, memory)) + self._mean(x)

    def _mean(self, x: Tensor) -> Tensor:
        # the stream's first frame is halved with zeros before it
        x = F.pad(x, (0, 0, 0, 0, x.shape[2] % self._frames, 0))
        parts = x.unflatten(4, (-1, self._side)).unflatten(3, (-1, self._side))
        parts = parts.unflatten(2, (-1, self._frames)).permute(0, 1, 3, 5, 7, 2, 4, 6)
        return parts.flatten(1, 4).unflatten(1, (self._outputs, -1)).mean(2)


def middle(dim: int) -> nn.Sequential:
    """What encoder and decoder have where pictures are smallest."""
    return nn.Sequential(Residual(dim, dim), FrameAttention(dim), Residual(dim, dim))


def through(layers: nn.Sequential, x: Tensor | Sum, memory: Memory) -> Tensor | Sum:
    """`x` through one layer after another, with the memory of those that have one.

    A norm and the SiLU behind it are made with the convolution that follows, and so is the sum that
    a residual ends with.
    """
    norm: Norm | None = None
    for layer in layers:
        if isinstance(layer, Norm):
            norm = layer
        elif isinstance(layer, Residual):
            x = layer.stream(x, memory)
        elif norm is None:
            x = whole(x)
            x = layer.stream(x, memory) if isinstance(layer, Streaming) else layer(x)
        elif isinstance(layer, CausalConv):
            x, norm = layer.normed(norm, x, memory), None
    return x


def _as_by_cudnn(made: Tensor, like: object) -> Tensor:
    """What a convolution made, on `meta` in the layout that a GPU gives it: that of `like`.

    There torch does not know of it.
    """
    assert isinstance(like, Tensor)
    if not (made.is_meta and on_gpu(made)) or _layout(like) == torch.contiguous_format:
        return made
    batch, channels, *sides = made.shape
    return made.contiguous().view(batch, *sides, channels).movedim(-1, 1)


def _start(memory: Memory, started: str, x: Tensor) -> None:
    """Note once that the stream has begun, where `x` is: nothing is to be sent there later."""
    if started not in memory:
        memory[started] = torch.ones(1, device=x.device)


def empty_like_weight(weight: Tensor, shape: Sequence[int]) -> Tensor:
    """Room in the type and the layout of a convolution's weight."""
    layout = _layout(weight)
    return torch.empty(tuple(shape), dtype=weight.dtype, device=weight.device, memory_format=layout)


def _layout(weight: Tensor) -> torch.memory_format:
    last = torch.channels_last if weight.dim() == 4 else torch.channels_last_3d
    is_last = weight.is_contiguous(memory_format=last) and not weight.is_contiguous()
    return last if is_last else torch.contiguous_format


def check_frames(frames: Tensor, *, each: int, side: int, first: bool) -> None:
    """Raise ValueError unless an encoder takes `frames` [B, T, 3, H, W] next.

    That is `each` or a multiple of them, with one more at the `first` of a stream; `side` has to
    divide height and width.
    """
    count, height, width = frames.shape[1], *frames.shape[3:]
    if count < 1 or (count - first) % each:
        more = "1 and " if first else ""
        raise ValueError(f"{count} frames; expected {more}a multiple of {each}")
    if height % side or width % side:
        raise ValueError(f"frames of {width}x{height}; {side} has to divide both sides")


def put_channels_last(module: nn.Module) -> None:
    """Lay the weights of convolutions out as tensor cores take them; what they make follows."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Conv3d):
            last = torch.channels_last if isinstance(part, nn.Conv2d) else torch.channels_last_3d
            part.weight.data = part.weight.data.contiguous(memory_format=last)


def name_parts(root: nn.Module) -> None:
    """Give each part of `root` its place in it as the key of its memory."""
    for name, module in root.named_modules():
        if isinstance(module, Streaming):
            module.name = name


def check_levels(times: Sequence[bool], multipliers: Sequence[int], what: str) -> None:
    """Raise ValueError unless there is a value between every two levels."""
    if len(times) != len(multipliers) - 1:
        raise ValueError(
            f"{len(times)} values in {what} for {len(multipliers)} levels; expected one less than "
            "levels"
        )


def patches(frames: Tensor, side: int) -> Tensor:
    """Squares of `side` pixels as channels: [B, C, T, H, W] to [B, C side^2, T, H / side, ...].

    Columns count before rows, as published.
    """
    parts = frames.unflatten(4, (-1, side)).unflatten(3, (-1, side))
    return parts.permute(0, 1, 6, 4, 2, 3, 5).flatten(1, 3)


def pixels(patched: Tensor, side: int) -> Tensor:
    """The opposite of `patches`."""
    parts = patched.unflatten(1, (-1, side, side))
    return parts.permute(0, 1, 4, 5, 3, 6, 2).flatten(5, 6).flatten(3, 4)
