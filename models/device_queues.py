"""Work queued on a GPU beside other work, and the order between the two.

A queue (CUDA calls it a stream) does what it is given one thing behind the other, and knows nothing
of what others do. Two rules keep them apart: what one queue made, another waits for before it reads
it; and memory that a queue set aside is not given away before others have used what was in it.
Everything that goes from one queue to another goes through `SideQueue`, so that the rules stand in
one place, and a test that records them proves the order without a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor


class Mark(Protocol):
    """A point in a queue that the host may ask for."""

    def query(self) -> bool:
        """Whether the queue is past it."""
        ...

    def synchronize(self) -> None:
        """Wait until it is."""
        ...


class Queues(Protocol):
    """What a device offers; a queue is its own affair."""

    def current(self) -> Any:
        """The queue that operations go to."""
        ...

    def other(self, name: str) -> Any:
        """The queue of that name, the same each time."""
        ...

    def on(self, queue: Any) -> AbstractContextManager[Any]:
        """Operations within this context go to `queue`."""
        ...

    def wait(self, queue: Any, first: Any) -> None:
        """What `queue` is given from now on comes behind all that `first` has been given."""
        ...

    def keep(self, tensor: Tensor, queue: Any) -> None:
        """The memory of `tensor` is not given away before `queue` is past what it has now."""
        ...

    def mark(self, queue: Any) -> Mark:
        """The end of what `queue` has been given."""
        ...


class CudaQueues:
    """Those of a CUDA device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._others: dict[str, torch.cuda.Stream] = {}

    def current(self) -> torch.cuda.Stream:
        """As `Queues.current`."""
        return torch.cuda.current_stream(self._device)

    def other(self, name: str) -> torch.cuda.Stream:
        """As `Queues.other`."""
        if name not in self._others:
            self._others[name] = torch.cuda.Stream(self._device)
        return self._others[name]

    def on(self, queue: torch.cuda.Stream) -> AbstractContextManager[Any]:
        """As `Queues.on`."""
        return torch.cuda.stream(queue)

    def wait(self, queue: torch.cuda.Stream, first: torch.cuda.Stream) -> None:
        """As `Queues.wait`, by an event."""
        queue.wait_stream(first)

    def keep(self, tensor: Tensor, queue: torch.cuda.Stream) -> None:
        """As `Queues.keep`; what is on the host is its own affair."""
        if tensor.is_cuda:
            tensor.record_stream(queue)

    def mark(self, queue: torch.cuda.Stream) -> torch.cuda.Event:
        """As `Queues.mark`; who waits for it leaves the processor to others."""
        event = torch.cuda.Event(blocking=True)
        event.record(queue)
        return event


@cache
def _cuda_queues(device: torch.device) -> CudaQueues:
    return CudaQueues(device)


def queues_of(device: torch.device) -> Queues | None:
    """The queues of `device`; None where there is one and the host waits for it."""
    return _cuda_queues(device) if device.type == "cuda" else None


class SideQueue:
    """A queue for one kind of work, beside the one that its tensors come from.

    Without `queues` work is done where it stands.
    """

    def __init__(self, name: str, queues: Queues | None) -> None:
        self._queues = queues
        self._name = name

    @contextmanager
    def work(self, *given: Tensor | None) -> Iterator[None]:
        """Within it operations go to the side: behind all that was asked for until now.

        `given` are the tensors from outside that they read, but for those that stay for good.
        """
        queues = self._queues
        if queues is None:
            yield
            return
        side = queues.other(self._name)
        queues.wait(side, queues.current())
        for tensor in given:
            if tensor is not None:
                queues.keep(tensor, side)
        with queues.on(side):
            yield

    def join(self) -> None:
        """What is asked for from now on may read what was made at the side.

        Its memory stays the side's: whoever reads it has to be done, as the host that waits for it
        is, before more is asked of the side.
        """
        if self._queues is not None:
            self._queues.wait(self._queues.current(), self._queues.other(self._name))
