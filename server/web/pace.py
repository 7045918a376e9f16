"""How fast one connection may make the server work, whatever it sends.

What comes faster is not refused: it is read later, so that the sender's own network holds it back.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..session.rates import TokenBucket
from .per_address import PerAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """So many of something a second, and so many at once."""

    per_s: float
    at_once: float

    def bucket(self, now_s: float) -> TokenBucket:
        """A full bucket."""
        return TokenBucket(rate_per_s=self.per_s, burst=self.at_once, now_s=now_s)

    def per_address(self) -> PerAddress:
        """Such a bucket for each address."""
        return PerAddress(rate_per_s=self.per_s, burst=self.at_once)


FRAMES = Allowance(per_s=1_200, at_once=2_400)
"""Of a WebSocket with a stream; four times the messages that the protocol permits."""
BYTES = Allowance(per_s=2e6, at_once=8e6)
FIRST_FRAMES = Allowance(per_s=100, at_once=200)
"""Of a WebSocket before it has a stream."""
FIRST_BYTES = Allowance(per_s=250e3, at_once=4e6)
REQUESTS = Allowance(per_s=30, at_once=80)
"""HTTP requests of one connection."""


@dataclass(frozen=True, slots=True)
class AddressPaces:
    """What all connections of one address may do together while they have no stream."""

    frames: PerAddress = field(default_factory=Allowance(per_s=1_000, at_once=2_000).per_address)
    bytes: PerAddress = field(default_factory=Allowance(per_s=2e6, at_once=16e6).per_address)
    requests: PerAddress = field(default_factory=Allowance(per_s=50, at_once=100).per_address)


class FramePace:
    """Of one WebSocket: its frames and bytes, and those of its address until it has a stream."""

    def __init__(self, address: str, shared: AddressPaces, now_s: float) -> None:
        self._frames = FIRST_FRAMES.bucket(now_s)
        self._bytes = FIRST_BYTES.bucket(now_s)
        self._shared = (shared.frames.of(address, now_s), shared.bytes.of(address, now_s))
        self._has_stream = False

    def stream_opened(self, now_s: float) -> None:
        """From now on it may do what a viewer does."""
        self._frames, self._bytes = FRAMES.bucket(now_s), BYTES.bucket(now_s)
        self._has_stream = True

    def read(self, count: int, byte_count: int, now_s: float) -> float:
        """So many frames were read; how long until more may be: 0, now."""
        wait_s = max(self._frames.owe(now_s, count), self._bytes.owe(now_s, byte_count))
        if self._has_stream:
            return wait_s
        frames, bytes_ = self._shared
        return max(wait_s, frames.owe(now_s, count), bytes_.owe(now_s, byte_count))

    def spend(self, frames: int, byte_count: int, now_s: float) -> None:
        """So much was read."""
        for bucket, count in zip(self._buckets(), (frames, byte_count) * 2, strict=False):
            bucket.spend(now_s, count)

    def wait_s(self, now_s: float) -> float:
        """How long until more may be read; 0: now."""
        return max(bucket.wait_s(now_s) for bucket in self._buckets())

    def _buckets(self) -> tuple[TokenBucket, ...]:
        own = (self._frames, self._bytes)
        return own if self._has_stream else own + self._shared


class RequestPace:
    """Of one HTTP connection: its requests, and those of its address."""

    def __init__(self, address: str, shared: AddressPaces, now_s: float) -> None:
        self._own = REQUESTS.bucket(now_s)
        self._shared = shared.requests.of(address, now_s)

    def spend(self, now_s: float) -> None:
        """A request is answered."""
        self._own.spend(now_s)
        self._shared.spend(now_s)

    def wait_s(self, now_s: float) -> float:
        """How long until the next request may be read."""
        return max(self._own.wait_s(now_s), self._shared.wait_s(now_s))

    def own_wait_s(self, now_s: float) -> float:
        """The same for what is always answered, whatever others at this address do."""
        return self._own.wait_s(now_s)
