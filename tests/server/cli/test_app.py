"""The command line as a whole: help, version, exit codes, and errors on two lines."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from importlib.metadata import version

import pytest

from rollcast.server.cli.app import main

COMMANDS = ("serve", "render", "record", "bench", "doctor", "models", "parity", "protocol")


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return int(end.value.code or 0)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--help") == 0
    assert command in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert version("rollcast") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("render", "out.avi", "--model", "test-pattern"), "not an .mp4"),
        (("render", "{tmp}/o.mp4", "--model", "nope"), "known: pocket"),
        (("render", "{tmp}/o.mp4", "--model", "test-pattern", "--scene", "nope"), "bars, grid"),
        (("render", "{tmp}/o.mp4", "--model", "test-pattern", "--audio", "no.wav"), "no.wav"),
        (("parity", "no-case.json"), "no such case: no-case.json"),
        (("bench", "stream", "--sessions", "1,x"), "--sessions 1,2,4"),
        (("bench", "stream", "--model", "nope"), "known: pocket"),
        (("serve", "--host", "0.0.0.0", "--model", "test-pattern"), "needs a token"),
        (("record", "http://127.0.0.1:9", "{tmp}/o.mp4", "--tracks", "no.json"), "no.json"),
    ],
)
def test_mistakes_are_named_and_exit_with_two(
    arguments: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: object,
) -> None:
    assert run(*(a.replace("{tmp}", str(tmp_path)) for a in arguments)) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert message in shown
    assert "Traceback" not in shown


def test_an_absent_server_is_named(capsys: pytest.CaptureFixture[str], tmp_path: object) -> None:
    assert run("record", "http://127.0.0.1:9", f"{tmp_path}/o.mp4") == 4
    assert "rollcast serve" in capsys.readouterr().err


@pytest.mark.slow
def test_a_command_does_not_wait_for_what_others_need() -> None:
    code = (
        "import sys, rollcast.server.cli.app, rollcast.server.cli.serve\n"
        "others = {'torch', 'av', 'fastapi', 'rollcast.benchmarks', 'rollcast.client'}\n"
        "print(*(others & set(sys.modules)))"
    )
    imported = subprocess.run(
        [sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True
    )
    assert imported.stdout.split() == []


def test_a_mistyped_command_is_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("serv") == 2
    assert "Did you mean 'serve'" in capsys.readouterr().err


@pytest.mark.parametrize(("form", "mark"), [("schema", "$schema"), ("asyncapi", "asyncapi")])
def test_the_protocol_is_printed_as_json(
    form: str, mark: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("protocol", "--format", form) == 0
    assert mark in json.loads(capsys.readouterr().out)


ENDED = """
import sys, threading, time
import rollcast.server.cli.app as command_line
import rollcast.server.cli.commands as commands

threading.Thread(target=time.sleep, args=(600,)).start()
commands.app = lambda args: print("ended", flush=True) or sys.exit(130)
command_line.main()
"""


@pytest.mark.slow
@pytest.mark.processes
def test_who_interrupts_the_interpreters_own_end_sees_no_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-P", "-c", ENDED], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ended\n"
        time.sleep(0.2)  # it waits for its thread by now, or still leaves what it called
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert said == b""
    assert process.returncode in (-signal.SIGINT, 130)
