"""Whether the engine takes streams, and what clients are told when it does not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from ..protocol.errors import Capacity, Draining, EngineFailed
from .hosted_model import LOADING_RETRY_S, Condition, HostedModel

Health = Literal["loading", "ready", "restarting", "draining", "failed"]


def health_of(conditions: Iterable[Condition], *, draining: bool) -> Health:
    """How a server with these models is, as a whole: ready if any of them is."""
    found = set(conditions)
    if found == {"failed"}:
        return "failed"
    if draining:
        return "draining"
    if "loading" in found:
        return "loading"
    return "ready" if "ready" in found else "restarting"


def check_health(model: HostedModel | None, health: Health) -> None:
    """Raise the StreamError that says why no stream of this model (None: of any) can begin now."""
    match health if model is None or health == "draining" else model.condition:
        case "loading":
            raise Capacity("the model is still loading", retry_after_s=LOADING_RETRY_S)
        case "restarting":
            retry_s = LOADING_RETRY_S if model is None else model.estimate_s
            raise Capacity("the model is being restarted", retry_after_s=round(retry_s, 1))
        case "draining":
            raise Draining("the server shuts down", retry_after_s=10.0)
        case "failed":
            raise EngineFailed("the model stopped working", retry_after_s=60.0)
        case "ready":
            return
