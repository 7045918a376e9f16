"""Variants of a test in two lanes: some in every run, the others where there is time."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given, settings


def some_of(values: Iterable[Any], *kept: Any) -> list[Any]:
    """All `values`, for a `parametrize`; those that are not `kept` are for the long lane."""
    every = list(values)
    strangers = [each for each in kept if each not in every]
    if strangers:
        raise ValueError(f"{strangers} are none of {every}")
    return [each if each in kept else pytest.param(each, marks=pytest.mark.long) for each in every]


def examples(few: int, many: int, **strategies: Any) -> Callable[[Callable[..., None]], Any]:
    """A property of `strategies`: `few` random examples in every run, `many` in the long lane.

    What else it takes are fixtures, which its examples share.
    """

    def decorate(check: Callable[..., None]) -> Any:
        def test(count: int, **fixtures: Any) -> None:
            example = given(**strategies)(check)
            settings(max_examples=count, deadline=None)(example)(**fixtures)

        given_by_name = inspect.signature(check).parameters.values()
        fixtures = [each for each in given_by_name if each.name not in strategies]
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters = [inspect.Parameter("count", kind), *fixtures]
        test.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        test.__name__, test.__doc__ = check.__name__, check.__doc__
        test.__module__, test.__qualname__ = check.__module__, check.__qualname__
        every = [few, pytest.param(many, marks=pytest.mark.long)]
        return pytest.mark.parametrize("count", every)(test)

    return decorate
