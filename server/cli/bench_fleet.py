"""`rollcast bench fleet`: what viewers see of lost replicas and nodes, on a cluster of its own."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Console

from ...benchmarks.fleet.losses import Loss, LossOptions, measure
from ...benchmarks.fleet.relay_cost import measure as relay_cost
from ...benchmarks.fleet.running_fleet import KEY, FleetOptions
from ...benchmarks.fleet.soak import FleetSoakOptions
from ...benchmarks.fleet.soak import soak as run_soak
from .bench_output import give, own_server, progress
from .failure import EXIT_USAGE, Failure
from .options import check_model

_KINDS = ("replica", "node", "hang", "drain")


def fleet(
    model: Annotated[str, typer.Option(help="A name of `rollcast models`.")] = "test-pattern",
    lose: Annotated[
        list[str] | None, typer.Option(help="replica, node, hang or drain; may be repeated.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Losses of each kind.")] = 10,
    viewers: Annotated[int, typer.Option(min=1, help="Who speak and steer meanwhile.")] = 6,
    replicas: Annotated[int, typer.Option(min=2, help="Replicas at once.")] = 3,
    nodes: Annotated[int, typer.Option(min=1, help="Nodes besides the head.")] = 2,
    places: Annotated[int, typer.Option(min=1, help="Places of a replica.")] = 6,
    soak: Annotated[
        float | None, typer.Option(min=0.5, help="In place of that: churn for so many minutes.")
    ] = None,
    relay: Annotated[
        float | None,
        typer.Option(min=2, help="In place of that: what a gateway costs, over so many seconds."),
    ] = None,
    forecast: Annotated[
        bool,
        typer.Option("--forecast", help="In place of that: simulate fleets of 1 to 1,000 GPUs."),
    ] = False,
    sessions: Annotated[int, typer.Option(min=1, help="Sessions of the churn.")] = 1000,
    samples: Annotated[
        Path | None, typer.Option(help="A file for the samples of the churn, as they come.")
    ] = None,
    log: Annotated[Path | None, typer.Option(help="A file for what the processes say.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the JSON into this file, too.")] = None,
) -> None:
    """Start a Ray cluster on this machine with a fleet, and lose parts of it under viewers."""
    check_model(model)
    from ..fleet.controller_app import CONTROLLER
    from ..fleet.directory import authorization
    from ..fleet.forecast import Assumed, table

    if forecast:
        rows = {"estimate": True, "assumed": asdict(Assumed()), "fleets": table(Assumed())}
        if not give(rows, as_json=as_json, out=out):
            Console(highlight=False).print(json.dumps(rows, indent=2), markup=False)
        return
    kinds = tuple(lose or ("replica",))
    for kind in kinds:
        if kind not in _KINDS:
            known = ", ".join(_KINDS)
            raise Failure(f"cannot lose {kind!r}; known: {known}", exit_code=EXIT_USAGE)
    options = FleetOptions(
        model=model, nodes=nodes, least=replicas, most=replicas + 1, places=places, log=log
    )
    with own_server():
        if relay is not None:
            report = relay_cost(
                options, viewers, relay, lambda: authorization(KEY, CONTROLLER), progress()
            )
        elif soak is not None:
            long = FleetSoakOptions(minutes=soak, sessions=sessions, fleet=options, samples=samples)
            report = run_soak(long, lambda: authorization(KEY, CONTROLLER), progress())
        else:
            plan = LossOptions(
                kinds=cast(tuple[Loss, ...], kinds), count=count, viewers=viewers, fleet=options
            )
            report = measure(plan, lambda: authorization(KEY, CONTROLLER), progress())
    if not give(report, as_json=as_json, out=out):
        Console(highlight=False).print(json.dumps(report, indent=2), markup=False)
