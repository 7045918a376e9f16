"""`rollcast try`: one command for a person with a model's files, and a report to show others."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ...client import load_image
from ...models.registry import foreign_models, own_models
from ...models.wan.locate import locate
from ...models.wan.presets.catalogue import presets
from ..config import ServerConfig
from .bench_output import progress
from .byte_counts import gigabytes
from .failure import EXIT_FAILED, EXIT_UNREACHABLE, EXIT_USAGE, Failure, as_failure
from .frame_size import parse_size
from .options import (
    Attention,
    Decoder,
    Device,
    DType,
    Encoder,
    Image,
    Lookahead,
    Prompt,
    Quantize,
    Seconds,
    Seed,
    Size,
    Stages,
    Steps,
    Threads,
    Weights,
    check_model,
)
from .room import check_room, model_options
from .step_list import parse_steps
from .video_file import Overwrite, video_file

_FORMAT = 1


def try_model(
    name: Annotated[str, typer.Argument(help="A name of `rollcast models`.")],
    weights: Weights = None,
    size: Size = None,
    device: Device = None,
    dtype: DType = None,
    decoder: Decoder = None,
    encoder: Encoder = None,
    lookahead: Lookahead = None,
    quantize: Quantize = None,
    attention: Attention = None,
    steps: Steps = None,
    seconds: Seconds = 10.0,
    prompt: Prompt = None,
    image: Image = None,
    seed: Seed = 0,
    threads: Threads = None,
    stages: Stages = None,
    limit: Annotated[
        float, typer.Option(min=1, help="Seconds after which streaming is given up.")
    ] = 900.0,
    out: Annotated[
        Path | None, typer.Option(help="The MP4 to write; the report gets its name, as .json.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report.")] = False,
) -> None:
    """Try a model with your files: stream it, look at its pictures, measure it, write a report.

    It is served by the real server to a real client. A model that needs an image starts from a
    drawn one if you give none, and one that looks at video is shown a drawn one. Exits with 0 when
    the pictures are good, 1 when they are black, flat, frozen or flicker, 2 for files or sizes that
    do not fit, 4 when the server or its model ended. The report has no paths of yours in it: attach
    it to an issue.
    """
    check_model(name)
    places = list(weights or ())
    video_path = out or Path(f"try-{name}.mp4")
    report_path = video_path.with_suffix(".json")
    if report_path.exists() and not overwrite:
        raise Failure(
            f"{report_path} is there already",
            hint="Name another file with --out, or add --overwrite.",
            exit_code=EXIT_USAGE,
        )
    with as_failure():
        config = ServerConfig(
            models=(name,),
            weights=tuple(places),
            size=None if size is None else parse_size(size),
            device=device,
            dtype=dtype,
            decoder=decoder,
            encoder=encoder,
            lookahead_ms=lookahead,
            quantize=quantize,
            attention=attention,
            steps=None if steps is None else parse_steps(steps),
            stages=stages,
            max_sessions=1,
        )
        plan = check_room(config).get(name)
        files = _files(name, places)
        start = load_image(image) if image else None
    # here, so that the other commands do not wait for them
    from ...benchmarks.stream.server_process import ServerDied
    from ...benchmarks.trial.redaction import redacted
    from ...benchmarks.trial.trial import Trial, run_trial

    trial = Trial(
        name=name,
        seconds=seconds,
        limit_s=limit,
        prompt=prompt,
        image=start,
        seed=seed,
        options=tuple(model_options(config)),
        threads=threads,
    )
    report: dict[str, Any] = {
        "format": _FORMAT,
        "model": name,
        "asked": asdict(replace(trial, image=None)) | {"image": start is not None},
        "machine": machine(),
        "files": files,
        "plan": plan,
        "published_speed": _published_speed(name),
    }
    failed: Failure | None = None
    with video_file(video_path, overwrite=overwrite, inputs=(image,)) as video:
        try:
            # a stream that ends is the server's doing, and it is on this machine
            with as_failure("the server that was started"):
                report |= run_trial(trial, video.file, progress())
        except (ServerDied, Failure) as error:
            failed = Failure(str(error), exit_code=EXIT_UNREACHABLE)
        if failed is not None:
            report |= {"good": False, "error": str(failed)}
        report = redacted(report, [*places, *(str(file) for file in (decoder, encoder) if file)])
        report_path.write_text(json.dumps(report, indent=2) + "\n")
    written = f"{report_path} can be attached to an issue as it is."
    if failed is not None:
        raise Failure(str(failed), hint=written, exit_code=failed.exit_code)
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    else:
        _show(report, video_path, report_path)
    if not report["good"]:
        raise typer.Exit(EXIT_FAILED)


def machine() -> dict[str, Any]:
    """What the figures of a report were measured on; no names of machines or people."""
    from ...benchmarks.trial.memory_watch import nvidia_smi
    from ...models.processor import processor_name
    from .checkup import usable_cpus

    return {
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "processors": usable_cpus(),
        "processor": processor_name(),
        "gpus": nvidia_smi("name") or [],
        "gpu_memory_mib": nvidia_smi("memory.total") or [],
        "gpu_driver": nvidia_smi("driver_version") or [],
        "packages": {
            each: found
            for each in ("rollcast", "torch", "triton", "transformers", "torchao", "xformers")
            if (found := _version(each))
        },
    }


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def _files(name: str, places: list[str]) -> list[dict[str, Any]]:
    """The files of a published model, by their names alone. Raises FilesMissing."""
    if name in own_models() or name in foreign_models():
        return []
    found = asdict(locate(presets()[name], places))
    parts = found.pop("more") | found
    return [
        {"part": part, "name": path.name, "bytes": path.stat().st_size}
        for part, path in parts.items()
        if path is not None
    ]


def _published_speed(name: str) -> str:
    preset = presets().get(name)
    return "" if preset is None else preset.speed


def _show(report: dict[str, Any], video: Path, written: Path) -> None:
    console = Console(highlight=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False, show_header=False)
    native, fps, came = report["fps_of_model"], report["fps"], report["fps_delivered"]
    rows = [
        ("loaded in", f"{report['load_s']:.1f} s"),
        ("first frame after", _seconds(report["ttff_s"])),
        ("frames", f"{report['frames']} of {report['width']}x{report['height']}"),
        ("skipped as too late", str(report["skipped_frames"])),
        ("the model makes", "nothing" if fps is None else f"{fps:.1f} fps; it plays at {native}"),
        ("the viewer got", "too little" if came is None else f"{came:.1f} fps"),
        ("published speed", report["published_speed"] or "none"),
    ]
    for kind, each in report["work"].items():
        rows.append((f"  {kind}", f"{each['ms']:.1f} ms, {each['fps_alone']:.1f} fps alone"))
    rows.append(("host memory at most", gigabytes(report["host_peak_bytes"])))
    device, plan = report["device_peak_bytes"], report["plan"]
    rows.append(("GPU memory at most", "no GPU" if device is None else gigabytes(device)))
    if plan is not None:
        rows.append((f"planned for the {plan['device'].upper()}", gigabytes(plan["total"])))
    for each in rows:
        table.add_row(*each)
    console.print(f"{report['model']}, tried out")
    console.print(table)
    if report["ignored_words"]:
        console.print(f"Words that mean nothing to it: {', '.join(report['ignored_words'])}.")
    for fault in report["faults"]:
        console.print(f"FAULT {fault['name']}: {fault['what']}.", style="red", markup=False)
    if report["good"]:
        console.print("The pictures are neither black, flat or frozen, nor do they flicker.")
    console.print(f"Video: {video}. Report, without paths of yours: {written}.", markup=False)


def _seconds(value: float | None) -> str:
    return "none came" if value is None else f"{value:.2f} s"
