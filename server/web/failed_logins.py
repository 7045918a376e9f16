"""Wrong tokens: told to the log with their address, and not as many as somebody likes."""

from __future__ import annotations

import time

from ..config import ServerConfig
from ..protocol.errors import RateLimited, Unauthorized
from .addresses import network_of
from .bounded_log import BoundedLog
from .client_tokens import Claims, Scope
from .pace import Allowance
from .security import TokenExpired, check_token

GUESSES = Allowance(per_s=0.5, at_once=10)
"""Wrong tokens of one address that are looked at."""


class FailedLogins:
    """Counts the wrong tokens of each address (of IPv6, of each /64)."""

    def __init__(self, config: ServerConfig, log: BoundedLog, guesses: Allowance = GUESSES) -> None:
        self._config = config
        self._log = log
        self._guesses = guesses.per_address()

    def check(
        self,
        given: str | None,
        scope: Scope | None,
        *others: str,
        host: str,
        over: str,
        now_s: float,
    ) -> Claims | None:
        """As `check_token`: raise unless the token permits one of these, or none is needed.

        RateLimited, for a right one as well, if so many of this address were wrong that none is
        looked at now. `over` names for the log what the token was sent over.
        """
        if self._config.token is None:
            return None
        guesses = self._guesses.of(network_of(host), now_s)
        wait_s = guesses.wait_s(now_s, 1)
        if given is not None and wait_s > 0:
            self._log.warning("login refused unseen", host, now_s, over=over)
            raise RateLimited(
                "too many wrong tokens came from this address",
                field="token",
                hint="Wait retry_after_s seconds, then send the server's token.",
                retry_after_s=round(wait_s, 1),
                fatal=True,
            )
        try:
            return check_token(given, self._config, scope, time.time(), *others)
        except TokenExpired:
            # It was made here, so it was no guess.
            raise
        except Unauthorized:
            if given is not None:
                guesses.spend(now_s)
            missing = given is None
            self._log.warning("login failed", host, now_s, over=over, token_missing=missing)
            raise
