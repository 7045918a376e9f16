"""What the messages in `messages` are made of: to JSON and back, with nothing but dataclasses.

A client ignores fields and types of messages that it does not know, so that a newer server may add
some; it sends exactly the fields that its classes have.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from typing import Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import ProtocolError

Bounds = dict[str, tuple[float, float]]
Read = TypeVar("Read", bound="Incoming")


class Outgoing:
    """Base of what a client sends; fields that are None stay out of the message."""

    __slots__ = ()
    bounds: ClassVar[Bounds] = {}

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of its bounds."""
        for name, (least, most) in self.bounds.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} must be {least} to {most}, got {value}")

    def to_json(self) -> str:
        """The message as the text of one WebSocket frame."""
        return json.dumps(_plain(self), separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Control(Outgoing):
    """Base of what the server answers with `applied` or `rejected`."""

    event_id: str


class Incoming:
    """Base of what the server sends."""

    __slots__ = ()


def read_message(text: str, known: Mapping[str, type[Read]]) -> Read | None:
    """The message of its type in `known`; None for another type.

    Raises ProtocolError for what is no message, naming the place.
    """
    try:
        message: object = json.loads(text)
    except ValueError as error:
        raise _unreadable("message", f"not JSON: {error}") from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise _unreadable("type", "missing")
    kind = known.get(message["type"])
    return None if kind is None else _read(kind, message, message["type"])


def _plain(value: object) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if not isinstance(value, Outgoing) or not is_dataclass(value):
        return value
    kind = getattr(value, "type", None)
    plain = {} if kind is None else {"type": kind}
    given = {each.name: getattr(value, each.name) for each in fields(value)}
    return plain | {name: _plain(each) for name, each in given.items() if each is not None}


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _read(kind: Any, value: Any, where: str) -> Any:
    """`value` as a `kind`; a word that is not among those known is no mistake."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        inner = next(each for each in get_args(kind) if each is not type(None))
        return None if value is None else _read(inner, value, where)
    if origin is Literal:
        kind = str
    if is_dataclass(kind):
        return _object(kind, value, where)
    if origin in (list, tuple):
        return _sequence(kind, value, where)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _unreadable(where, f"{kind.__name__} expected, got {json.dumps(value)[:40]}")
    return value


def _object(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _unreadable(where, "object expected")
    given: dict[str, Any] = {}
    for each in fields(kind):
        if each.name in value:
            hint = _hints(kind)[each.name]
            given[each.name] = _read(hint, value[each.name], f"{where}.{each.name}")
        elif each.default is MISSING and each.default_factory is MISSING:
            raise _unreadable(f"{where}.{each.name}", "missing")
    return kind(**given)


def _sequence(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, list):
        raise _unreadable(where, "list expected")
    if get_origin(kind) is list:
        (inner,) = get_args(kind)
        return [_read(inner, each, f"{where}[{i}]") for i, each in enumerate(value)]
    inners = get_args(kind)
    if len(value) != len(inners):
        raise _unreadable(where, f"{len(inners)} values expected, got {len(value)}")
    pairs = enumerate(zip(inners, value, strict=True))
    return tuple(_read(inner, each, f"{where}[{i}]") for i, (inner, each) in pairs)


def _unreadable(where: str, why: str) -> ProtocolError:
    return ProtocolError(f"unreadable message from the server: {where}: {why}")
