"""`rollcast livekit`: the worker that brings avatars of a server to LiveKit rooms."""

from __future__ import annotations

import importlib.util
import ipaddress
import logging
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from .failure import EXIT_USAGE, Failure

if TYPE_CHECKING:
    from starlette.applications import Starlette

PORT = 8100


def livekit(
    server: Annotated[
        str, typer.Option(envvar="ROLLCAST_URL", help="The Rollcast server whose avatars appear.")
    ] = "http://127.0.0.1:8000",
    token: Annotated[
        str | None, typer.Option(envvar="ROLLCAST_TOKEN", help="The server's token.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="One of the server's models.")] = None,
    host: Annotated[
        str, typer.Option(help="Address to bind; any but this machine's own needs --secret.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to bind.")] = PORT,
    secret: Annotated[
        str | None,
        typer.Option(
            envvar="ROLLCAST_LIVEKIT_SECRET", help="What agents have to give as their API key."
        ),
    ] = None,
    room_server: Annotated[
        list[str] | None,
        typer.Option(help="Join rooms of this LiveKit server only; may be repeated."),
    ] = None,
    max_avatars: Annotated[int, typer.Option(min=1, help="Avatars in rooms at once.")] = 8,
) -> None:
    """Bring avatars to LiveKit rooms: agents that use bitHuman or LiveAvatar send for them here."""
    if importlib.util.find_spec("livekit") is None or importlib.util.find_spec("multipart") is None:
        raise Failure(
            "LiveKit's SDK is not installed",
            hint="Install it with: pip install 'rollcast-client[livekit]'",
            exit_code=EXIT_USAGE,
        )
    if not secret and not _is_this_machine(host):
        raise Failure(
            f"at {host} anybody could send for avatars",
            hint="Set ROLLCAST_LIVEKIT_SECRET to what agents give as their API key, or bind "
            "127.0.0.1.",
            exit_code=EXIT_USAGE,
        )
    import uvicorn

    app = _app(server, token, model, secret or None, tuple(room_server or ()), max_avatars)
    _say_of_rooms()
    # nothing of requests is said: what is in a socket's address opens it
    config = uvicorn.Config(app, host=host, port=port, log_level="warning", ws="websockets-sansio")
    listener = config.bind_socket()
    shown = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"avatars of {server}; agents send for them at:", markup=False)
    console.print(f"  bitHuman    api_url={shown}/launch", markup=False)
    console.print(f"  LiveAvatar  api_url={shown}/v1/sessions", markup=False)
    uvicorn.Server(config).run(sockets=[listener])


def _say_of_rooms() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    ours = logging.getLogger("rollcast.client.livekit")
    ours.setLevel(logging.INFO)
    ours.addHandler(handler)
    ours.propagate = False


def _app(
    server: str,
    token: str | None,
    model: str | None,
    secret: str | None,
    room_servers: tuple[str, ...],
    max_avatars: int,
) -> Starlette:
    # not before it is known to be installed
    from ...client.livekit.app import build_app
    from ...client.livekit.avatar import Rollcast
    from ...client.livekit.avatars import Avatars

    avatars = Avatars(Rollcast(server, token, model), max_avatars)
    return build_app(avatars, secret=secret, room_servers=room_servers)


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
