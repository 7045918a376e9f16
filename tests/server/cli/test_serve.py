"""`rollcast serve`: options become the configuration, and the welcome tells the right address."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path

import pytest

from rollcast.server.cli import serve as serve_command
from rollcast.server.cli import welcome
from rollcast.server.cli.app import main
from rollcast.server.cli.welcome import ask, has_desktop, page_address
from rollcast.server.config import ServerConfig

from ..running import running


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[ServerConfig]:
    configs: list[ServerConfig] = []
    monkeypatch.setattr("rollcast.server.web.app.serve", configs.append)
    monkeypatch.setattr(serve_command, "check_address", lambda config: None)
    monkeypatch.setattr(serve_command.Welcome, "start", lambda self: None)
    return configs


def serve(*options: str) -> None:
    with pytest.raises(SystemExit) as end:
        main(["serve", *options])
    assert not end.value.code


def test_by_default_only_this_machine_is_served(served: list[ServerConfig]) -> None:
    serve()
    assert served == [ServerConfig()]


def test_every_option_arrives(served: list[ServerConfig]) -> None:
    serve(
        *("--host", "0.0.0.0", "--port", "9000", "--model", "pocket", "--model", "test-pattern"),
        *("--threads", "2", "--token", "t", "--max-sessions", "3", "--max-kbps", "900"),
        *("--grace", "5", "--self-signed", "--tls-name", "a.lan", "--allow-host", "b.lan"),
        *("--allow-origin", "https://c.lan", "--no-open", "--log-format", "json"),
        *("--log-level", "warning"),
    )
    assert served == [
        ServerConfig(
            host="0.0.0.0",
            port=9000,
            models=("pocket", "test-pattern"),
            threads=2,
            token="t",
            max_sessions=3,
            max_kbps=900,
            grace_s=5,
            self_signed=True,
            tls_names=("a.lan",),
            allowed_hosts=("b.lan",),
            allowed_origins=("https://c.lan",),
            log_format="json",
            log_level="warning",
        )
    ]


def test_the_token_may_come_from_the_environment(
    served: list[ServerConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROLLCAST_TOKEN", "hush")
    serve("--host", "0.0.0.0")
    assert served[0].token == "hush"


def test_the_address_is_one_a_browser_here_can_open() -> None:
    assert page_address(ServerConfig()) == "http://127.0.0.1:8000/"
    everywhere = ServerConfig(host="0.0.0.0", token="a b", self_signed=True, port=9)
    assert page_address(everywhere) == "https://127.0.0.1:9/#token=a%20b"
    assert page_address(ServerConfig(host="::1")) == "http://[::1]:8000/"


@pytest.mark.parametrize("tls", [False, True])
async def test_our_own_server_is_asked(tls: bool, tmp_path: Path) -> None:
    async with running(self_signed=tls, state_dir=tmp_path) as server:
        config = ServerConfig(port=server.port, self_signed=tls)
        status, health = await asyncio.to_thread(ask, config, "/health")
        assert (status, health["engine"]) == (200, "ready")
    assert await asyncio.to_thread(ask, config, "/health") == (0, {})


def test_no_window_is_opened_where_nobody_sits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("DISPLAY", ":0")
    assert has_desktop()
    monkeypatch.setenv("SSH_CONNECTION", "somewhere")
    assert not has_desktop()
    monkeypatch.delenv("SSH_CONNECTION")
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not has_desktop()


def test_a_model_that_does_not_load_stops_the_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = {"/ready": (503, {}), "/health": (503, {"reason": "ValueError: no weights"})}
    stopped = threading.Event()
    monkeypatch.setattr(welcome, "ask", lambda config, path: answers[path])
    monkeypatch.setattr(welcome.os, "kill", lambda pid, signal: stopped.set())
    monkeypatch.setattr("rollcast.server.web.app.serve", lambda config: stopped.wait(5))
    monkeypatch.setattr(serve_command, "check_address", lambda config: None)
    with pytest.raises(SystemExit) as end:
        main(["serve"])
    assert end.value.code == 1
    assert "could not be loaded: ValueError: no weights" in capsys.readouterr().err


def test_an_unknown_model_is_refused_before_anything_starts(
    served: list[ServerConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["serve", "--model", "nope"])
    assert end.value.code == 2
    assert "known: pocket, test-pattern" in capsys.readouterr().err
    assert served == []


def test_a_taken_port_is_said_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[ServerConfig] = []
    monkeypatch.setattr("rollcast.server.web.app.serve", started.append)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(SystemExit) as end:
            main(["serve", "--port", str(other.getsockname()[1])])
    assert end.value.code == 1
    assert "Choose another --port" in capsys.readouterr().err
    assert started == []


def test_stopping_it_by_hand_is_no_failure(
    served: list[ServerConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(config: ServerConfig) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rollcast.server.web.app.serve", interrupted)
    serve()
