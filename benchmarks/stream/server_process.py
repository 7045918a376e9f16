"""The real server in a process of its own, on a free port, and what can be seen of it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from .memory import family, family_files, family_mb, family_own_mb
from .metrics_text import Sample, parse

START_TIMEOUT_S = 180.0
_PUBLISHED_START_S = 900.0
# It is this machine's own, which no proxy can reach.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
STOP_TIMEOUT_S = 15.0


def start_timeout_s(options: Sequence[str]) -> float:
    """How long a server may take to start whose model is told so much of: if anything, it is a
    published one, whose weights may take minutes to be read."""
    return _PUBLISHED_START_S if options else START_TIMEOUT_S


class ServerDied(Exception):
    """The server ended on its own; the message has its last lines."""


class ServerProcess:
    """A context manager: `rollcast serve` on 127.0.0.1 with one model, stopped at the end.

    `max_sessions` None: as many as the server finds to fit.
    """

    def __init__(
        self,
        model: str,
        *,
        max_sessions: int | None,
        threads: int | None = None,
        token: str | None = None,
        ladder: bool = False,
        options: Sequence[str] = (),
        start_timeout_s: float = START_TIMEOUT_S,
        cores: Sequence[int] = (),
    ) -> None:
        """`options` are further ones of `rollcast serve`; it runs on `cores` alone, if any.

        Without `ladder` streams give nothing up on a busy machine, so that figures compare.
        """
        self._start_timeout_s = start_timeout_s
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
        command = [sys.executable, "-P", "-m", "rollcast.server.cli", "serve", "--no-open"]
        command += ["--port", str(self.port), "--model", model, "--log-level", "warning"]
        command += ["--max-sessions", str(max_sessions)] if max_sessions else []
        command += ["--threads", str(threads)] if threads else []
        command += [] if ladder else ["--keep-quality"]
        command += options
        if cores:
            command = ["taskset", "-c", ",".join(map(str, cores)), *command]
        self.started_s = time.monotonic()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **({"ROLLCAST_TOKEN": token} if token else {})},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def wait_ready(self) -> None:
        """Return when the server is warm. Raises ServerDied when it ended or takes too long."""
        while True:
            self.check()
            try:
                with _DIRECT.open(f"{self.url}/ready", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
            if time.monotonic() - self.started_s > self._start_timeout_s:
                raise ServerDied(f"the server was not ready in {self._start_timeout_s:.0f} s")

    def check(self) -> None:
        """Raise ServerDied when the process has ended."""
        code = self._process.poll()
        if code is not None:
            self._log.seek(0)
            lines = self._log.read().decode(errors="replace").strip().splitlines()[-5:]
            raise ServerDied("\n".join([f"the server ended with code {code}", *lines]))

    def metrics(self) -> Sample:
        """The server's counters and timers now."""
        self.check()
        with _DIRECT.open(f"{self.url}/metrics", timeout=5) as reply:
            return parse(reply.read().decode())

    def inputs(self, model: str) -> dict[str, Any]:
        """What a model takes, as clients are told."""
        self.check()
        with _DIRECT.open(f"{self.url}/v1/models", timeout=5) as reply:
            named = {each["name"]: each for each in json.load(reply)}
        return named[model]["inputs"]

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def log_lines(self) -> int:
        """How many lines the server has written."""
        return os.pread(self._log.fileno(), os.fstat(self._log.fileno()).st_size, 0).count(b"\n")

    def memory_mb(self) -> float:
        """Memory of the server and its processes in megabytes (1e6 bytes)."""
        return family_mb(self._process.pid)

    def own_memory_mb(self) -> float:
        """The same without the pages of files, whose share other processes change."""
        return family_own_mb(self._process.pid)

    def processes(self) -> int:
        """How many the server is made of."""
        return len(family(self._process.pid))

    def files(self) -> int:
        """Open files of the server and its processes."""
        return family_files(self._process.pid)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
