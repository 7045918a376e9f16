"""Write what is made from the messages: documents, the Python client's classes, the page's types.

    python -m rollcast.server.protocol.generate

A test fails while any of it differs from what this would write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from ...models.contract import TrackPhase
from .fields import AudioCodec, Codec
from .schema import documents, json_schema

ROOT = Path(__file__).parents[2]
_NOTICE = "Made by server/protocol/generate.py from the server's messages; do not edit."
_ALIASES: dict[str, tuple[str, ...]] = {
    "Codec": get_args(Codec),
    "AudioCodec": get_args(AudioCodec),
    "Phase": get_args(TrackPhase),
}
# What a client calls a message where the server's name means something else to it.
_CLIENT_NAMES = {"Rejected": "RejectedNotice", "ErrorMessage": "ErrorNotice"}


@dataclass(frozen=True, slots=True)
class _Language:
    """How a language writes types: plain ones, words of which one is meant, lists, tuples."""

    plain: dict[str, str]
    name: Callable[[str], str]
    one_of: Callable[[list[str]], str]
    list_of: Callable[[str], str]
    several: Callable[[list[str]], str]


_PYTHON = _Language(
    plain={"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"},
    name=lambda name: _CLIENT_NAMES.get(name, name),
    one_of=lambda words: f"Literal[{', '.join(words)}]",
    list_of=lambda inner: f"list[{inner}]",
    several=lambda inner: f"tuple[{', '.join(inner)}]",
)
_TYPESCRIPT = _Language(
    plain={name: name for name in ("string", "number", "boolean", "null")} | {"integer": "number"},
    name=lambda name: name,
    one_of=" | ".join,
    list_of=lambda inner: f"({inner})[]" if " " in inner else f"{inner}[]",
    several=lambda inner: f"[{', '.join(inner)}]",
)


def files() -> dict[str, str]:
    """Everything that is made from the messages, as text by its path in the repository."""
    return {
        **{f"docs/{name}": text for name, text in documents().items()},
        "client/messages.py": client_messages(),
        "client/web/net/messages.d.ts": page_types(),
    }


def write(root: Path = ROOT) -> None:
    """Write all files under `root`."""
    for path, text in files().items():
        (root / path).write_text(text)


def client_messages() -> str:
    """The messages as dataclasses of the Python client."""
    schemas = json_schema()["$defs"]
    sent, received = _members(schemas, "ClientMessage"), _members(schemas, "ServerMessage")
    classes = [_python_class(schemas, name, "Outgoing") for name in _ordered(schemas, sent)]
    classes += [_python_class(schemas, name, "Incoming") for name in _ordered(schemas, received)]
    aliases = [
        f"{name} = Literal[{', '.join(_quoted(values))}]" for name, values in _ALIASES.items()
    ]
    types = [f'    "{_type_of(schemas[name])}": {_PYTHON.name(name)},' for name in received]
    return "\n".join(
        [
            '"""The JSON messages of protocol version 1, as a client sees them.',
            "",
            _NOTICE,
            '"""',
            "",
            "from __future__ import annotations",
            "",
            "from dataclasses import dataclass, field",
            "from typing import ClassVar, Literal",
            "",
            "from .message_base import Bounds, Control, Incoming, Outgoing, read_message",
            "",
            *aliases,
            "",
            "",
            *("\n".join(each) + "\n\n" for each in classes),
            _python_union("ClientMessage", sent),
            _python_union("ServerMessage", received),
            "",
            "SERVER_MESSAGES: dict[str, type[ServerMessage]] = {",
            *types,
            "}",
            "",
            "",
            "def parse_server(text: str) -> ServerMessage | None:",
            '    """Read a server\'s message; None for one of a type that version 1 has not yet.',
            "",
            "    Raises ProtocolError for what is no message.",
            '    """',
            "    return read_message(text, SERVER_MESSAGES)",
            "",
        ]
    )


def page_types() -> str:
    """The messages as TypeScript declarations for the page's type checker."""
    schemas = json_schema()["$defs"]
    sent, received = _members(schemas, "ClientMessage"), _members(schemas, "ServerMessage")
    parts = [f"/** The JSON messages of protocol version 1. {_NOTICE} */"]
    parts += [
        f"export type {name} = {' | '.join(_quoted(values))};" for name, values in _ALIASES.items()
    ]
    for names, is_sent in ((sent, True), (received, False)):
        parts += [_interface(schemas, name, is_sent=is_sent) for name in _ordered(schemas, names)]
    for union, names in (("ClientMessage", sent), ("ServerMessage", received)):
        members = "".join(f"\n  | {name}" for name in names)
        parts.append(f"export type {union} ={members};")
    return "\n\n".join(parts) + "\n"


