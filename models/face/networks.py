"""Small convolutional networks, computed with numpy: no more is there where pictures are decoded.

The file (`training/face_networks.py` writes it) has float16 weights and, as its metadata, the
operations of each network. The page reads the same file, in client/web/face/networks.js.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from safetensors import safe_open

FILE = Path(__file__).parent / "assets" / "networks.safetensors"
Floats = npt.NDArray[np.float32]


class Network:
    """A network that takes square pictures, `side` pixels wide."""

    def __init__(self, graph: dict[str, Any], weights: dict[str, Floats]) -> None:
        self.side: int = graph["side"]
        self._graph, self._weights = graph, weights

    def __call__(self, pictures: Floats) -> list[Floats]:
        """Its outputs, each float32 [N, ...], for pictures [N, side, side, 3]."""
        graph = self._graph
        known: dict[int, Floats] = {graph["input"]: pictures}
        last = {tensor: k for k, step in enumerate(graph["steps"]) for tensor in step["in"]}
        for k, step in enumerate(graph["steps"]):
            inputs = [known[tensor] for tensor in step["in"]]
            known[step["out"]] = _STEPS[step["kind"]](self._weights, step, *inputs)
            for tensor in step["in"]:
                if last[tensor] == k:
                    known.pop(tensor, None)
        return [known[tensor] for tensor in graph["outputs"]]


@cache
def load(name: str) -> Network:
    """A network of the file: "detector" or "mesh"."""
    with safe_open(str(FILE), "np") as file:
        graph = json.loads(file.metadata()[name])
        mine = [key for key in file.keys() if key.startswith(f"{name}.")]  # noqa: SIM118
        return Network(graph, {key: file.get_tensor(key).astype(np.float32) for key in mine})


def _conv(weights: dict[str, Floats], step: dict[str, Any], x: Floats) -> Floats:
    kernel = weights[step["weight"]]
    views = _windows(x, step, kernel.shape[0])
    out = np.tensordot(views, kernel.transpose(2, 0, 1, 3), 3) + weights[step["bias"]]
    return np.maximum(out, 0) if step["relu"] else out


def _depthwise(weights: dict[str, Floats], step: dict[str, Any], x: Floats) -> Floats:
    kernel = weights[step["weight"]]
    views = _windows(x, step, kernel.shape[0])
    out = np.zeros(views.shape[:4], np.float32) + weights[step["bias"]]
    for row in range(kernel.shape[0]):
        for column in range(kernel.shape[1]):
            out += views[..., row, column] * kernel[row, column]
    return np.maximum(out, 0) if step["relu"] else out


def _maxpool(_: dict[str, Floats], step: dict[str, Any], x: Floats) -> Floats:
    return _windows(x, step, step["size"]).max((-1, -2))


def _windows(x: Floats, step: dict[str, Any], size: int) -> Floats:
    """[N, H', W', C, size, size]."""
    stride = step["stride"]
    views = sliding_window_view(_padded(x, step["pad"]), (size, size), (1, 2))  # pyright: ignore[reportCallIssue, reportArgumentType]
    return views[:, ::stride, ::stride]


def _padded(x: Floats, pad: list[int], channels: int = 0) -> Floats:
    top, bottom, left, right = pad
    if not (channels or any(pad)):
        return x
    return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, channels)))


def _prelu(weights: dict[str, Floats], step: dict[str, Any], x: Floats) -> Floats:
    return np.where(x > 0, x, x * weights[step["slope"]])


def _add(_: dict[str, Floats], step: dict[str, Any], x: Floats, y: Floats) -> Floats:
    return np.maximum(x + y, 0) if step["relu"] else x + y


_STEPS: dict[str, Callable[..., Floats]] = {
    "conv": _conv,
    "depthwise": _depthwise,
    "maxpool": _maxpool,
    "prelu": _prelu,
    "add": _add,
    "pad": lambda _, step, x: _padded(x, step["pad"], step["channels"]),
    "relu": lambda _, step, x: np.maximum(x, 0),
    "reshape": lambda _, step, x: x.reshape(len(x), -1, step["columns"]),
    "concatenation": lambda _, step, *parts: np.concatenate(parts, 1),
}
