"""A camera's motion as people write it on a command line."""

from __future__ import annotations

import math

MOVES = ("right", "down", "forward", "pitch", "yaw", "roll")


def camera_move(text: str) -> dict[str, float]:
    """`forward=0.2,yaw=15` as the arguments of `Stream.camera`.

    Raises ValueError for what is none, naming the moves that there are.
    """
    moves: dict[str, float] = {}
    for part in text.split(","):
        name, given, value = part.strip().partition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if name not in MOVES or not given or not math.isfinite(number):
            raise ValueError(
                f"{part.strip()!r} moves no camera: write moves like forward=0.2,yaw=15, of "
                f"{', '.join(MOVES)}"
            )
        moves[name] = number
    return moves
