"""Scripted pointer tracks and prompts from a JSON file.

    {"points": [{"t_ms": 0, "id": 0, "phase": "down", "x": 0.4, "y": 0.5}, ...],
     "prompts": [{"t_ms": 2000, "text": "smiling", "transition_chunks": 2}, ...]}

`t_ms` is media time from the start of the stream; both lists may be left out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .input_file import open_input
from .messages import Phase, TrackPoint

TimeMs = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class TimedPoint(BaseModel):
    """A pointer event and when it happens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    t_ms: TimeMs
    id: Annotated[int, Field(ge=0, le=65_535)] = 0
    phase: Phase
    x: Annotated[float, Field(ge=0, le=1)]
    y: Annotated[float, Field(ge=0, le=1)]

    def point(self) -> TrackPoint:
        """The event without its time."""
        return TrackPoint(id=self.id, phase=self.phase, x=self.x, y=self.y)


class TimedPrompt(BaseModel):
    """A prompt and when it is given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    t_ms: TimeMs
    text: Annotated[str, Field(max_length=500)]
    transition_chunks: Annotated[int, Field(ge=0, le=64)] = 0


class TrackScript(BaseModel):
    """What happens when; both lists in the order of their times."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    points: list[TimedPoint] = []
    prompts: list[TimedPrompt] = []

    def points_between(self, begin_ms: float, end_ms: float) -> list[TrackPoint]:
        """Pointer events from `begin_ms` (included) to `end_ms`."""
        return [p.point() for p in self.points if begin_ms <= p.t_ms < end_ms]

    def prompt_between(self, begin_ms: float, end_ms: float) -> TimedPrompt | None:
        """The newest prompt from `begin_ms` (included) to `end_ms`."""
        return next((p for p in reversed(self.prompts) if begin_ms <= p.t_ms < end_ms), None)


def load_script(path: Path) -> TrackScript:
    """Read a script, in UTF-8 or what a byte order mark says; `-` reads what is piped in.

    Raises FileNotFoundError, OSError for what may not be read, or ValueError that names the field
    and the fix.
    """
    with open_input(path, "tracks file") as file:
        data = file.read()
    try:
        text = data.decode(json.detect_encoding(data))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8: {error.reason}") from error
    try:
        script = TrackScript.model_validate_json(text)
    except ValidationError as error:
        raise ValueError(_explain(path, error)) from error
    return TrackScript(
        points=sorted(script.points, key=lambda p: p.t_ms),
        prompts=sorted(script.prompts, key=lambda p: p.t_ms),
    )


def _explain(path: Path, error: ValidationError) -> str:
    first = error.errors()[0]
    field = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in first["loc"]).lstrip(".")
    shown = first["type"] not in ("missing", "json_invalid")
    given = f", got {json.dumps(first['input'])[:60]}" if shown else ""
    return f"{path}: {field or 'the file'}: {first['msg']}{given}"
