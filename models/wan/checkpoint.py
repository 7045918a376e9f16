"""Weights in files as they are published, mapped into memory and read tensor by tensor.

`.pt` and `.pth` (as plain tensors, without running code from them), `.safetensors`, and shards of
either with their index. Nothing is copied before a tensor is used, and then it alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .weight_files import INDEX, BadCheckpoint, index_of_shards, weight_file

# Where the published .pt files keep the weights, averaged ones first.
SECTIONS = ("generator_ema", "generator", "model", "state_dict")


class Checkpoint(Mapping[str, Tensor]):
    """Named tensors in one file or several; each access maps the tensor anew and copies nothing.

    A tensor may be a view of the file: copy it before you change it.
    """

    def __init__(self, files: Mapping[str, Mapping[str, Tensor]]) -> None:
        """`files` says for each name which open file has it."""
        self._files = dict(files)

    def __getitem__(self, name: str) -> Tensor:
        return self._files[name][name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def open_checkpoint(path: Path, sections: Sequence[str] = SECTIONS) -> Checkpoint:
    """The tensors of a file, of the shards of an index, or of the only one of these in a folder.

    Of a `.pt` file with sections the first of `sections` that is there. Raises FileNotFoundError,
    and BadCheckpoint for files that cannot be read.
    """
    file = weight_file(path)
    if not file.name.endswith(INDEX):
        opened = _open_file(file, sections)
        return Checkpoint(dict.fromkeys(opened, opened))
    names = index_of_shards(file)
    shards = {shard: _open_file(file.parent / shard, sections) for shard in set(names.values())}
    absent = sorted(name for name, shard in names.items() if name not in shards[shard])
    if absent:
        raise BadCheckpoint(f"{file}: {len(absent)} names are not in their shard: {absent[:4]}")
    return Checkpoint({name: shards[shard] for name, shard in names.items()})


def _open_file(file: Path, sections: Sequence[str]) -> Mapping[str, Tensor]:
    if not file.exists():
        raise FileNotFoundError(f"no such file: {file}")
    if file.suffix == ".safetensors":
        return _Safetensors(file)
    return _pickled(file, sections)


class _Safetensors(Mapping[str, Tensor]):
    """An open `.safetensors` file."""

    def __init__(self, file: Path) -> None:
        try:
            self._file: Any = safe_open(file, "pt")
        except SafetensorError as error:
            raise BadCheckpoint(
                f"{file} is no whole safetensors file: {error}; download it again"
            ) from error
        self._names = tuple(self._file.keys())

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        return self._file.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _pickled(file: Path, sections: Sequence[str]) -> dict[str, Tensor]:
    try:
        content = _mapped(file)
    # whatever the bytes are: the unpickler of the older format raises anything
    except Exception as error:
        first = str(error).partition("\n")[0]
        raise BadCheckpoint(f"{file} cannot be read as plain tensors: {first}") from error
    if not isinstance(content, Mapping):
        raise BadCheckpoint(f"{file} holds a {type(content).__name__}; expected named weights")
    chosen = next((name for name in sections if isinstance(content.get(name), Mapping)), None)
    weights = content if chosen is None else content[chosen]
    tensors = {name: value for name, value in weights.items() if isinstance(value, Tensor)}
    if not tensors:
        raise BadCheckpoint(
            f"{file} has {', '.join(map(str, list(content)[:8]))}; expected weights, or one of "
            f"{', '.join(sections)}"
        )
    return tensors


def _mapped(file: Path) -> Any:
    """What torch saved; its older format cannot be mapped and is read whole."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap" not in str(error):
            raise
        return torch.load(file, map_location="cpu", weights_only=True)
