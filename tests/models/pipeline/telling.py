"""Factories of models that cannot be made: their error tells what the test wants to know."""

from __future__ import annotations

import os
from typing import NoReturn


def environment(name: str) -> NoReturn:
    """Tell a variable of the stage's environment."""
    raise RuntimeError(f"{name} is {os.environ.get(name)}")


def parent() -> NoReturn:
    """Tell which process this one came from."""
    raise RuntimeError(f"parent {os.getppid()}.")
