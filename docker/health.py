"""The health check of the images: asks the server, and ends one that stays unwell.

    python health.py [--within SECONDS] [--end]

Exits with 0 as soon as the server says that it works, with 1 when it has not within that time. With
`--end` the server is then told to stop, and killed if that does not help: whoever keeps the
container running starts it anew. Needs nothing but Python.
"""

from __future__ import annotations

import argparse
import os
import signal
import ssl
import time
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

ANSWER_S = 2.0
PAUSE_S = 5.0
STOP_S = 20.0


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--within", type=float, default=0.0)
    parser.add_argument("--end", action="store_true")
    given = parser.parse_args()
    pid, port = server_process()
    end_s = time.monotonic() + given.within
    while not works(port):
        if time.monotonic() >= end_s:
            if given.end and pid is not None:
                end(pid)
            return 1
        time.sleep(PAUSE_S)
    return 0


def works(port: int) -> bool:
    """Whether `/health` says so, over HTTP or TLS; who we talk to is this container."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context))
    for scheme in ("http", "https"):
        try:
            with opener.open(f"{scheme}://127.0.0.1:{port}/health", timeout=ANSWER_S) as answer:
                return answer.status == 200
        except URLError as error:
            if getattr(error, "code", None) is not None:
                return False  # it answers, and says no
        except (OSError, HTTPException):
            continue
    return False


def server_process() -> tuple[int | None, int]:
    """The process of `rollcast serve` in this container, and its port.

    It is the first one, or its child where that is an init.
    """
    children = Path("/proc/1/task/1/children").read_text().split()
    for pid in ("1", *children):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        if "serve" in words and any(Path(word).name == "rollcast" for word in words):
            return int(pid), port_of(words)
    return None, 8000


def port_of(words: list[str]) -> int:
    """What a command line says after --port."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, _, value = word.partition("=")
        if name == "--port":
            return int(value or following)
    return 8000


def end(pid: int, stop_s: float = STOP_S) -> None:
    """Tell a process to stop, wait for so long, and kill it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        end_s = time.monotonic() + stop_s
        while time.monotonic() < end_s and Path(f"/proc/{pid}").exists():
            time.sleep(0.2)


if __name__ == "__main__":
    raise SystemExit(main())
