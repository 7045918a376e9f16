"""What the fields of all messages are made of: the base class and the bounded types."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from .limits import (
    MAX_EVENT_ID_CHARS,
    MAX_ITEM_ID_CHARS,
    MAX_KBPS,
    MAX_NAME_CHARS,
    MAX_PICTURE_CHARS,
    MAX_PROMPT_CHARS,
    MAX_ROTATION,
    MAX_SEED,
    MAX_TRACK_ID,
    MAX_TRANSLATION,
    MIN_KBPS,
)


def _without_fraction(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_without_fraction)
"""In JSON 2.0 is an integer too, and some languages write it so."""
MovieKind = Literal["mp4", "webm"]
AudioCodec = Literal["pcm", "opus"]
Codec = Literal["h264", "vp8", "jpeg"]
EventId = Annotated[str, Field(min_length=1, max_length=MAX_EVENT_ID_CHARS)]
ItemId = Annotated[str, Field(min_length=1, max_length=MAX_ITEM_ID_CHARS)]
Kbps = Annotated[int, Field(ge=MIN_KBPS, le=MAX_KBPS), WHOLE]
MediaTime = Annotated[float, Field(ge=0, le=2.0**53)]
_Shift = Annotated[float, Field(ge=-MAX_TRANSLATION, le=MAX_TRANSLATION)]
_Turn = Annotated[float, Field(ge=-MAX_ROTATION, le=MAX_ROTATION)]
Translation = tuple[_Shift, _Shift, _Shift]
Rotation = tuple[_Turn, _Turn, _Turn]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED), WHOLE]
TrackId = Annotated[int, Field(ge=0, le=MAX_TRACK_ID), WHOLE]
Text = Annotated[str, Field(max_length=MAX_PROMPT_CHARS)]
# its length is checked by the parser, which can say what to do about it
PictureText = Annotated[
    str,
    Field(
        min_length=1,
        json_schema_extra={"maxLength": MAX_PICTURE_CHARS, "contentEncoding": "base64"},
    ),
]


class Message(BaseModel):
    """Base of all messages: unknown fields are errors and nothing is converted silently."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
