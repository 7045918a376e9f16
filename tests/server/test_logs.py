"""One line per event, as JSON if wanted, with the session bound to it."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from rollcast.server.logs import configure_logs, logger


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
