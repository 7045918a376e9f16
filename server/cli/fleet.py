"""`rollcast fleet`: replicas on a Ray cluster behind a gateway, and a look at them."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from importlib.util import find_spec
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ...models.own_models import DEFAULT_MODEL
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


def _public_side(
    *,
    host: Annotated[str, typer.Option(help="Address of the gateway; others need --token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the gateway.")] = 8000,
    token: Annotated[
        str | None, typer.Option(envvar="ROLLCAST_TOKEN", help="What clients must know.")
    ] = None,
    self_signed: Annotated[
        bool,
        typer.Option("--self-signed", help="TLS at the gateway, with a certificate made here."),
    ] = False,
    tls_cert: Annotated[
        Path | None, typer.Option(help="TLS certificate chain of the gateway (PEM).")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key (PEM).")] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Further Host name of the gateway.")
    ] = None,
    allow_origin: Annotated[list[str] | None, typer.Option(help="Further Origin of pages.")] = None,
    max_wait: Annotated[
        float, typer.Option(min=0, help="Seconds that clients wait for a place.")
    ] = 60.0,
) -> PublicSide:
    """What clients see of a fleet, as it was asked for."""
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
    return PublicSide(settings, token, max_wait)


@dataclass(frozen=True, slots=True)
class PublicSide:
    """Settings of a gateway's `ServerConfig`, and how long its clients wait for a place."""

    settings: dict[str, Any]
    token: str | None
    max_wait_s: float

    def config(self, key: str) -> ServerConfig:
        """With the key of the fleet."""
        with as_failure():
            # first as if it were a single server: what is open to the network needs a token
            ServerConfig(**self.settings)
            return ServerConfig(**self.settings, fleet_key=Secret(key))


def _with_public_side(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose last parameter, `public`, is made of the options of `_public_side`."""
    own = signature(command, eval_str=True)
    shared = signature(_public_side, eval_str=True)
    names = list(shared.parameters)

    @wraps(command)
    def with_options(**given: Any) -> None:
        public = _public_side(**{name: given.pop(name) for name in names})
        command(**given, public=public)

    mine = [each for name, each in own.parameters.items() if name != "public"]
    by_name = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in mine]
    # typer reads both
    with_options.__signature__ = own.replace(  # type: ignore[attr-defined]
        parameters=[*by_name, *shared.parameters.values()]
    )
    with_options.__annotations__ = {
        **{name: kind for name, kind in command.__annotations__.items() if name != "public"},
        **{name: kind for name, kind in _public_side.__annotations__.items() if name in names},
    }
    return with_options


@fleet.callback()
@_with_public_side
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
    key: Key = None,
    *,
    public: PublicSide,
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
    config = public.config(known_key)
    settings: dict[str, Any] = {
        "models": list(model or (DEFAULT_MODEL,)),
        "weights": list(weights or ()),
        "device": device,
        "threads": threads,
        "max_sessions": max_sessions,
        "token": public.token,
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
        _serve(config, url, public.max_wait_s)


@fleet.command()
@_with_public_side
def gateway(
    controller: Annotated[str, typer.Option(help="Address of the controller.")],
    key: Key = None,
    own_url: Annotated[
        str | None, typer.Option(help="Where other gateways reach this one, if not at --host.")
    ] = None,
    *,
    public: PublicSide,
) -> None:
    """Serve clients by one more gateway of a fleet that runs."""
    _check_installed()
    if key is None:
        raise Failure(
            "a gateway needs the fleet's key",
            hint="Give --key, or set ROLLCAST_FLEET_KEY.",
            exit_code=EXIT_USAGE,
        )
    _serve(public.config(key), controller, public.max_wait_s, own_url)


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


def _serve(
    public: ServerConfig, controller: str, max_wait: float, own_url: str | None = None
) -> None:
    from ...models.pipeline.heap import return_large_blocks
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
