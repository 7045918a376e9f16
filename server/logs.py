"""Structured logs: one event per line, with the session id bound where there is one."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog

# Without the values of local variables: tokens and what people said are among them.
_JSON_TRACEBACKS = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)
OWN = "rollcast"


class BoundedLibraries(logging.Filter):
    """Lets each message of a library pass `at_once` times, and then once in `every_s`.

    What strangers do is logged by libraries in their own words, and strangers do it often.
    """

    def __init__(self, at_once: int = 20, every_s: float = 10.0) -> None:
        super().__init__()
        self._at_once = at_once
        self._every_s = every_s
        self._seen: dict[tuple[str, int, str], tuple[int, float]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write it."""
        if record.name.partition(".")[0] == OWN:
            return True
        key = (record.name, record.levelno, str(record.msg))
        count, since_s = self._seen.get(key, (0, record.created))
        if count >= self._at_once:
            if record.created - since_s < self._every_s:
                return False
            since_s = record.created
        if len(self._seen) >= MOST_MESSAGES:
            self._seen.clear()
        self._seen[key] = count + 1, since_s
        return True


MOST_MESSAGES = 1000


def configure_logs(
    log_format: Literal["console", "json"], level: Literal["debug", "info", "warning", "error"]
) -> None:
    """Send our events and those of the libraries to stderr in one format. Call once, at start."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    last: list[structlog.typing.Processor] = (
        [_JSON_TRACEBACKS, structlog.processors.JSONRenderer()]
        if log_format == "json"
        else [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(BoundedLibraries())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
    # A line per request is the access log's job only when someone debugs.
    logging.getLogger("uvicorn.access").setLevel(
        logging.INFO if level == "debug" else logging.WARNING
    )


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module."""
    return structlog.stdlib.get_logger(name)
