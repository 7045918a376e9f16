"""Tells the address once the server is ready, and opens the page where there is a desktop."""

from __future__ import annotations

import http.client
import json
import os
import signal
import ssl
import sys
import threading
import time
import webbrowser
from typing import Any
from urllib.parse import quote

from rich.console import Console

from ..config import ServerConfig

POLL_S = 0.25
GIVE_UP_S = 600.0
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class Welcome:
    """Waits in a thread of its own until the server answers ready, or says why it will not.

    A server whose model does not load is told to stop; `failure` has the reason then.
    """

    def __init__(self, config: ServerConfig, *, open_browser: bool) -> None:
        self._config = config
        self._open_browser = open_browser
        self.failure = ""

    def start(self) -> None:
        """Begin to wait; returns at once."""
        threading.Thread(target=self._run, name="welcome", daemon=True).start()

    def _run(self) -> None:
        end_s = time.monotonic() + GIVE_UP_S
        while time.monotonic() < end_s:
            if ask(self._config, "/ready")[0] == 200:
                self._greet()
                return
            self.failure = ask(self._config, "/health")[1].get("reason") or ""
            if self.failure:
                # What Ctrl+C does: the server closes its sockets and returns.
                os.kill(os.getpid(), signal.SIGINT)
                return
            time.sleep(POLL_S)

    def _greet(self) -> None:
        address = page_address(self._config)
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        # The token is for the person at the terminal, not for log files.
        shown = address if sys.stderr.isatty() else address.partition("#")[0]
        console.print(f"\nRollcast is ready: [bold]{shown}[/]   (stop it with Ctrl+C)\n")
        if self._open_browser and has_desktop():
            webbrowser.open(address)


def page_address(config: ServerConfig) -> str:
    """What to type into a browser on this machine; the token rides in the fragment."""
    host = _EVERYWHERE.get(config.host, config.host)
    shown = f"[{host}]" if ":" in host else host
    scheme = "https" if config.tls else "http"
    fragment = f"#token={quote(config.token)}" if config.token else ""
    return f"{scheme}://{shown}:{config.port}/{fragment}"


def ask(config: ServerConfig, path: str) -> tuple[int, dict[str, Any]]:
    """Status and JSON body of a GET to our own server; (0, {}) while nobody answers."""
    host = _EVERYWHERE.get(config.host, config.host)
    if config.tls:
        # Our own server on this machine: only the answer matters, not who signed for it.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, config.port, timeout=2, context=context)
    else:
        connection = http.client.HTTPConnection(host, config.port, timeout=2)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    except (OSError, http.client.HTTPException, ValueError):
        return 0, {}
    finally:
        connection.close()


def has_desktop() -> bool:
    """Whether a browser window could appear in front of someone."""
    if os.environ.get("CI") or os.environ.get("SSH_CONNECTION"):
        return False
    if sys.platform.startswith(("win", "darwin")):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
