"""The accounts of parked streams: what they hold of the host's memory and of the disk, in bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Where = Literal["memory", "disk"]


@dataclass(frozen=True, slots=True)
class _Taken:
    where: Where
    saved_bytes: int
    kept_bytes: int


class ParkingLot:
    """Room for `memory_bytes` in memory and `disk_bytes` on disk.

    Of each stream there are the bytes that were saved of it, in memory if they fit there, else on
    disk, and those that its session keeps for a resume, which are in memory in any case.
    """

    def __init__(self, memory_bytes: int, disk_bytes: int) -> None:
        self._most: dict[Where, int] = {"memory": memory_bytes, "disk": disk_bytes}
        self._taken: dict[str, _Taken] = {}

    @property
    def is_open(self) -> bool:
        """Whether there is any room at all, taken or not."""
        return self._most["memory"] > 0

    def count(self, where: Where) -> int:
        """Streams that are saved there."""
        return sum(each.where == where for each in self._taken.values())

    def used(self, where: Where) -> int:
        """Bytes that are taken there."""
        saved = sum(each.saved_bytes for each in self._taken.values() if each.where == where)
        if where == "disk":
            return saved
        return saved + sum(each.kept_bytes for each in self._taken.values())

    def place_for(self, saved_bytes: int, kept_bytes: int) -> Where | None:
        """Where there is room for a stream; None: nowhere."""
        free = self._most["memory"] - self.used("memory") - kept_bytes
        if free < 0 or not self.is_open:
            return None
        if saved_bytes <= free:
            return "memory"
        return "disk" if saved_bytes <= self._most["disk"] - self.used("disk") else None

    def take(self, name: str, saved_bytes: int, kept_bytes: int) -> Where | None:
        """Give a stream room; where that is, None: there is none."""
        where = self.place_for(saved_bytes, kept_bytes)
        if where is not None:
            self._taken[name] = _Taken(where, saved_bytes, kept_bytes)
        return where

    def free(self, name: str) -> None:
        """Its room is free again, if it has any."""
        self._taken.pop(name, None)
