"""One line per event, as JSON if wanted, with the session bound to it."""

import json
import logging
from collections.abc import Iterator
from typing import Literal

import pytest
import structlog

from rollcast.server.logs import BoundedLibraries, configure_logs, logger


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def test_json_lines_carry_the_session(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json", "info")
    with structlog.contextvars.bound_contextvars(session_id="s1"):
        logger("rollcast.test").info("something happened", chunk=3)
    logging.getLogger("uvicorn.error").warning("from a library")
    logger("rollcast.test").debug("not shown")
    ours, theirs = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (ours["event"], ours["session_id"], ours["chunk"]) == ("something happened", "s1", 3)
    assert ours["logger"] == "rollcast.test" and ours["level"] == "info"
    assert theirs["event"] == "from a library"


def test_console_lines_are_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("console", "debug")
    logger("rollcast.test").debug("hello", port=8000)
    line = capsys.readouterr().err
    assert "hello" in line and "port" in line


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_a_traceback_shows_no_values(
    log_format: Literal["console", "json"], capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither ours nor a library's: tokens and what people said are among them."""
    configure_logs(log_format, "info")

    def fails(token: str) -> None:
        picture = "their " + token
        assert picture, "not used otherwise"
        raise RuntimeError("it broke")

    try:
        fails("hush-" + "hush")
    except RuntimeError:
        logger("rollcast.test").exception("ours")
        logging.getLogger("uvicorn.error").exception("theirs")
    said = capsys.readouterr().err
    assert "hush-hush" not in said
    assert said.count("it broke") >= 2 and "test_logs.py" in said, "where it was is told"


def test_a_library_does_not_fill_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json", "info")
    for number in range(200):
        logging.getLogger("asyncio").error("out of %s", number)
        logging.getLogger("uvicorn.error").warning("invalid")
        logger("rollcast.test").info("ours")
    lines = [json.loads(line)["logger"] for line in capsys.readouterr().err.splitlines()]
    assert lines.count("asyncio") == lines.count("uvicorn.error") == 20
    assert lines.count("rollcast.test") == 200


def test_what_a_library_repeats_is_told_again_after_a_while() -> None:
    bounded = BoundedLibraries(at_once=2, every_s=10.0)

    def passes(at_s: float) -> bool:
        record = logging.LogRecord("asyncio", logging.ERROR, "", 0, "out of sockets", None, None)
        record.created = at_s
        return bounded.filter(record)

    assert [passes(at_s) for at_s in (0, 1, 2, 9, 12, 13, 21, 23)] == [
        *(True, True, False, False),
        *(True, False, False, True),
    ]
