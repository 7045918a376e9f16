"""What a replica says of itself to who asks how it is."""

from __future__ import annotations

from msgspec import Struct


class HeldStream(Struct, frozen=True):
    """A stream that a replica has; `attached`: a client is there."""

    session: str
    epoch: int
    attached: bool


class ReplicaState(Struct, frozen=True):
    """How a replica is; `clock_ms` is what its clients know as `server_ms`."""

    name: str
    pid: int
    ready: bool
    draining: bool
    models: list[str]
    places: int
    free: int
    chunk_s: float
    clock_ms: float
    streams: list[HeldStream]
