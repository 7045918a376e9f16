"""`rollcast fleet`: replicas on a Ray cluster behind a gateway, and a look at them."""

from __future__ import annotations

import asyncio
import math
import re
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ...models.registry import DEFAULT_MODEL
from ..config import ServerConfig
from ..secret import Secret
from .failure import EXIT_UNREACHABLE, EXIT_USAGE, Failure, as_failure
from .options import Device, Threads, Weights, check_model

fleet = typer.Typer(
    help="Replicas of the server on a Ray cluster, and gateways before them.",
    invoke_without_command=True,
    rich_markup_mode=None,
)

Key = Annotated[
    str | None, typer.Option(envvar="ROLLCAST_FLEET_KEY", help="What all of the fleet know.")
]
Host = Annotated[str, typer.Option(help="Address of the gateway; others need --token.")]
Port = Annotated[int, typer.Option(min=1, max=65_535, help="Port of the gateway.")]
Token = Annotated[str | None, typer.Option(envvar="ROLLCAST_TOKEN", help="What clients must know.")]
SelfSigned = Annotated[
    bool, typer.Option("--self-signed", help="TLS at the gateway, with a certificate made here.")
]
TlsCert = Annotated[Path | None, typer.Option(help="TLS certificate chain of the gateway (PEM).")]
TlsKey = Annotated[Path | None, typer.Option(help="Its key (PEM).")]
AllowHost = Annotated[list[str] | None, typer.Option(help="Further Host name of the gateway.")]
AllowOrigin = Annotated[list[str] | None, typer.Option(help="Further Origin of pages.")]
MaxWait = Annotated[float, typer.Option(min=0, help="Seconds that clients wait for a place.")]


@fleet.callback()
def run(
    context: typer.Context,
    replicas: Annotated[
        str, typer.Option(help="How many, as 2 or as 1..8: more when places run out.")
    ] = "1..2",
    devices: Annotated[
        int, typer.Option(min=0, help="GPUs of each replica; 0: it computes on CPUs.")
    ] = 0,
    cpus: Annotated[float, typer.Option(min=0, help="CPUs that Ray keeps for a replica.")] = 1.0,
    reserve: Annotated[int, typer.Option(min=0, help="Places that are kept free.")] = 1,
    calm: Annotated[
        float, typer.Option(min=1, help="Seconds of spare places before a replica is let go of.")
    ] = 60.0,
    address: Annotated[
        str,
        typer.Option(help="Ray of this node (auto), or local: one for this command."),
    ] = "local",
    model: Annotated[list[str] | None, typer.Option(help="A name of `rollcast models`.")] = None,
    weights: Weights = None,
    device: Device = None,
    threads: Threads = None,
    max_sessions: Annotated[
        int | None, typer.Option(min=1, help="Streams of a replica; by default as many as fit.")
    ] = None,
    controller_host: Annotated[
        str, typer.Option(help="Address of the controller, for gateways only.")
    ] = "127.0.0.1",
    controller_port: Annotated[int, typer.Option(min=0, max=65_535)] = 0,
    record: Annotated[
        Path | None, typer.Option(help="A folder on each node for logs of all streams.")
    ] = None,
    recordings: Annotated[
        Path | None, typer.Option(help="A folder on each node for films of all streams.")
    ] = None,
    launch_only: Annotated[
        bool, typer.Option("--launch-only", help="Start the controller, no gateway, and end.")
    ] = False,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    token: Token = None,
    key: Key = None,
    self_signed: SelfSigned = False,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    allow_host: AllowHost = None,
    allow_origin: AllowOrigin = None,
    max_wait: MaxWait = 60.0,
) -> None:
    """Start the controller and its replicas, and serve clients by a gateway here."""
    if context.invoked_subcommand is not None:
        return
    _check_installed()
    for name in model or ():
        check_model(name)
    from ..fleet.controller import ControllerSettings
    from ..fleet.launch import Launch
    from ..fleet.run import Known, launched, new_key, remember

    least, most = _bounds(replicas)
    known_key = key or new_key()
    public = _public(
        known_key, host, port, token, self_signed, tls_cert, tls_key, allow_host, allow_origin
    )
    settings: dict[str, Any] = {
        "models": list(model or (DEFAULT_MODEL,)),
        "weights": list(weights or ()),
        "device": device,
        "threads": threads,
        "max_sessions": max_sessions,
        "token": token,
        "trusted_proxies": ["0.0.0.0/0", "::/0"],
        "max_waiting": 0,
        "webrtc": False,
        "record_dir": None if record is None else str(record),
        "recordings_dir": None if recordings is None else str(recordings),
    }
    bundle = {"GPU": float(devices), "CPU": cpus} if devices else {"CPU": cpus}
    controller = ControllerSettings(
        key=known_key,
        settings=settings,
        bundle=bundle,
        least=least,
        most=most,
        reserve=reserve,
        calm_s=calm,
        host=controller_host,
        port=controller_port,
    )
    local_cpus = math.ceil(most * cpus) + 1
    launch = Launch(address, controller, cpus=local_cpus if address == "local" else None)
    with as_failure(), launched(launch) as url:
        remember(Known(url, known_key))
        if launch_only:
            Console(highlight=False, soft_wrap=True).print(f"controller {url}")
            return
        _serve(public, url, max_wait)


