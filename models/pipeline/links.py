"""Links between stages: packages in order, sent without waiting, double-buffered.

A link is a connection of two stages, a socket pair on one machine and a secure channel between two
(`secure_channel`). Latents cross in it as bytes; between GPUs of one machine, each with one stage,
they go by NCCL, there on a stream of its own, so that a transfer never waits for the next chunk's
work. Stages that share a GPU do without: NCCL refuses two ranks on one.
"""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load, save
from torch import Tensor

from .messages import Meeting
from .package import Latents, Package, pack, unpack
from .stage_loop import LinkLost

# An idle pipeline waits in a receive for ever: whether a stage lives is not the links' business.
_FOR_EVER = timedelta(days=365)
_BUFFERS = 2
_MOST_BYTES = 1 << 32
_LOOK_S = 0.1

Connect = Callable[[int], Connection]
"""Gives the connection to a stage of that rank; called once for each. Raises OSError."""


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


@dataclass(frozen=True, slots=True)
class NcclGroup:
    """How stages with a GPU each find each other: `store` is a file that all of them have open."""

    rank: int
    world: int
    store: int

    def join(self) -> None:
        """Form the group; returns when all have come."""
        dist.init_process_group(
            "nccl",
            init_method=f"file:///proc/self/fd/{self.store}",
            rank=self.rank,
            world_size=self.world,
            timeout=_FOR_EVER,
        )


def on_this_machine(connections: Mapping[int, Connection]) -> Connect:
    """Connections that were there from the start."""
    return connections.__getitem__


def across_machines(meeting: Meeting, rank: int) -> Connect:
    """Connections through the executor's listener, where both stages come."""
    # here, for stages on one machine start without TLS
    from .secure_channel import WrongKey, connect, link_name

    def open_link(other: int) -> Connection:
        try:
            return connect(meeting.address, meeting.key, link_name(meeting.life, rank, other))
        except WrongKey as error:
            raise OSError(str(error)) from error

    return open_link


class Links:
    """The links of one stage to all others."""

    def __init__(
        self, open_link: Connect, gpu: OwnGpu | None = None, nccl: NcclGroup | None = None
    ) -> None:
        """With `nccl` latents stay on the GPU; every stage has to be given one then."""
        self._open_link = open_link
        self._gpu = None if gpu is None else gpu.device
        self._side: torch.cuda.Stream | None = None
        if gpu is not None and nccl is not None:
            nccl.join()
            self._side = torch.cuda.Stream(gpu.device)
        self._opening = threading.Lock()
        self._links: dict[int, _Link] = {}
        self._sent: deque[tuple[Any, Tensor]] = deque()
        self._heard: set[int] = set()

    def send(self, to: int, package: Package) -> None:
        """Send without waiting, unless two packages are still on their way.

        Raises LinkLost when the other end is gone.
        """
        try:
            self._send(to, package)
        except (RuntimeError, OSError) as error:
            raise LinkLost(f"no link to stage {to}: {error}") from error

    def _send(self, to: int, package: Package) -> None:
        latents = package.latents
        if latents is None or self._side is not None:
            self._link(to).put([pack(package)])
        else:
            latents = latents.cpu().contiguous()
            packed = pack(replace(package, latents=latents))
            self._link(to).put([packed, save({"latents": latents})])
        if latents is None or self._side is None:
            return
        while len(self._sent) >= _BUFFERS:
            self._sent.popleft()[0].wait()
        with self._beside():
            latents = latents.contiguous()
            # the tensor must live until it is sent
            self._sent.append((dist.isend(latents, to), latents))

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
        while True:
            try:
                connection = self._link(source).connection
                parcel = unpack(connection.recv_bytes(_MOST_BYTES))
                latents = None
                if parcel.latents is not None:
                    latents = self._take(parcel.latents, source, connection)
            except (RuntimeError, OSError, EOFError) as error:
                deliver(LinkLost(f"no link from stage {source}: {error}"))
                return
            deliver(replace(parcel.package, latents=latents))

    def _take(self, about: Latents, source: int, connection: Connection) -> Tensor:
        if about.device == "cpu":
            latents = load(connection.recv_bytes(_MOST_BYTES))["latents"]
            return latents if self._gpu is None else latents.to(self._gpu)
        latents = torch.empty(about.shape, dtype=getattr(torch, about.dtype), device=self._gpu)
        with self._beside():
            dist.recv(latents, source)
        if self._side is not None:
            self._side.synchronize()
        return latents

    def _link(self, other: int) -> _Link:
        with self._opening:
            if other not in self._links:
                self._links[other] = _Link(self._open_link(other))
            return self._links[other]

    def _beside(self) -> AbstractContextManager[object]:
        """The links' own CUDA stream, behind what was computed so far."""
        if self._side is None:
            return nullcontext()
        self._side.wait_stream(torch.cuda.current_stream(self._gpu))
        return torch.cuda.stream(self._side)


class _Link:
    """A connection whose sending end has a thread: whoever sends does not wait for it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        # one is being sent while another one waits
        self._parcels: queue.Queue[list[bytes]] = queue.Queue(_BUFFERS - 1)
        self._lost: OSError | None = None
        threading.Thread(target=self._serve, name="link-out", daemon=True).start()

    def put(self, parcel: list[bytes]) -> None:
        """Send these one after the other. Raises OSError once something could not be sent."""
        while self._lost is None:
            try:
                self._parcels.put(parcel, timeout=_LOOK_S)
                return
            except queue.Full:
                continue
        raise OSError(str(self._lost))

    def _serve(self) -> None:
        try:
            while True:
                for piece in self._parcels.get():
                    self.connection.send_bytes(piece)
        except OSError as error:
            self._lost = error
