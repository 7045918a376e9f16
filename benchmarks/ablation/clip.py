"""A short looping clip of several variants side by side, at the end of their streams."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..webp import fitted, labelled
from .ablation import kept_file
from .figures import Report


def write_clip(
    report: Report, kept: Path, keys: Sequence[str], labels: Sequence[str], out: Path
) -> int:
    """Write an animated WebP of the streams `keys`, under their `labels`; its bytes.

    As good as fits into 400 KB; if nothing does, half as many frames a second. Raises ValueError
    for a stream that the report lacks, FileNotFoundError for one whose frames were not kept.
    """
    known = [stream["key"] for stream in report["streams"]]
    for key in keys:
        if key not in known:
            raise ValueError(f"unknown stream {key!r}; measured: {', '.join(known)}")
        if not kept_file(kept, key).exists():
            raise FileNotFoundError(
                f"the frames of {key} are not in {kept}; measure again into another --out"
            )
    shown = []
    for key in keys:
        with np.load(kept_file(kept, key)) as file:
            shown.append(file["frames"])
    data = fitted(labelled(shown, labels))
    out.write_bytes(data)
    return len(data)
