"""A lease is good for one replica, one role, one epoch and a short time, or for nothing."""

from __future__ import annotations

import pytest

from rollcast.server.handover.lease import BadLease, Lease, read_lease

KEY = "a key"
LEASE = Lease("session-1", "stream", "replica-a", 3, 1000.0)


def test_it_comes_back_as_it_was() -> None:
    token = LEASE.token(KEY)
    assert token.isascii() and len(token) < 140
    assert read_lease(token, KEY, "stream", replica="replica-a", now_s=999.0) == LEASE
    assert read_lease(token, KEY, "watch", "stream", replica="replica-a", now_s=0.0).epoch == 3


@pytest.mark.parametrize(
    ("token", "key", "role", "replica", "now_s", "why"),
    [
        (None, KEY, "stream", "replica-a", 0.0, "gateway"),
        ("", KEY, "stream", "replica-a", 0.0, "gateway"),
        ("rl1.x.y", KEY, "stream", "replica-a", 0.0, "gateway"),
        (LEASE.token("another key"), KEY, "stream", "replica-a", 0.0, "gateway"),
        (LEASE.token(KEY), KEY, "keeper", "replica-a", 0.0, "not keeper"),
        (LEASE.token(KEY), KEY, "stream", "replica-b", 0.0, "replica-b"),
        (LEASE.token(KEY), KEY, "stream", "replica-a", 1000.1, "expired"),
        (LEASE.token(KEY).replace("rl1.W", "rl1.X"), KEY, "stream", "replica-a", 0.0, "gateway"),
    ],
)
def test_anything_else_is_refused(
    token: str | None, key: str, role: str, replica: str, now_s: float, why: str
) -> None:
    with pytest.raises(BadLease, match=why):
        read_lease(token, key, role, replica=replica, now_s=now_s)  # type: ignore[arg-type]
