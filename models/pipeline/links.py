"""Links between stages over torch.distributed: non-blocking sends, double-buffered.

Plans go through a group of their own on the CPU; latents through another, of NCCL where every stage
has a GPU to itself, there on a stream of its own, so that a transfer never waits for the next
chunk's work. Stages that share a GPU send latents through the CPU: NCCL refuses two ranks on one.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from .package import Latents, Package, pack, unpack
from .stage_loop import LinkLost

# An idle pipeline waits in a receive for ever: whether a stage lives is not the links' business.
_FOR_EVER = timedelta(days=365)
_BUFFERS = 2


@dataclass(frozen=True, slots=True)
class OwnGpu:
    """The GPU of a stage, and whether no other stage has it too."""

    device: torch.device
    alone: bool

    @classmethod
    def of(cls, rank: int, world: int) -> OwnGpu | None:
        """The GPU of this rank, from here on the current one; None on a machine without.

        Under torchrun its LOCAL_RANK says which, else the stages are all on one machine.
        """
        if not torch.cuda.is_available():
            return None
        count = torch.cuda.device_count()
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", rank)) % count)
        torch.cuda.set_device(device)
        here = int(os.environ.get("LOCAL_WORLD_SIZE", world))
        return cls(device, alone=here <= count and dist.is_nccl_available())


class Links:
    """The links of one stage to all others; made by all stages at once."""

    def __init__(self, rank: int, world: int, rendezvous: str, gpu: OwnGpu | None = None) -> None:
        dist.init_process_group(
            "gloo", init_method=rendezvous, rank=rank, world_size=world, timeout=_FOR_EVER
        )
        self._plans = _group("gloo")
        self._latents = {"cpu": _group("gloo")}
        self._gpu = None if gpu is None else gpu.device
        self._side: torch.cuda.Stream | None = None
        if gpu is not None and gpu.alone:
            self._latents["cuda"] = _group("nccl")
            self._side = torch.cuda.Stream(gpu.device)
        self._sent: deque[tuple[list[Any], list[Tensor]]] = deque()
        self._heard: set[int] = set()

    def send(self, to: int, package: Package) -> None:
        """Send without waiting, unless two packages are still on their way.

        Raises LinkLost when the other end is gone.
        """
        try:
            self._send(to, package)
        except RuntimeError as error:
            raise LinkLost(f"no link to stage {to}: {error}") from error

    def _send(self, to: int, package: Package) -> None:
        while len(self._sent) >= _BUFFERS:
            works, _ = self._sent.popleft()
            for work in works:
                work.wait()
        if package.latents is not None and self._side is None:
            package = replace(package, latents=package.latents.cpu())
        body = torch.frombuffer(bytearray(pack(package)), dtype=torch.uint8)
        tensors = [torch.tensor([len(body)]), body]
        works: list[Any] = [dist.isend(each, to, group=self._plans) for each in tensors]
        if package.latents is not None:
            latents = package.latents.contiguous()
            kind = latents.device.type
            with self._beside(kind):
                works.append(dist.isend(latents, to, group=self._latents[kind]))
            tensors.append(latents)
        # the tensors must live until they are sent
        self._sent.append((works, tensors))

    def listen(self, source: int, deliver: Callable[[Package | LinkLost], None]) -> None:
        """Receive from a stage, in a thread; at last that the other end is gone."""
        if source in self._heard:
            return
        self._heard.add(source)
        name = f"link-from-{source}"
        threading.Thread(
            target=self._receive, args=(source, deliver), name=name, daemon=True
        ).start()

    def _receive(self, source: int, deliver: Callable[[Package | LinkLost], None]) -> None:
        length = torch.zeros(1, dtype=torch.int64)
        while True:
            try:
                dist.recv(length, source, group=self._plans)
                body = torch.empty(int(length), dtype=torch.uint8)
                dist.recv(body, source, group=self._plans)
                parcel = unpack(body.numpy().tobytes())
                latents = None if parcel.latents is None else self._take(parcel.latents, source)
            except RuntimeError as error:
                deliver(LinkLost(f"no link from stage {source}: {error}"))
                return
            deliver(replace(parcel.package, latents=latents))

    def _take(self, about: Latents, source: int) -> Tensor:
        device = torch.device("cpu") if about.device == "cpu" else self._gpu
        latents = torch.empty(about.shape, dtype=getattr(torch, about.dtype), device=device)
        with self._beside(about.device):
            dist.recv(latents, source, group=self._latents[about.device])
        if self._side is not None and about.device == "cuda":
            self._side.synchronize()
        return latents if self._gpu is None else latents.to(self._gpu)

    def _beside(self, kind: str) -> AbstractContextManager[object]:
        """The links' own CUDA stream, behind what was computed so far."""
        if self._side is None or kind == "cpu":
            return nullcontext()
        self._side.wait_stream(torch.cuda.current_stream(self._gpu))
        return torch.cuda.stream(self._side)


def _group(backend: str) -> dist.ProcessGroup:
    group = dist.new_group(backend=backend, timeout=_FOR_EVER)
    assert isinstance(group, dist.ProcessGroup), group
    return group
