"""Which files hold weights, told by their names alone; free of torch."""

from __future__ import annotations

from pathlib import Path

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
INDEX = ".index.json"


class BadCheckpoint(ValueError):
    """A file that is no checkpoint, is cut off or lacks what was asked for; says which and what."""


def weight_file(path: Path) -> Path:
    """`path`, or in a folder the index or the only file of weights.

    Raises FileNotFoundError, and BadCheckpoint for a folder with several files and no index.
    """
    if not path.is_dir():
        if not path.exists():
            raise FileNotFoundError(f"no such file or folder: {path}")
        return path
    found = [file for file in sorted(path.iterdir()) if is_weight_file(file)]
    indexes = [file for file in found if file.name.endswith(INDEX)]
    chosen = indexes or found
    if not chosen:
        raise FileNotFoundError(f"no weights in {path}: no file ends in {', '.join(SUFFIXES)}")
    if len(chosen) > 1:
        raise BadCheckpoint(
            f"{path} holds {', '.join(file.name for file in chosen)}; name the file that is meant"
        )
    return chosen[0]


def is_weight_file(path: Path) -> bool:
    """Whether a file is named as weights or their index are."""
    stem = path.name.removesuffix(INDEX) if path.name.endswith(INDEX) else path.name
    return Path(stem).suffix in SUFFIXES
