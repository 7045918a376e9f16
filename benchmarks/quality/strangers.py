"""Portraits of rendered strangers for `bench quality --outside`: made by number, kept nowhere.

The renderer is no part of what is installed; a checkout of the project has it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
MOUTHS = ("closed", "smiling")
"""What their pictures show; the files begin with it."""


def draw_strangers(folder: Path, count: int) -> list[Path]:
    """Files of so many people with closed lips, and of as many who smile with their teeth.

    Raises ValueError where they cannot be rendered, and says why.
    """
    if not (_ROOT / "training/data").is_dir():
        raise ValueError("strangers are rendered by a checkout of the project; use --strangers 0")
    command = [sys.executable, "-m", "training.data", "portraits"]
    done = subprocess.run(
        [*command, "--out", str(folder), "--count", str(count)],
        cwd=_ROOT, env=os.environ | {"PYTHONSAFEPATH": ""}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines() or ["no reason given"]
        raise ValueError(
            f"strangers cannot be rendered: {said[-1]}; `make train-tools`, or use --strangers 0"
        )
    return sorted(folder.glob("*.jpg"))
