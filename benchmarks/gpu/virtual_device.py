"""A device that is not there: a CPU does at once what is asked for, and a clock says when a device
would have been done.

In rehearsals it takes the place of a GPU's queues, and its clock that of the profiler's trace. What
it tells is how work was asked for; no time in it is one of any machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .busy_share import Span

_MAIN, _COPIES = "main", "copies"
_FREE = ("empty", "new_empty", "empty_like", "empty_strided", "detach")


class _Mark:
    """The end of what a queue has been given."""

    def __init__(self, device: VirtualDevice, at: float) -> None:
        self._device, self._at = device, at

    def query(self) -> bool:
        """Whether the host is past it."""
        return self._at <= self._device.host

    def synchronize(self) -> None:
        """The host waits, and then tells of what it has waited for."""
        self._device.host = max(self._device.host, self._at) + self._device.telling


class VirtualDevice(TorchDispatchMode):
    """`Queues` of a CPU with a clock, whose unit is what an operator takes the device.

    To ask for one takes the host `asking`; `copying` is what a chunk's frames need to the host, and
    `telling` what the host then needs for them, in which it asks for nothing.
    """

    def __init__(
        self, *, asking: float = 0.25, copying: float = 20.0, telling: float = 40.0
    ) -> None:
        super().__init__()
        self.host = 0.0
        self.telling = telling
        self.spans: list[Span] = []
        self._asking, self._copying = asking, copying
        self._queue = _MAIN
        self._ends: dict[str, float] = {}

    def recorded(self, call: Callable[[], object]) -> list[Span]:
        """As `Trace.recorded`, in its own units."""
        self.spans = []
        with self:
            call()
        return self.spans

    def current(self) -> str:
        """As `Queues.current`."""
        return self._queue

    def other(self, name: str) -> str:
        """As `Queues.other`."""
        return name

    @contextmanager
    def on(self, queue: str) -> Iterator[None]:
        """As `Queues.on`."""
        before, self._queue = self._queue, queue
        try:
            yield
        finally:
            self._queue = before

    def wait(self, queue: str, first: str) -> None:
        """As `Queues.wait`."""
        self._ends[queue] = max(self._end(queue), self._end(first))

    def keep(self, tensor: Tensor, queue: str) -> None:
        """As `Queues.keep`: memory is the host's here, and stays as long as it is in use."""

    def mark(self, queue: str) -> _Mark:
        """As `Queues.mark`."""
        return _Mark(self, self._end(queue))

    def _end(self, queue: str) -> float:
        return self._ends.get(queue, 0.0)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name, queue = func.overloadpacket.__name__, self._queue
        if name == "_local_scalar_dense":
            # the host asks what a number is
            self.host = max(self.host, self._end(queue))
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if func.is_view or name in _FREE or not made:
            return result
        self.host += self._asking
        begin = max(self.host, self._end(queue))
        end = self._ends[queue] = begin + (self._copying if queue == _COPIES else 1.0)
        if queue != _COPIES:
            self.spans.append((begin, end))
        return result
