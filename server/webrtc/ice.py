"""Where peers may reach this server, and by which servers of others: STUN and TURN."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import aioice.ice
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCIceServer

from ..secret import Secret

_ADDRESSES: ContextVar[Sequence[str] | None] = ContextVar("host addresses", default=None)
_all_addresses = aioice.ice.get_host_addresses


@dataclass(frozen=True, slots=True)
class IceOptions:
    """`addresses` to be reached at (empty: all of this machine but loopback).

    `servers` are stun: and turn: addresses, the latter with `username` and `credential`.
    """

    addresses: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    username: str | None = None
    credential: Secret | None = None

    def configuration(self) -> RTCConfiguration:
        """For a connection of our side."""
        return RTCConfiguration(
            iceServers=[
                RTCIceServer(each, username=self.username, credential=self._secret(each))
                for each in self.servers
            ],
            # a peer that offers several pictures would be left on a transport of its own
            bundlePolicy=RTCBundlePolicy.MAX_BUNDLE,
        )

    def for_clients(self) -> list[dict[str, str]]:
        """The servers as a browser's RTCPeerConnection takes them."""
        return [
            {"urls": each}
            if (secret := self._secret(each)) is None
            else {"urls": each, "username": self.username or "", "credential": secret}
            for each in self.servers
        ]

    def link_headers(self) -> list[str]:
        """The same as Link headers of WHIP and WHEP."""
        return [
            "; ".join(
                [f"<{each['urls']}>", 'rel="ice-server"']
                + [f'{name}="{each[name]}"' for name in ("username", "credential") if name in each]
                + (['credential-type="password"'] if "credential" in each else [])
            )
            for each in self.for_clients()
        ]

    def _secret(self, server: str) -> str | None:
        if self.credential is None or not server.startswith("turn"):
            return None
        return self.credential.reveal()


@contextmanager
def reached_at(addresses: Sequence[str]) -> Iterator[None]:
    """Connections that gather their candidates in here offer these addresses; empty: all.

    The library itself leaves loopback out and takes no wish.
    """
    token = _ADDRESSES.set(addresses or None)
    try:
        yield
    finally:
        _ADDRESSES.reset(token)


def _host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    chosen = _ADDRESSES.get()
    if chosen is None:
        return _all_addresses(use_ipv4=use_ipv4, use_ipv6=use_ipv6)
    return [each for each in chosen if (use_ipv6 if ":" in each else use_ipv4)]


aioice.ice.get_host_addresses = _host_addresses
