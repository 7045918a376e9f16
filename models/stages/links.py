"""Links between stages over torch.distributed: non-blocking sends, double-buffered.

Orders go through a group of their own on the CPU; latents through another, which is NCCL between
GPUs, there on a stream of its own, so that a transfer never waits for the next chunk's work.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from .wire import Package, pack, unpack

# An idle pipeline waits in a receive for ever: whether a stage lives is not the links' business.
_FOR_EVER = timedelta(days=365)
_BUFFERS = 2


class Links:
    """The links of one stage to all others; made by all stages at once."""

    def __init__(self, rank: int, world: int, rendezvous: str, backend: str) -> None:
        dist.init_process_group(
            "gloo", init_method=rendezvous, rank=rank, world_size=world, timeout=_FOR_EVER
        )
        self._orders = _group("gloo")
        self._latents = _group(backend)
        self._device = torch.device("cuda" if backend == "nccl" else "cpu")
        self._side = torch.cuda.Stream() if backend == "nccl" else None
        self._sent: deque[tuple[list[Any], list[Tensor]]] = deque()
        self._heard: set[int] = set()

    def send(self, to: int, package: Package) -> None:
        """Send without waiting, unless two packages are still on their way."""
        while len(self._sent) >= _BUFFERS:
            works, _ = self._sent.popleft()
            for work in works:
                work.wait()
        body = torch.frombuffer(bytearray(pack(package)), dtype=torch.uint8)
        tensors = [torch.tensor([len(body)]), body]
        works: list[Any] = [dist.isend(each, to, group=self._orders) for each in tensors]
        if package.latents is not None:
            latents = package.latents.contiguous()
            with self._beside():
                works.append(dist.isend(latents, to, group=self._latents))
            tensors.append(latents)
        # the tensors must live until they are sent
        self._sent.append((works, tensors))

    def listen(self, source: int, deliver: Callable[[Package], None]) -> None:
        """Receive from a stage, in a thread, for as long as the process lives."""
        if source in self._heard:
            return
        self._heard.add(source)
        name = f"link-from-{source}"
        threading.Thread(
            target=self._receive, args=(source, deliver), name=name, daemon=True
        ).start()

    def _receive(self, source: int, deliver: Callable[[Package], None]) -> None:
        length = torch.zeros(1, dtype=torch.int64)
        while True:
            try:
                dist.recv(length, source, group=self._orders)
                body = torch.empty(int(length), dtype=torch.uint8)
                dist.recv(body, source, group=self._orders)
                parcel = unpack(body.numpy().tobytes())
                latents = self._latents_of(parcel.shape, parcel.dtype, source)
            except RuntimeError:
                # The other end is gone. The executor sees that too and ends this process.
                return
            deliver(replace(parcel.package, latents=latents))

    def _latents_of(
        self, shape: tuple[int, ...] | None, dtype: str | None, source: int
    ) -> Tensor | None:
        if shape is None or dtype is None:
            return None
        latents = torch.empty(shape, dtype=getattr(torch, dtype), device=self._device)
        with self._beside():
            dist.recv(latents, source, group=self._latents)
        if self._side is not None:
            self._side.synchronize()
        return latents

    def _beside(self) -> AbstractContextManager[object]:
        """The links' own CUDA stream, behind what was computed so far."""
        if self._side is None:
            return nullcontext()
        self._side.wait_stream(torch.cuda.current_stream())
        return torch.cuda.stream(self._side)


def _group(backend: str) -> dist.ProcessGroup:
    group = dist.new_group(backend=backend, timeout=_FOR_EVER)
    assert isinstance(group, dist.ProcessGroup), group
    return group
