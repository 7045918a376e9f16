"""`rollcast models plan`: the memory that a model needs, and what would fit instead."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from .byte_counts import gigabytes, parse_bytes
from .failure import EXIT_FAILED, EXIT_USAGE, Failure, as_failure
from .frame_size import parse_size
from .options import (
    Attention,
    Decoder,
    Device,
    DType,
    Encoder,
    Lookahead,
    Quantize,
    Stages,
    Steps,
    TinyDecoder,
)
from .step_list import parse_steps

if TYPE_CHECKING:
    from ...models.wan.presets.preset import Preset
    from ...models.wan.stream.memory_plan import MemoryPlan


def plan(
    name: Annotated[str, typer.Argument(help="A name of `rollcast models`.")],
    size: Annotated[str | None, typer.Option(help="Width and height, like 832x480.")] = None,
    sessions: Annotated[int, typer.Option(min=1, help="Streams at once.")] = 1,
    device_memory: Annotated[
        str | None,
        typer.Option(help="Of each stage, like 24GB; by default what is free on this machine."),
    ] = None,
    weights: Annotated[
        list[str] | None, typer.Option(help="Where its files are, if they are there already.")
    ] = None,
    device: Device = None,
    dtype: DType = None,
    quantize: Quantize = None,
    attention: Attention = None,
    steps: Steps = None,
    decoder: Decoder = None,
    tiny_decoder: TinyDecoder = None,
    encoder: Encoder = None,
    lookahead: Lookahead = None,
    stages: Stages = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say how much memory a model needs, without any; exits with 1 when it does not fit."""
    from ...models.registry import foreign_models, own_models

    with as_failure():
        if (plugin := foreign_models().get(name)) is not None:
            whose = plugin.distribution
            raise Failure(f"what {name} needs is known to {whose} alone", exit_code=EXIT_USAGE)
        if name in own_models():
            raise Failure(f"{name} needs no planning: it runs anywhere", exit_code=EXIT_USAGE)
        report = plan_report(
            name,
            size=None if size is None else parse_size(size),
            sessions=sessions,
            memory=None if device_memory is None else parse_bytes(device_memory),
            places=weights or [],
            device=device,
            dtype=dtype,
            quantize=quantize,
            attention=attention,
            steps=None if steps is None else parse_steps(steps),
            decoder=decoder,
            tiny_decoder=tiny_decoder,
            encoder=encoder,
            lookahead_ms=lookahead,
            stages=stages or 1,
        )
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    else:
        _show(report)
    if report["fits"] is False:
        raise typer.Exit(EXIT_FAILED)


def plan_report(
    name: str,
    *,
    size: tuple[int, int] | None,
    sessions: int,
    memory: int | None,
    places: list[str],
    dtype: str | None = None,
    quantize: str | None = None,
    attention: str | None = None,
    steps: Sequence[float] | None = None,
    decoder: Path | None = None,
    tiny_decoder: Path | None = None,
    encoder: Path | None = None,
    lookahead_ms: int | None = None,
    device: str | None = None,
    stages: int = 1,
) -> dict[str, Any]:
    """The plan of a model as plain values; `memory` None: what is free here.

    Of several `stages` the total is that of the largest, and what is available is each one's.
    `decoder` and `encoder` are files whose halves take the place of the VAE's, `tiny_decoder` is
    that of one to be used beside it. `fits` is None where
    nobody knows how much there is. Raises ValueError for an unknown name, for a size that it cannot
    have, for more stages than it can use, for a decoder of another model and for a device that is
    not here, FileNotFoundError for files that are not in `places`.
    """
    # here, so that the other commands do not wait for torch
    from ...models.wan.presets.catalogue import preset_named
    from ...models.wan.presets.speech import looking_ahead
    from ...models.wan.stream.planning import Machine, check_stages, plan_on

    preset = looking_ahead(preset_named(name), lookahead_ms).with_steps(steps)
    check_stages(preset, stages)
    machine = Machine.here(device, stages) if memory is None else Machine.with_memory(memory)
    planned = plan_on(
        preset,
        machine,
        places,
        size,
        decoder,
        tiny_decoder_file=tiny_decoder,
        encoder_file=encoder,
        dtype=dtype,
        quantize=quantize,
        attention=attention,
    )
    total = planned.total(sessions, stages)
    report: dict[str, Any] = {
        "model": name,
        "size": list(planned.size),
        "dtype": planned.dtype,
        "device": machine.device,
        "sessions": sessions,
        "stages": stages,
        "student": planned.student,
        "decoder": planned.decoder,
        "conditioning": planned.conditioning,
        "working": planned.working,
        "reserve": planned.reserve,
        "cache_per_stream": planned.cache,
        "decoder_state_per_stream": planned.decoder_state,
        "conditioning_per_stream": planned.conditioning_state,
        "text_per_stream": planned.text,
        "total": total,
        "available": machine.free,
        "fits": None if machine.free is None else total <= machine.free,
    }
    if machine.free is not None:
        report["sessions_that_fit"] = planned.sessions_in(machine.free, stages)
        if total > machine.free:
            report["message"] = refusal(planned, sessions, stages, machine.free)
            more = _enough_stages(preset, planned, sessions, stages, machine.free)
            report["hint"] = _instead(planned, sessions, stages, machine.free, more)
    return report


