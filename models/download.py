"""What a model made from where it computes to the host's memory, without the host waiting for it.

On a GPU the copy goes into pinned memory, on a queue of its own behind what was queued until then,
so that what is queued later runs beside it. Whoever wants the bytes waits for that copy alone.
torch keeps pinned memory that was used for the next one of the same size: a stream of chunks goes
round in as much as is in use at once.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .device_queues import Mark, Queues, queues_of

_COPIES = "copies"


class Download:
    """Bytes on their way; `on_host` is a CPU tensor that they are in when `copied` has happened."""

    def __init__(self, on_host: Tensor, copied: Mark | None = None) -> None:
        self._on_host = on_host
        self._copied = copied

    @property
    def ready(self) -> bool:
        """Whether they are there."""
        return self._copied is None or self._copied.query()

    def wait(self) -> np.ndarray:
        """The bytes, when they are there; for any thread, and for several."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._on_host.numpy()


def downloaded(tensor: Tensor, queues: Queues | None = None) -> Download:
    """Begin to bring `tensor` to the host; on a CPU it is there.

    The caller may let go of it at once. `queues` are those of its device, by default.
    """
    queues = queues_of(tensor.device) if queues is None else queues
    if queues is None:
        return Download(tensor.cpu())
    there = tensor.contiguous()
    copies = queues.other(_COPIES)
    queues.wait(copies, queues.current())
    # its memory is not to be used again before the copy was made
    queues.keep(there, copies)
    with queues.on(copies):
        on_host = torch.empty(there.shape, dtype=there.dtype, pin_memory=there.is_cuda)
        on_host.copy_(there, non_blocking=True)
        copied = queues.mark(copies)
    return Download(on_host, copied)
