"""Who a connection comes from, as far as limits on callers are concerned."""

from __future__ import annotations

import ipaddress

_IPV6_SITE_BITS = 64
"""Whoever has one address of IPv6 has all that differ after these bits."""


def network_of(host: str) -> str:
    """The address that limits count: an IPv4 address, or the /64 of an IPv6 address.

    What is no address, such as the path of a local socket, is its own.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    if address.is_loopback:
        return str(address)
    return str(ipaddress.ip_network((address, _IPV6_SITE_BITS), strict=False))