@fleet.command()
def gateway(
    controller: Annotated[str, typer.Option(help="Address of the controller.")],
    key: Key = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    own_url: Annotated[
        str | None, typer.Option(help="Where other gateways reach this one, if not at --host.")
    ] = None,
    token: Token = None,
    self_signed: SelfSigned = False,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    allow_host: AllowHost = None,
    allow_origin: AllowOrigin = None,
    max_wait: MaxWait = 60.0,
) -> None:
    """Serve clients by one more gateway of a fleet that runs."""
    _check_installed()
    if key is None:
        raise Failure(
            "a gateway needs the fleet's key",
            hint="Give --key, or set ROLLCAST_FLEET_KEY.",
            exit_code=EXIT_USAGE,
        )
    public = _public(
        key, host, port, token, self_signed, tls_cert, tls_key, allow_host, allow_origin
    )
    _serve(public, controller, max_wait, own_url)


Controller = Annotated[
    str | None, typer.Option(help="Address of the controller; by default the last one started.")
]


@fleet.command()
def status(
    controller: Controller = None,
    key: Key = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show the replicas and gateways of a fleet."""
    said = _ask("GET", "/status", controller, key)
    console = Console(highlight=False)
    if as_json:
        console.print_json(data=said)
        return
    table = Table("replica", "condition", "streams", "free", "address", "heard")
    for each in said["replicas"]:
        ago_s = each["heard_ago_s"]
        table.add_row(
            each["name"],
            each["condition"],
            str(each["streams"]),
            f"{each['free']}/{each['places']}",
            each["url"],
            "never" if ago_s is None else f"{ago_s:.1f} s ago",
        )
    console.print(table)
    for url, streams in said["gateways"].items():
        console.print(f"gateway {url}: {streams} streams")
    console.print(f"free {said['free']}, waiting {said['waiting']}")


@fleet.command()
def drain(
    name: Annotated[str, typer.Argument(help="A replica of `rollcast fleet status`.")],
    controller: Controller = None,
    key: Key = None,
) -> None:
    """Move the streams of a replica to others and end it."""
    _ask("POST", f"/drain/{name}", controller, key)


@fleet.command()
def upgrade(controller: Controller = None, key: Key = None) -> None:
    """Replace all replicas, one after the other, by new ones of what is installed now."""
    said = _ask("POST", "/upgrade", controller, key)
    Console(highlight=False).print(f"{said['replicas']} replicas are replaced")


def _bounds(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)(?:\.\.(\d+))?", text)
    if found is None:
        raise Failure(
            f"replicas are a number or a range such as 1..8, got {text!r}", exit_code=EXIT_USAGE
        )
    least = int(found[1])
    most = int(found[2] or least)
    if not 1 <= least <= most:
        raise Failure(f"replicas must be 1 or more and grow, got {text!r}", exit_code=EXIT_USAGE)
    return least, most


def _public(
    key: str,
    host: str,
    port: int,
    token: str | None,
    self_signed: bool,
    tls_cert: Path | None,
    tls_key: Path | None,
    allow_host: list[str] | None,
    allow_origin: list[str] | None,
) -> ServerConfig:
    # first as if it were a single server: what is open to the network needs a token
    settings: dict[str, Any] = {
        "host": host,
        "port": port,
        "token": None if token is None else Secret(token),
        "self_signed": self_signed,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "allowed_hosts": tuple(allow_host or ()),
        "allowed_origins": tuple(allow_origin or ()),
    }
    with as_failure():
        ServerConfig(**settings)
        return ServerConfig(**settings, fleet_key=Secret(key))


def _serve(
    public: ServerConfig, controller: str, max_wait: float, own_url: str | None = None
) -> None:
    from ..allocator import return_large_blocks
    from ..descriptors import raise_descriptor_limit
    from ..fleet.run import run_gateway
    from .serve import listen

    return_large_blocks()
    raise_descriptor_limit()
    scheme = "https" if public.tls else "http"
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"fleet: {scheme}://{public.host}:{public.port}/, controller {controller}")
    with listen(public) as listener, suppress(KeyboardInterrupt):
        run_gateway(public, listener, controller, own_url=own_url, most_wait_s=max_wait)


def _ask(method: str, path: str, controller: str | None, key: str | None) -> Any:
    _check_installed()
    import msgspec

    from ..fleet.controller_app import CONTROLLER
    from ..fleet.directory import authorization
    from ..fleet.http_call import NoAnswer, call
    from ..fleet.run import remembered

    known = remembered()
    url = controller or (known.controller if known else None)
    secret = key or (known.key if known else None)
    if url is None or secret is None:
        raise Failure(
            "no fleet is known here",
            hint="Give --controller and --key, or start one: rollcast fleet.",
            exit_code=EXIT_USAGE,
        )
    try:
        headers = authorization(secret, CONTROLLER)
        answer = asyncio.run(call(method, url + path, headers=headers))
    except NoAnswer as error:
        raise Failure(str(error), hint="Does the fleet run?", exit_code=EXIT_UNREACHABLE) from error
    if answer.status >= 300:
        detail = answer.body.decode(errors="replace")
        raise Failure(f"the controller answers {answer.status}: {detail}")
    return msgspec.json.decode(answer.body) if answer.body else None


def _check_installed() -> None:
    missing = [name for name in ("ray", "picows") if find_spec(name) is None]
    if missing:
        raise Failure(
            f"{' and '.join(missing)} are not installed",
            hint='A fleet needs more: pip install "rollcast[fleet]"',
            exit_code=EXIT_USAGE,
        )
