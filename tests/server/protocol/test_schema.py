"""The schemas agree with the golden vectors and with the specification."""

import json
from pathlib import Path
from typing import Any

import jsonschema

from rollcast.server.protocol.errors import ERRORS
from rollcast.server.protocol.schema import asyncapi, json_schema

ROOT = Path(__file__).parents[3]
VECTORS: dict[str, Any] = json.loads((ROOT / "tests/fixtures/protocol_vectors.json").read_text())
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()


def validator(union: str) -> jsonschema.Draft202012Validator:
    schema = {**json_schema(), "$ref": f"#/$defs/{union}"}
    return jsonschema.Draft202012Validator(schema)


def test_the_schema_accepts_the_golden_messages() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    for union, messages in (("ClientMessage", "client"), ("ServerMessage", "server")):
        check = validator(union)
        assert all(check.is_valid(message) for message in VECTORS[f"{messages}_messages"])


def test_the_schema_refuses_what_the_parser_refuses() -> None:
    check = validator("ClientMessage")
    for vector in VECTORS["invalid_client_messages"]:
        try:
            message = json.loads(vector["text"])
        except (ValueError, RecursionError):
            continue
        # JSON has no such numbers and characters, though Python reads them.
        if vector["code"] != "bad_json" and vector["name"] != "number too big":
            assert not check.is_valid(message), vector["name"]


def test_the_schema_accepts_both_ways_to_write_a_message() -> None:
    check = validator("ClientMessage")
    for texts in VECTORS["equal_client_messages"]:
        assert all(check.is_valid(json.loads(text)) for text in texts), texts


def test_the_schema_lets_a_server_say_more_than_is_known() -> None:
    check = validator("ServerMessage")
    for message in VECTORS["server_messages"]:
        assert check.is_valid({**message, "field_of_a_newer_server": 1}), message["type"]
    hello = next(each for each in VECTORS["server_messages"] if each["type"] == "hello")
    newer = {**hello["limits"], "field_of_a_newer_server": 1}
    assert check.is_valid({**hello, "limits": newer})
    assert not validator("ClientMessage").is_valid({"type": "key", "extra": 1})


def test_every_reference_in_asyncapi_leads_somewhere() -> None:
    document = asyncapi()

    def references(node: Any) -> list[str]:
        if isinstance(node, list):
            return [ref for each in node for ref in references(each)]
        if not isinstance(node, dict):
            return []
        inner = [ref for key, each in node.items() if key != "$ref" for ref in references(each)]
        return inner + ([node["$ref"]] if "$ref" in node else [])

    for reference in references(document):
        node = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]


def test_the_specification_names_every_message_field_error_and_close_code() -> None:
    definitions = json_schema()["$defs"]
    for union in ("ClientMessage", "ServerMessage"):
        for each in definitions[union]["oneOf"]:
            schema = definitions[each["$ref"].rsplit("/", 1)[1]]
            assert f"`{schema['properties']['type']['const']}`" in PROTOCOL
            for name in schema["properties"]:
                assert f"`{name}`" in PROTOCOL, name
    for error in ERRORS:
        assert f"`{error.code}`" in PROTOCOL
        assert error.default_hint in PROTOCOL, error.code
        if error.fatal_by_default:
            assert str(error.close_code) in PROTOCOL
