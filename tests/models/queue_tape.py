"""The queues of a GPU without one: operators run on a CPU, and a tape of who made and read what.

Like a race detector: each queue has a clock, a wait takes over another's. What reads or writes
memory has to come behind whoever wrote to it last, and memory that one queue set aside and another
uses has to be kept for that one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

MAIN = "main"


class TapeMark:
    """The end of a queue's work, which nobody has waited for."""

    def __init__(self, tape: QueueTape, queue: str) -> None:
        self._tape, self.clock = tape, dict(tape.clock(queue))
        self.passed = False

    def query(self) -> bool:
        return self.passed

    def synchronize(self) -> None:
        """The host waits: whatever is asked for later comes behind it."""
        self.passed = True
        self._tape.hosts(self.clock)


class QueueTape(TorchDispatchMode):
    """`Queues` of a CPU, and within its context the tape of its operators; `races` tells of all."""

    def __init__(self) -> None:
        super().__init__()
        self.races: list[str] = []
        # The host waits for what it asks for, so that nobody gives memory away meanwhile.
        self.host_waits = False
        self.marks: list[TapeMark] = []
        self.work: dict[str, int] = {MAIN: 0}
        self._queue = MAIN
        self._clocks: dict[str, dict[str, int]] = {MAIN: {}}
        self._written: dict[int, tuple[str, int]] = {}
        self._read: dict[int, dict[str, int]] = {}
        self._home: dict[int, str] = {}
        self._kept: set[tuple[int, str]] = set()
        # or their memory would be that of others
        self._alive: list[Any] = []

    def clock(self, queue: str) -> dict[str, int]:
        return self._clocks.setdefault(queue, {})

    def hosts(self, clock: dict[str, int]) -> None:
        for queue in self._clocks:
            self._behind(queue, clock)

    def current(self) -> str:
        return self._queue

    def other(self, name: str) -> str:
        self.clock(name)
        return name

    @contextmanager
    def on(self, queue: str) -> Iterator[None]:
        before, self._queue = self._queue, queue
        try:
            yield
        finally:
            self._queue = before

    def wait(self, queue: str, first: str) -> None:
        self._behind(queue, self.clock(first))

    def keep(self, tensor: Tensor, queue: str) -> None:
        self._kept.add((self._place(tensor), queue))

    def mark(self, queue: str) -> TapeMark:
        self.marks.append(TapeMark(self, queue))
        return self.marks[-1]

    def _behind(self, queue: str, clock: dict[str, int]) -> None:
        own = self.clock(queue)
        for other, time in clock.items():
            own[other] = max(own.get(other, 0), time)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = [leaf for leaf in tree_leaves((args, kwargs or {})) if isinstance(leaf, Tensor)]
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        known = {self._place(each) for each in given}
        # in inference mode an operator that may copy, as `to` does, comes as one that is a view
        if func.is_view and all(self._place(each) in known for each in made):
            return result
        queue, clock = self._queue, self.clock(self._queue)
        now = clock[queue] = clock.get(queue, 0) + 1
        self.work[queue] = self.work.get(queue, 0) + 1
        changed = set[int]()
        if func._schema.is_mutable:
            names = [each.name for each in func._schema.arguments]
            named = dict(zip(names, args, strict=False)) | (kwargs or {})
            for each in func._schema.arguments:
                if each.alias_info is not None and each.alias_info.is_write:
                    parts = tree_leaves(named.get(each.name))
                    changed |= {self._place(leaf) for leaf in parts if isinstance(leaf, Tensor)}
        for place in known:
            self._used(str(func), place, clock, writes=place in changed)
            self._read.setdefault(place, {})[queue] = now
        for each in made:
            if self._place(each) not in known:
                self._home[self._place(each)] = queue
                changed.add(self._place(each))
        for place in changed:
            self._written[place] = queue, now
        self._alive += [each.untyped_storage() for each in (*given, *made)]
        return result

    def _used(self, name: str, place: int, clock: dict[str, int], *, writes: bool) -> None:
        queue = self._queue
        writer, time = self._written.get(place, (queue, 0))
        if clock.get(writer, 0) < time:
            self.races.append(f"{name} on {queue} does not wait for what {writer} made")
        if writes:
            for reader, when in self._read.get(place, {}).items():
                if clock.get(reader, 0) < when:
                    self.races.append(f"{name} on {queue} writes over what {reader} reads")
        home = self._home.get(place, queue)
        if home != queue and (place, queue) not in self._kept and not self.host_waits:
            self.races.append(f"{name} on {queue} uses memory of {home} that is not kept")

    @staticmethod
    def _place(tensor: Tensor) -> int:
        return tensor.untyped_storage().data_ptr()
