"""Leases: tokens by which a gateway may use one replica of a fleet for one stream.

Made and checked with the fleet's key, without a list: whoever has the key can make them, and a
replica believes nobody else. A lease names an epoch, so that one which was given out before the
stream was moved is worth nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Literal

PREFIX = "rl1."
LEASE_S = 30.0
"""How long a lease is good; it is used at once."""

Role = Literal["stream", "watch", "keeper"]
"""Who opens or resumes a stream, who watches one, and who takes it over or away."""


class BadLease(ValueError):
    """A token that permits nothing here."""


@dataclass(frozen=True, slots=True)
class Lease:
    """`replica` may serve `session` in this role and epoch until `expires_s`, since 1970."""

    session: str
    role: Role
    replica: str
    epoch: int
    expires_s: float

    def token(self, key: str) -> str:
        """The lease as text for a header."""
        claims = [self.session, self.role, self.replica, self.epoch, round(self.expires_s, 1)]
        body = PREFIX + _text(json.dumps(claims, separators=(",", ":")).encode())
        return f"{body}.{_signature(key, body)}"


def read_lease(token: str | None, key: str, *roles: Role, replica: str, now_s: float) -> Lease:
    """The lease of a token. Raises BadLease unless it is for this replica, a role and the time."""
    body, _, signature = (token or "").rpartition(".")
    if not body.startswith(PREFIX) or not hmac.compare_digest(
        signature.encode(), _signature(key, body).encode()
    ):
        raise BadLease("this server is part of a fleet: open streams at its gateway")
    try:
        session, said_role, name, epoch, expires_s = json.loads(_bytes(body[len(PREFIX) :]))
        lease = Lease(session, said_role, name, epoch, expires_s)
    except (ValueError, TypeError) as error:
        raise BadLease(f"the lease cannot be read: {error}") from error
    if lease.replica != replica or lease.role not in roles:
        raise BadLease(
            f"the lease is for {lease.role} at {lease.replica!r}, not {' or '.join(roles)} at "
            f"{replica!r}"
        )
    if lease.expires_s < now_s:
        raise BadLease("the lease has expired")
    return lease


def _signature(key: str, body: str) -> str:
    return _text(hmac.digest(key.encode(), body.encode(), hashlib.sha256))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
