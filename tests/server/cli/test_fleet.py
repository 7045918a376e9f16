"""`rollcast fleet` and `rollcast fleet gateway` take the same options of a gateway."""

from __future__ import annotations

from inspect import signature
from typing import Any

import pytest
from typer.testing import CliRunner

from rollcast.server.cli import fleet as command

SHARED = set(signature(command._public_side).parameters)


def options_of(name: str) -> dict[str, Any]:
    callback = {"run": command.run, "gateway": command.gateway}[name]
    given = signature(callback).parameters
    return {key: each.default for key, each in given.items() if key in SHARED}


def test_what_is_public_stands_in_one_place() -> None:
    assert options_of("run") == options_of("gateway") and set(options_of("run")) == SHARED


def test_its_options_reach_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Any] = []
    monkeypatch.setattr(command, "_serve", lambda *given: served.append(given))
    options = ["--port", "9001", "--token", "a secret", "--allow-host", "a.example", "--max-wait"]
    result = CliRunner().invoke(
        command.fleet, ["gateway", "--controller", "http://there", "--key", "k" * 32, *options, "7"]
    )
    assert result.exit_code == 0, result.output
    ((config, controller, max_wait_s, own_url),) = served
    assert (config.port, config.allowed_hosts, max_wait_s) == (9001, ("a.example",), 7.0)
    assert config.token.reveal() == "a secret" and config.fleet_key.reveal() == "k" * 32
    assert (controller, own_url) == ("http://there", None)


def test_what_is_open_to_the_network_needs_a_token() -> None:
    result = CliRunner().invoke(
        command.fleet,
        ["gateway", "--controller", "http://there", "--key", "k" * 32, "--host", "0.0.0.0"],
        env={"ROLLCAST_TOKEN": ""},
    )
    assert result.exit_code != 0 and "token" in (result.output + str(result.exception))
