"""Variants of a test in two lanes: some in every run, the others where there is time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def some_of(values: Iterable[Any], *kept: Any) -> list[Any]:
    """All `values`, for a `parametrize`; those that are not `kept` are for the long lane."""
    every = list(values)
    strangers = [each for each in kept if each not in every]
    if strangers:
        raise ValueError(f"{strangers} are none of {every}")
    return [each if each in kept else pytest.param(each, marks=pytest.mark.long) for each in every]