def refusal(planned: MemoryPlan, sessions: int, stages: int, free: int) -> str:
    """Why it cannot be served."""
    width, height = planned.size
    each = "" if stages == 1 else f" in the largest of {stages} stages"
    return (
        f"{planned.name} at {width}x{height} needs {gigabytes(planned.total(sessions, stages))} "
        f"for {_streams(sessions)}{each} and {gigabytes(free)} are there"
        f"{'' if stages == 1 else ' for it'}"
    )


def _enough_stages(
    preset: Preset, planned: MemoryPlan, sessions: int, stages: int, free: int
) -> int | None:
    """How many stages would do, each with as much memory; None: even the most would not."""
    most = preset.recipe.chunk_steps().most_stages
    more = range(stages + 1, most + 1)
    return next((count for count in more if planned.total(sessions, count) <= free), None)


def _instead(planned: MemoryPlan, sessions: int, stages: int, free: int, more: int | None) -> str:
    from ...models.wan.stream.memory_plan import smaller_size

    fitting = planned.sessions_in(free, stages)
    ways = [f"{_streams(fitting)} at this size"] if fitting else []
    smaller = smaller_size(planned, sessions, free, stages)
    if smaller is not None:
        ways.append(f"{_streams(sessions)} at {smaller.size[0]}x{smaller.size[1]}")
    if more is not None:
        ways.append(f"--stages {more} with a device like this for each")
    return f"What would fit: {', or '.join(ways)}." if ways else "No size of it would fit."


def _streams(count: int) -> str:
    return "1 stream" if count == 1 else f"{count} streams"


def _show(report: dict[str, Any]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    width, height = report["size"]
    where = "on a" if report["stages"] == 1 else f"{report['stages']} stages, each on a"
    console.print(
        f"{report['model']} at {width}x{height}, {report['dtype']}, "
        f"{_streams(report['sessions'])}, {where} {report['device'].upper()}"
    )
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for key, what in (
        ("student", "student"),
        ("decoder", "decoder"),
        ("conditioning", "encoders of what steers it"),
        ("working", "while a chunk is made"),
        ("cache_per_stream", "cache of each stream"),
        ("decoder_state_per_stream", "decoder's state of each stream"),
        ("conditioning_per_stream", "what they remember of each stream"),
        ("text_per_stream", "text of each stream, and of one more"),
        ("reserve", "set aside for CUDA, not measured"),
        ("total", "total" if report["stages"] == 1 else "total of the largest stage"),
        ("available", "available" if report["stages"] == 1 else "available for each stage"),
    ):
        if report[key]:
            table.add_row(f"  {what}", gigabytes(report[key]))
    console.print(table)
    console.print("The text encoder is on the CPU and maps its file, 11.4 GB of the host's cache.")
    if report["fits"]:
        console.print(f"Fits; {_streams(report['sessions_that_fit'])} would.")
    elif report["fits"] is False:
        console.print(f"{report['message']}.")
        console.print(report["hint"])
