"""`rollcast serve`: options become the configuration, and the welcome tells the right address."""

from __future__ import annotations

import signal
import socket
from contextlib import AbstractContextManager, nullcontext
from urllib.request import urlopen

import pytest

from rollcast.models.registry import preload
from rollcast.models.test_pattern import TestPattern
from rollcast.server.cli import serve as serve_command
from rollcast.server.cli.app import main
from rollcast.server.cli.welcome import greet, has_desktop, page_address
from rollcast.server.config import ServerConfig
from rollcast.server.secret import Secret

from ..running import running, until


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[ServerConfig]:
    configs: list[ServerConfig] = []

    def serve(config: ServerConfig, listener: None, **_: object) -> None:
        configs.append(config)

    def listen(config: ServerConfig) -> AbstractContextManager[None]:
        return nullcontext()

    monkeypatch.setattr("rollcast.server.web.app.serve", serve)
    monkeypatch.setattr(serve_command, "listen", listen)
    monkeypatch.setattr(serve_command, "prepare_stages", lambda _: None)
    return configs


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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
        *(
            "--grace",
            "5",
            "--max-per-client",
            "2",
            "--max-duration",
            "600",
            "--trust-proxy",
            "10.0.0.1",
            "--self-signed",
            "--tls-name",
            "a.lan",
            "--allow-host",
            "b.lan",
        ),
        *("--allow-origin", "https://c.lan", "--no-open", "--log-format", "json"),
        *("--log-level", "warning"),
    )
    assert served == [
        ServerConfig(
            host="0.0.0.0",
            port=9000,
            models=("pocket", "test-pattern"),
            threads=2,
            token=Secret("t"),
            max_sessions=3,
            max_kbps=900,
            max_per_client=2,
            max_duration_s=600,
            trusted_proxies=("10.0.0.1",),
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
    assert served[0].token == Secret("hush")


def test_the_address_is_one_a_browser_here_can_open() -> None:
    assert page_address(ServerConfig()) == "http://127.0.0.1:8000/"
    everywhere = ServerConfig(host="0.0.0.0", token=Secret("a+b"), self_signed=True, port=9)
    assert page_address(everywhere) == "https://127.0.0.1:9/#token=a%2Bb"
    assert page_address(ServerConfig(host="::1")) == "http://[::1]:8000/"


async def test_whoever_asks_is_told_once_the_models_are_warm() -> None:
    told: list[str] = []
    async with running(
        on_ready=lambda: told.append("ready"), on_failed=told.append, wait_ready=False
    ) as server:
        await until(lambda: bool(told))
        assert server.engine.health == "ready"
    assert told == ["ready"]


async def test_whoever_asks_is_told_why_no_model_was_loaded() -> None:
    def load() -> list[TestPattern]:
        raise ValueError("no weights")

    told: list[str] = []
    async with running(load, on_ready=lambda: told.append("ready"), on_failed=told.append):
        await until(lambda: bool(told))
    assert told == ["ValueError: no weights"]


def test_the_greeting_tells_the_address_but_no_log_the_token(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("rollcast.server.cli.welcome.has_desktop", lambda: True)
    greet(ServerConfig(token=Secret("hush")), open_browser=True)
    assert "Rollcast is ready: http://127.0.0.1:8000/ " in capsys.readouterr().err
    assert opened == ["http://127.0.0.1:8000/#token=hush"]
    greet(ServerConfig(), open_browser=False)
    assert len(opened) == 1


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
    monkeypatch.setattr("rollcast.server.web.app.MODEL_FACTORY", "rollcast.models.registry:absent")
    with pytest.raises(SystemExit) as end:
        main(["serve", "--port", str(free_port()), "--no-open"])
    assert end.value.code == 1
    error = capsys.readouterr().err
    assert "could not be loaded: AttributeError" in error and "absent" in error
    assert "is ready" not in error


def test_the_page_can_be_opened_when_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the command to the greeting and Ctrl+C, with nothing replaced but the greeting."""
    answers: list[int] = []

    def greeted(config: ServerConfig, *, open_browser: bool) -> None:
        assert not open_browser
        with urlopen(f"http://127.0.0.1:{config.port}/ready", timeout=5) as answer:
            answers.append(answer.status)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(serve_command, "greet", greeted)
    serve("--port", str(free_port()), "--no-open", "--model", "test-pattern")
    assert answers == [200]


def test_an_unknown_model_is_refused_before_anything_starts(
    served: list[ServerConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["serve", "--model", "nope"])
    assert end.value.code == 2
    assert "known: pocket, pocket-256" in capsys.readouterr().err
    assert served == []


def test_a_taken_port_is_said_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[object] = []
    monkeypatch.setattr("rollcast.server.web.app.serve", lambda *given, **_: started.append(given))
    monkeypatch.setattr(serve_command, "prepare_stages", started.append)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(SystemExit) as end:
            main(["serve", "--port", str(other.getsockname()[1])])
    assert end.value.code == 1
    assert "Choose another --port" in capsys.readouterr().err
    assert started == []


def test_what_stages_import_is_begun_before_the_server_is(
    served: list[ServerConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[tuple[list[str], int]] = []
    monkeypatch.setattr(
        serve_command, "prepare_stages", lambda modules: prepared.append((modules, len(served)))
    )
    serve("--model", "test-pattern", "--model", "pocket")
    assert prepared == [(list(preload("pocket")), 0)]


def test_stopping_it_by_hand_is_no_failure(
    served: list[ServerConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rollcast.server.web.app.serve", interrupted)
    serve()
