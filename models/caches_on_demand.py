"""A stream's caches, each made when it is first used: a stage of a pipeline never uses most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload

from .student.student_cache import StudentCache


class CachesOnDemand(Sequence[StudentCache]):
    """`count` caches by `make`; one that nobody has asked for takes no memory."""

    def __init__(self, make: Callable[[], StudentCache], count: int) -> None:
        self._make = make
        self._made: list[StudentCache | None] = [None] * count

    @overload
    def __getitem__(self, index: int) -> StudentCache: ...
    @overload
    def __getitem__(self, index: slice) -> list[StudentCache]: ...
    def __getitem__(self, index: int | slice) -> StudentCache | list[StudentCache]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        found = self._made[index]
        if found is None:
            found = self._made[index] = self._make()
        return found

    def __len__(self) -> int:
        return len(self._made)
