"""Tokens by which others may watch one stream or speak to it, made and checked without a list."""

from __future__ import annotations

import secrets
import time

from ..config import ServerConfig
from ..secret import Secret
from .client_tokens import WATCH, Claims, make_share_token, read_token
from .security import check_expiry


class ShareLinks:
    """Made with the server's secret; without one, with one that lasts as long as this process."""

    def __init__(self, config: ServerConfig) -> None:
        self._own = config.token is None
        # all of a fleet know each other's links
        self._secret = config.token or config.fleet_key or Secret(secrets.token_urlsafe(32))

    def make(
        self, session_id: str, epoch: int, expires_in_s: int, scope: str = WATCH
    ) -> tuple[str, int]:
        """A token for this stream, and when it expires, in seconds since 1970."""
        expires_s = int(time.time()) + expires_in_s
        secret = self._secret.reveal()
        return make_share_token(secret, session_id, epoch, expires_s, scope), expires_s

    def of(self, given: str | None, claims: Claims | None, scope: str = WATCH) -> Claims | None:
        """What the share link of a client's token permits; None if it has another token or none.

        `claims` are those of a token that the server's secret made. Raises TokenExpired.
        """
        if self._own and given is not None:
            claims = read_token(self._secret.reveal(), given)
            if claims is not None:
                check_expiry(claims, time.time())
        return claims if claims is not None and scope in claims.scope else None