def _python_class(schemas: dict[str, Any], name: str, base: str) -> list[str]:
    schema = schemas[name]
    is_control = base == "Outgoing" and "event_id" in schema.get("required", ())
    lines = [
        "@dataclass(frozen=True, slots=True, kw_only=True)",
        f"class {_PYTHON.name(name)}({'Control' if is_control else base}):",
        *_docstring(schema["description"]),
        "",
    ]
    bounds: dict[str, tuple[float, float]] = {}
    for field, part in schema["properties"].items():
        if field == "type":
            lines.append(f'    type: ClassVar[str] = "{part["const"]}"')
        elif not (is_control and field == "event_id"):
            lines.append(
                f"    {field}: {_type(part, _PYTHON)}{_python_default(schema, field, part)}"
            )
        if "type" not in schema["properties"] and "maximum" in part:
            bounds[field] = part["minimum"], part["maximum"]
    if base == "Outgoing" and bounds:
        # values that users build; what a message has wrong the server says
        lines.append(f"    bounds: ClassVar[Bounds] = {bounds}".replace("'", '"'))
    return lines


def _python_default(schema: dict[str, Any], field: str, part: dict[str, Any]) -> str:
    if field in schema.get("required", ()):
        return ""
    default = part.get("default")
    if isinstance(default, list):
        return " = field(default_factory=list)"
    return f' = "{default}"' if isinstance(default, str) else f" = {default}"


def _python_union(name: str, members: list[str]) -> str:
    first, *others = map(_PYTHON.name, members)
    return "\n".join([f"{name} = (", f"    {first}", *(f"    | {each}" for each in others), ")"])


def _interface(schemas: dict[str, Any], name: str, *, is_sent: bool) -> str:
    schema = schemas[name]
    lines = [f"/** {_flat(schema['description'])} */", f"export interface {name} {{"]
    for field, part in schema["properties"].items():
        # the server leaves out only what has no value
        optional = field not in schema.get("required", ()) and (
            is_sent or part.get("default") is None
        )
        lines.append(f"  {field}{'?' if optional else ''}: {_type(part, _TYPESCRIPT)};")
    return "\n".join([*lines, "}"])


def _type(part: dict[str, Any], language: _Language) -> str:
    if "anyOf" in part:
        return " | ".join(_type(each, language) for each in part["anyOf"])
    if "$ref" in part:
        return language.name(part["$ref"].rsplit("/", 1)[1])
    if "enum" in part or "const" in part:
        words = tuple(part.get("enum", (part.get("const"),)))
        alias = next((name for name, known in _ALIASES.items() if known == words), None)
        return alias or language.one_of(_quoted(words))
    if "prefixItems" in part:
        return language.several([_type(each, language) for each in part["prefixItems"]])
    if part["type"] == "array":
        return language.list_of(_type(part["items"], language))
    return language.plain[part["type"]]


def _members(schemas: dict[str, Any], union: str) -> list[str]:
    return [each["$ref"].rsplit("/", 1)[1] for each in schemas[union]["oneOf"]]


def _ordered(schemas: dict[str, Any], messages: list[str]) -> list[str]:
    """The messages and what they are made of, each part before the first that needs it."""
    order: list[str] = []

    def add(name: str) -> None:
        for inner in _references(schemas[name]):
            add(inner)
        if name not in order:
            order.append(name)

    for name in messages:
        add(name)
    return order


def _references(node: Any) -> list[str]:
    if isinstance(node, list):
        return [name for each in node for name in _references(each)]
    if not isinstance(node, dict):
        return []
    inner = [name for key, each in node.items() if key != "$ref" for name in _references(each)]
    return inner + ([node["$ref"].rsplit("/", 1)[1]] if "$ref" in node else [])


def _type_of(schema: dict[str, Any]) -> str:
    return schema["properties"]["type"]["const"]


def _quoted(values: Iterable[str]) -> list[str]:
    return [f'"{value}"' for value in values]


def _flat(text: str) -> str:
    return " ".join(text.split())


def _docstring(text: str) -> list[str]:
    first, *rest = text.strip().splitlines()
    if not rest:
        return [f'    """{first}"""']
    return [f'    """{first}', *(f"    {line}".rstrip() for line in rest), '    """']


if __name__ == "__main__":
    write()
