"""Protocol version 1: text to typed messages and back. Parsing is total: message or StreamError."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, from_json

from .client_messages import ClientMessage, Control, ImageChange, PictureChange, SessionCreate
from .errors import BadJson, InvalidField, StreamError, TooLarge, UnknownType
from .limits import (
    MAX_EVENT_ID_CHARS,
    MAX_PICTURE_BYTES,
    MAX_SOCKET_BYTES,
    MAX_TEXT_BYTES,
)
from .packets import Packet
from .server_messages import ErrorMessage, Rejected, ServerMessage

CLIENT: TypeAdapter[ClientMessage] = TypeAdapter(
    Annotated[ClientMessage, Field(discriminator="type")]
)
SERVER: TypeAdapter[ServerMessage] = TypeAdapter(
    Annotated[ServerMessage, Field(discriminator="type")]
)

PictureField = Literal["picture", "image"]
"""What a client sends pictures as: a face, or what the stream starts from."""
CONTROLS = frozenset(cast(str, c.model_fields["type"].default) for c in get_args(Control))
"""The types that carry an event_id and get exactly one `applied` or `rejected`."""


def parse_message(text: str | bytes) -> ClientMessage:
    """Read one text message from a client.

    Raises a StreamError for anything else, with the `event_id` of the message where it can be
    read; it `rejects` when the message is a control, which is then answered by `rejected`.
    """
    data = _utf8(text)
    if len(data) > MAX_TEXT_BYTES and (
        len(data) > MAX_SOCKET_BYTES or not any(name in data for name in _PICTURES)
    ):
        raise _about(_too_long(len(data)), *_glimpse(data))
    try:
        message = CLIENT.validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    else:
        try:
            _check_size(message, len(data))
        except TooLarge as error:
            raise correlated(error, message) from None
        return message
    raise _refusal(first, data)


def correlated(error: StreamError, cause: ClientMessage | Packet | None) -> StreamError:
    """The error with what names its cause: the `event_id` of a message, the `seq` of a packet."""
    if isinstance(cause, Packet):
        error.seq = cause.seq
    elif cause is not None:
        _about(error, cause.type, cause.event_id)
    return error


def pictures_of(message: ClientMessage) -> dict[PictureField, str]:
    """The pictures that a message carries, in base64, by the fields that they are in."""
    found: dict[PictureField, str | None]
    match message:
        case SessionCreate():
            found = {"picture": message.picture, "image": message.image}
        case PictureChange():
            found = {"picture": message.picture}
        case ImageChange():
            found = {"image": message.image}
        case _:
            return {}
    return {name: text for name, text in found.items() if text is not None}


def encode_message(message: ServerMessage) -> str:
    """The message as JSON text; fields that are None are left out."""
    return message.model_dump_json(exclude_none=True)


def answer(error: StreamError) -> ServerMessage:
    """The message that tells a client about `error`."""
    if error.event_id is not None and error.rejects and not error.fatal:
        return Rejected(
            event_id=error.event_id,
            code=error.code,
            field=error.field,
            message=error.message,
            hint=error.hint,
        )
    return ErrorMessage(
        code=error.code,
        message=error.message,
        field=error.field,
        hint=error.hint,
        event_id=error.event_id,
        seq=error.seq,
        fatal=error.fatal,
        retry_after_s=error.retry_after_s,
    )


def _utf8(text: str | bytes) -> bytes:
    if isinstance(text, bytes):
        return text
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise BadJson("the text is not valid Unicode") from error


def _check_size(message: ClientMessage, byte_count: int) -> None:
    pictures = pictures_of(message)
    other = byte_count - sum(map(len, pictures.values()))
    if other > MAX_TEXT_BYTES:
        raise _too_long(other)
    for name, text in pictures.items():
        # four characters are three bytes, less the padding
        size = len(text) * 3 // 4 - text[-2:].count("=")
        if size > MAX_PICTURE_BYTES:
            raise TooLarge(
                f"a picture has at most {MAX_PICTURE_BYTES} bytes, this one {size}",
                field=name,
                hint="Make it smaller, or save it as a JPEG.",
            )


def _too_long(byte_count: int) -> TooLarge:
    return TooLarge(
        f"a text message, but for a picture in it, has at most {MAX_TEXT_BYTES} bytes, "
        f"got {byte_count}"
    )


def _refusal(detail: ErrorDetails, data: bytes) -> StreamError:
    try:
        # numbers that JSON has not, like NaN, pass the first reading
        said: Any = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        return _about(BadJson(str(error)), *_glimpse(data))
    if not isinstance(said, dict):
        return BadJson("a message is a JSON object")
    return _about(_fault(detail), said.get("type"), said.get("event_id"))  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]


def _fault(detail: ErrorDetails) -> StreamError:
    if detail["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return UnknownType("the message has no known type", field="type")
    return InvalidField(detail["msg"], field=_field(list(detail["loc"][1:])))


def _about(error: StreamError, kind: object, event_id: object) -> StreamError:
    """The error with the `event_id` of the message at fault, if that is one."""
    if isinstance(event_id, str) and 0 < len(event_id) <= MAX_EVENT_ID_CHARS:
        error.event_id = event_id
        error.rejects = isinstance(kind, str) and kind in CONTROLS
    return error


def _glimpse(data: bytes) -> tuple[str | None, str | None]:
    """The type and the event_id that stand in a text which is too long to read, or no JSON."""
    found = [pattern.search(data) for pattern in (_TYPE, _EVENT_ID)]
    try:
        kind, event_id = (None if each is None else json.loads(each[1]) for each in found)
    except ValueError:
        return None, None
    return kind, event_id


def _field(path: list[int | str]) -> str:
    """`points[3].x` for ("points", 3, "x")."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")


_PICTURES = (b'"picture"', b'"image"')
# Inside a string quotes are escaped, so these match names of fields only; a character takes up to
# 12 bytes.
_TYPE = re.compile(rb'"type"\s{0,8}:\s{0,8}("[a-z_.]{1,32}")')
_EVENT_ID = re.compile(
    rb'"event_id"\s{0,8}:\s{0,8}("(?:[^"\\]|\\.){1,%d}")' % (12 * MAX_EVENT_ID_CHARS)
)
