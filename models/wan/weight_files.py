"""Which files hold weights, told by their names alone; free of torch."""

from __future__ import annotations

import json
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


def index_of_shards(file: Path) -> dict[str, str]:
    """The shard of every name in an index. A shard lies beside its index.

    Raises BadCheckpoint for what is no index, and FileNotFoundError for shards that are not there.
    """
    try:
        shards = json.loads(file.read_bytes())["weight_map"]
        names = {str(name): str(shard) for name, shard in shards.items()}
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise BadCheckpoint(f"{file} is no index of shards: {error}") from error
    outside = [shard for shard in names.values() if Path(shard).name != shard]
    if outside:
        raise BadCheckpoint(f"{file} names {outside[0]!r}; a shard lies beside its index")
    wanted = sorted(set(names.values()))
    absent = [shard for shard in wanted if not (file.parent / shard).exists()]
    if absent:
        raise FileNotFoundError(
            f"{len(absent)} of the {len(wanted)} shards of {file} are missing: "
            f"{', '.join(absent[:4])}{', ...' * (len(absent) > 4)}; download them to its folder"
        )
    return names


def is_weight_file(path: Path) -> bool:
    """Whether a file is named as weights or their index are."""
    stem = path.name.removesuffix(INDEX) if path.name.endswith(INDEX) else path.name
    return Path(stem).suffix in SUFFIXES
