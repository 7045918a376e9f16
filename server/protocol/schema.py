"""The protocol for machines: JSON Schema and AsyncAPI documents, made from the messages."""

from __future__ import annotations

import json
from typing import Any

from .errors import ERRORS
from .limits import PROTOCOL_VERSION
from .messages import CLIENT, SERVER

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """A JSON Schema with the unions `ClientMessage` and `ServerMessage`."""
    definitions: dict[str, Any] = {}
    for name, adapter in (("ClientMessage", CLIENT), ("ServerMessage", SERVER)):
        schema = adapter.json_schema(ref_template="#/$defs/{model}")
        parts: dict[str, Any] = schema.pop("$defs")
        if adapter is SERVER:
            # a server's message may have fields that a client does not know
            for part in parts.values():
                part.pop("additionalProperties", None)
        definitions |= parts
        definitions[name] = schema
    return {
        "$schema": SCHEMA_DIALECT,
        "title": f"rollcast protocol version {PROTOCOL_VERSION}: JSON messages",
        "$defs": {name: _tidy(definitions[name]) for name in sorted(definitions)},
    }


def asyncapi() -> dict[str, Any]:
    """An AsyncAPI 3 document of the WebSocket, with the same schemas."""
    schemas = json_schema()["$defs"]
    sent = _messages(schemas, "ClientMessage")
    received = _messages(schemas, "ServerMessage")
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "rollcast",
            "version": str(PROTOCOL_VERSION),
            "description": "One WebSocket per stream: JSON control messages as text, media "
            "packets as binary. The order of messages, the packets and the close codes are in "
            "protocol.md.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "stream": {
                "address": "/v1/stream",
                "messages": {**sent, **received, **_PACKETS},
                "bindings": {"ws": {"method": "GET"}},
            }
        },
        "operations": {
            "clientSends": _operation("receive", [*sent, "AudioInPacket", "VideoInPacket"]),
            "serverSends": _operation("send", [*received, "VideoPacket", "AudioOutPacket"]),
        },
        "components": {
            "schemas": {
                name: _repoint(schema)
                for name, schema in schemas.items()
                if name not in ("ClientMessage", "ServerMessage")
            }
        },
        "x-error-codes": {
            error.code: {
                "hint": error.default_hint,
                "fatal": error.fatal_by_default,
                "closeCode": error.close_code,
            }
            for error in ERRORS
        },
    }


def documents() -> dict[str, str]:
    """Both documents as text by file name, as they are kept in docs/."""
    return {
        "protocol.schema.json": _text(json_schema()),
        "asyncapi.json": _text(asyncapi()),
    }


_PACKETS: dict[str, Any] = {
    name: {
        "contentType": "application/octet-stream",
        "payload": {"type": "string", "format": "binary"},
        "summary": summary,
    }
    for name, summary in (
        ("VideoPacket", "Kind 1: 32-byte header, then one encoded frame."),
        ("AudioOutPacket", "Kind 2: 32-byte header, then sound as `session.ready` says."),
        ("AudioInPacket", "Kind 16: 32-byte header, then sound as `session.create` says."),
        ("VideoInPacket", "Kind 17: 32-byte header, then one JPEG file."),
    )
}


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _messages(schemas: dict[str, Any], union: str) -> dict[str, Any]:
    names = [each["$ref"].rsplit("/", 1)[1] for each in schemas[union]["oneOf"]]
    return {
        name: {
            "name": schemas[name]["properties"]["type"]["const"],
            "summary": schemas[name].get("description", ""),
            "payload": {"$ref": f"#/components/schemas/{name}"},
        }
        for name in names
    }


def _operation(action: str, names: list[str]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": "#/channels/stream"},
        "messages": [{"$ref": f"#/channels/stream/messages/{name}"} for name in names],
    }


def _tidy(schema: Any) -> Any:
    """Without the titles that repeat the names, and with `type` required in every message."""
    if isinstance(schema, list):
        return [_tidy(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    tidy = {key: _tidy(value) for key, value in schema.items() if key != "title"}
    if "properties" in schema:
        properties = {name: _tidy(each) for name, each in schema["properties"].items()}
        tidy["properties"] = properties
        if "const" in properties.get("type", {}):
            required = [name for name in schema.get("required", []) if name != "type"]
            tidy["required"] = ["type", *required]
    return tidy


def _repoint(schema: Any) -> Any:
    """References from a JSON Schema's definitions to AsyncAPI's components."""
    if isinstance(schema, list):
        return [_repoint(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: value.replace("#/$defs/", "#/components/schemas/")
        if key == "$ref"
        else _repoint(value)
        for key, value in schema.items()
    }
