"""Protocol version 1: text to typed messages and back. Parsing is total: message or StreamError."""

from __future__ import annotations

from typing import Annotated, Any, cast, get_args

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, from_json

from .client_messages import ClientMessage, Control, PictureChange, SessionCreate
from .errors import BadJson, InvalidField, StreamError, TooLarge, UnknownType
from .limits import (
    MAX_EVENT_ID_CHARS,
    MAX_PICTURE_BYTES,
    MAX_PICTURE_CHARS,
    MAX_SOCKET_BYTES,
    MAX_TEXT_BYTES,
)
from .server_messages import ErrorMessage, Rejected, ServerMessage

CLIENT: TypeAdapter[ClientMessage] = TypeAdapter(
    Annotated[ClientMessage, Field(discriminator="type")]
)
SERVER: TypeAdapter[ServerMessage] = TypeAdapter(
    Annotated[ServerMessage, Field(discriminator="type")]
)

CONTROLS = frozenset(cast(str, c.model_fields["type"].default) for c in get_args(Control))
"""The types that conditioning an event_id and get exactly one `applied` or `rejected`."""


def parse_message(text: str | bytes) -> ClientMessage:
    """Read one text message from a client.

    Raises a StreamError for anything else; its `event_id` is set when the text is a faulty
    control whose event_id can be read, so that it can be answered by `rejected`.
    """
    data = _utf8(text)
    if len(data) > (MAX_SOCKET_BYTES if b'"picture"' in data else MAX_TEXT_BYTES):
        raise _too_long(len(data))
    try:
        message = CLIENT.validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    else:
        _check_size(message, len(data))
        return message
    raise _refusal(first, data)


def picture_of(message: ClientMessage) -> str | None:
    """The picture that a message carries, in base64."""
    return message.picture if isinstance(message, PictureChange | SessionCreate) else None


def encode_message(message: ServerMessage) -> str:
    """The message as JSON text; fields that are None are left out."""
    return message.model_dump_json(exclude_none=True)


def answer(error: StreamError) -> ServerMessage:
    """The message that tells a client about `error`."""
    if error.event_id is not None and not error.fatal:
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
    chars = len(picture_of(message) or "")
    if byte_count - chars > MAX_TEXT_BYTES:
        raise _too_long(byte_count - chars)
    if chars > MAX_PICTURE_CHARS:
        raise TooLarge(
            f"a picture has at most {MAX_PICTURE_BYTES} bytes, this one {chars * 3 // 4}",
            field="picture",
            hint="Make it smaller, or save it as a JPEG.",
            event_id=message.event_id if isinstance(message, PictureChange) else None,
        )


def _too_long(byte_count: int) -> TooLarge:
    return TooLarge(
        f"a text message, but for a picture in it, has at most {MAX_TEXT_BYTES} bytes, "
        f"got {byte_count}"
    )


def _refusal(detail: ErrorDetails, data: bytes) -> StreamError:
    kind = detail["type"]
    if kind == "json_invalid":
        return BadJson(detail["msg"])
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return UnknownType("the message has no known type", field="type")
    tag, *path = detail["loc"] or ("",)
    if not path:
        return BadJson("a message is a JSON object")
    event_id = _event_id(data) if tag in CONTROLS else None
    return InvalidField(detail["msg"], field=_field(path), event_id=event_id)


def _field(path: list[int | str]) -> str:
    """`points[3].x` for ("points", 3, "x")."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")


def _event_id(data: bytes) -> str | None:
    message: Any = from_json(data)
    event_id: object = message.get("event_id") if isinstance(message, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if isinstance(event_id, str) and 0 < len(event_id) <= MAX_EVENT_ID_CHARS:
        return event_id
    return None
