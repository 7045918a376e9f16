"""Tells the address once the server is ready, and opens the page where there is a desktop."""

from __future__ import annotations

import os
import sys
import webbrowser
from urllib.parse import quote

from rich.console import Console

from ..config import ServerConfig

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def greet(config: ServerConfig, *, open_browser: bool) -> None:
    """Tell whoever sits at the terminal that streams can begin, and where."""
    address = page_address(config)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    # The token is for the person at the terminal, not for log files.
    shown = address if sys.stderr.isatty() else address.partition("#")[0]
    console.print(f"\nRollcast is ready: [bold]{shown}[/]   (stop it with Ctrl+C)\n")
    if open_browser and has_desktop():
        webbrowser.open(address)


def page_address(config: ServerConfig) -> str:
    """What to type into a browser on this machine; the token rides in the fragment."""
    host = _EVERYWHERE.get(config.host, config.host)
    shown = f"[{host}]" if ":" in host else host
    scheme = "https" if config.tls else "http"
    fragment = f"#token={quote(config.token.reveal())}" if config.token else ""
    return f"{scheme}://{shown}:{config.port}/{fragment}"


def has_desktop() -> bool:
    """Whether a browser window could appear in front of someone."""
    if os.environ.get("CI") or os.environ.get("SSH_CONNECTION"):
        return False
    if sys.platform.startswith(("win", "darwin")):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
