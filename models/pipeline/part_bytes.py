"""Tensors to a part of a snapshot and back: safetensors' format, written in place.

Each tensor is copied once, from where it is into the part.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .part_file import Part, Room, bytes_of, in_message

_HEAD_STEP = 4096
"""Bytes of the head, with room for numbers that get longer."""
_TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_NAMES = {name: dtype for dtype, name in _TYPES.items()}


def pack_part(
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
    room: Room = in_message,
) -> Part:
    """These tensors, on whatever device, as one part. Raises OSError without memory for it.

    The next part of the same tensors usually has the same size, so that it finds room in this one.
    """
    # the widest first, so that each begins at a multiple of its own width
    ordered = sorted(tensors.items(), key=lambda pair: -pair[1].element_size())
    head: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, tensor in ordered:
        begin, end = end, end + tensor.numel() * tensor.element_size()
        head[name] = {
            "dtype": _TYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % _HEAD_STEP)
    part = room(8 + len(text) + end)
    view = bytes_of(part)
    view[:8] = len(text).to_bytes(8, "little")
    view[8 : 8 + len(text)] = text
    at = 8 + len(text)
    for _, tensor in ordered:
        if tensor.numel():
            _at(view, at, tensor.dtype, tuple(tensor.shape)).copy_(tensor)
        at += tensor.numel() * tensor.element_size()
    return part


def unpack_part(part: Part) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a part; the tensors are views of it: copy what should outlive it.

    Raises ValueError for what is no such part.
    """
    view = bytes_of(part)
    if view.readonly:
        # it came in a message, and is small
        view = memoryview(bytearray(view))
    try:
        start = 8 + int.from_bytes(view[:8], "little")
        head = json.loads(bytes(view[8:start]))
        metadata = head.pop("__metadata__", {})
        return {
            name: _at(view, start + each["data_offsets"][0], _NAMES[each["dtype"]], each["shape"])
            for name, each in head.items()
        }, metadata
    except (KeyError, TypeError, RuntimeError, UnicodeDecodeError) as error:
        raise ValueError(f"no part of a snapshot: {error}") from error


def _at(view: memoryview, at: int, dtype: torch.dtype, shape: Sequence[int]) -> Tensor:
    count = math.prod(shape)
    if not count:
        return torch.empty(tuple(shape), dtype=dtype)
    return torch.frombuffer(view, dtype=dtype, count=count, offset=at).reshape(tuple(shape))
