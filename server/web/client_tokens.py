"""Tokens that the server's secret makes: short-lived, for one purpose, and checked without a list.

`rc1.<claims>.<signature>`: the claims are JSON in base64url without padding, `exp` (seconds since
1970), `scope` (a list) and perhaps `sub`, whom it was made for, or `session` and `epoch`, what may
be watched with the scope `watch` or spoken to with `publish`; the signature is HMAC-SHA256
of `rc1.<claims>` with the secret as key, in base64url without padding. Whoever has the secret can
make one without asking the server.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

PREFIX = "rc1."
MAX_LIFE_S = 7 * 86_400
MAX_SUBJECT_CHARS = 64

Scope = Literal["stream", "sessions"]
"""`stream`: open and resume streams; `sessions`: see and end those of others, over HTTP."""
SCOPES: tuple[Scope, ...] = get_args(Scope)
WATCH = "watch"
"""The scope of a share link, which is of one stream: only that stream's client asks for one."""
PUBLISH = "publish"
"""Likewise, of a token by which sound and video are sent to that stream."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token permits, until `expires_s` (seconds since 1970), and to whom; empty: anyone.

    With the scope `watch` that is the stream `session`, while its links of `epoch` are good.
    """

    scope: frozenset[str]
    expires_s: float
    subject: str = ""
    session: str = ""
    epoch: int = 0


def make_token(secret: str, scope: Iterable[Scope], expires_s: int, subject: str = "") -> str:
    """A token of this secret, for `subject` if it is for one user.

    Raises ValueError for a subject that is too long.
    """
    if len(subject) > MAX_SUBJECT_CHARS or not subject.isascii():
        raise ValueError(
            f"a subject has at most {MAX_SUBJECT_CHARS} ASCII characters, got {subject!r}"
        )
    claims = {"exp": expires_s, "scope": sorted(scope)} | ({"sub": subject} if subject else {})
    return _signed(secret, claims)


def make_share_token(
    secret: str, session: str, epoch: int, expires_s: int, scope: str = WATCH
) -> str:
    """A token by which one stream may be watched, or spoken to, and nothing else done."""
    claims = {"exp": expires_s, "scope": [scope], "session": session, "epoch": epoch}
    return _signed(secret, claims)


def read_token(secret: str, token: str) -> Claims | None:
    """What a token permits; None unless this secret made it."""
    signed, _, signature = token.rpartition(".")
    genuine = hmac.compare_digest(signature.encode(), _signature(secret, signed).encode())
    if not token.startswith(PREFIX) or not genuine:
        return None
    return _claims(signed.removeprefix(PREFIX))


def _claims(text: str) -> Claims | None:
    try:
        claims: Any = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        subject = str(claims.get("sub") or "")
        scope = frozenset(map(str, claims["scope"]))
        session, epoch = str(claims.get("session") or ""), int(claims.get("epoch") or 0)
        return Claims(scope, float(claims["exp"]), subject, session, epoch)
    except (binascii.Error, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None  # who has the secret made it, but not as described


def _signed(secret: str, claims: dict[str, Any]) -> str:
    signed = PREFIX + _text(json.dumps(claims, separators=(",", ":")).encode())
    return f"{signed}.{_signature(secret, signed)}"


def _signature(secret: str, signed: str) -> str:
    return _text(hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest())


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
