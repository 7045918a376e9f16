"""Whether the engine takes streams, and what clients are told when it does not."""

from __future__ import annotations

from typing import Literal

from ..protocol.errors import Capacity, Draining, EngineFailed

LOADING_RETRY_S = 2.0

Health = Literal["loading", "ready", "restarting", "draining", "failed"]


def check_health(health: Health, restart_s: float) -> None:
    """Raise the StreamError that says why no stream can begin; a restart takes `restart_s`."""
    match health:
        case "loading":
            raise Capacity("the model is still loading", retry_after_s=LOADING_RETRY_S)
        case "restarting":
            raise Capacity("the model is being restarted", retry_after_s=restart_s)
        case "draining":
            raise Draining("the server shuts down", retry_after_s=10.0)
        case "failed":
            raise EngineFailed("the model stopped working", retry_after_s=60.0)
        case "ready":
            return
