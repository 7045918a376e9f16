"""What else the bits of a stream depend on: weights, versions, the processor."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ...models.processor import instructions
from ...models.registry import own_models, own_weights
from ..protocol.hello import server_version

_PACKAGES = ("torch", "numpy", "triton")
_BLOCK = 1 << 20


def machine_of(model: str, weights: Iterable[str], threads: int | None) -> dict[str, str]:
    """All of it by name; reads every byte of the weights."""
    found = {
        "rollcast": server_version(),
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
        "processor": f"{platform.machine()} {' '.join(instructions())}".strip(),
        "threads": "its own choice" if threads is None else str(threads),
        "weights": _digest(_files(model, weights)),
    }
    return {name: value for name, value in found.items() if value}


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What is not as it was, a line each."""
    names = [*then, *(name for name in now if name not in then)]
    return [
        f"{name}: {then.get(name, 'none')} then, {now.get(name, 'none')} now"
        for name in names
        if then.get(name) != now.get(name)
    ]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _files(model: str, weights: Iterable[str]) -> list[Path]:
    """The files of a model's weights that are here; of the project's own, those in its folder."""
    given = own_weights(model) if model in own_models() else [Path(each) for each in weights]
    inside = (sorted(each.rglob("*.safetensors")) if each.is_dir() else [each] for each in given)
    return [path for paths in inside for path in paths if path.is_file()]


def _digest(files: Iterable[Path]) -> str:
    """SHA-256 of their bytes, one behind the other; empty without files."""
    digest, count = hashlib.sha256(), 0
    for path in files:
        count += 1
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest() if count else ""
