"""The model that a bench's own server serves, told as `rollcast serve` is told."""

from __future__ import annotations

from collections.abc import Sequence

from ..config import ServerConfig
from .failure import as_failure
from .frame_size import parse_size
from .options import check_model
from .room import check_room, model_options


def served_options(
    model: str,
    weights: Sequence[str] | None,
    size: str | None,
    device: str | None,
    dtype: str | None,
    *,
    sessions: int,
) -> tuple[str, ...]:
    """Options of `rollcast serve` for it, with room for so many streams.

    Raises Failure for a model that is not there, and for what does not fit it or this machine.
    """
    check_model(model)
    with as_failure():
        config = ServerConfig(
            models=(model,),
            weights=tuple(weights or ()),
            size=None if size is None else parse_size(size),
            device=device,
            dtype=dtype,
            max_sessions=sessions,
        )
        check_room(config)
    return tuple(model_options(config))
