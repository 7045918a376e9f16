"""`rollcast replay`: a recorded stream made again, compared, written as a video, or packed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ...client.mp4 import Mp4Writer
from ...models.contract import Chunk, ModelInfo
from ...models.pipeline.messages import ModelSpec
from ...models.pipeline.pipeline import Pipeline
from ...models.registry import MODEL_FACTORY, load_model, preload
from ..media.scaler import Scaler
from ..stream_log.bundle import write_bundle
from ..stream_log.machine import differences, machine_of
from ..stream_log.replay import Comparison, StreamLog, read_log, replay_behind
from ..stream_log.replay import replay as replay_alone
from .checkup import machine_report
from .failure import EXIT_FAILED, EXIT_USAGE, Failure, as_failure
from .step_list import parse_steps
from .video_file import Overwrite, video_file, write_picture


def replay(
    log: Annotated[Path, typer.Argument(help="A log of `serve --record`, or a bundle.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Fail unless every chunk is what it was.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write an MP4 of it.")] = None,
    scale: Annotated[int, typer.Option(min=1, max=8, help="Its size, times this.")] = 1,
    steps: Annotated[
        str | None,
        typer.Option(help="Other denoising steps than the stream's: a list, or how many."),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(help="Write a zip for a bug report: the log, how it compares, the machine."),
    ] = None,
    pictures: Annotated[
        bool, typer.Option("--pictures", help="With --bundle: also pictures that clients sent.")
    ] = False,
    weights: Annotated[
        list[str] | None, typer.Option(help="The model's weights, where they lie elsewhere now.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads, in place of those of the log.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Make a recorded stream again, with the model, seed and controls of its log."""
    with as_failure():
        known = read_log(log)
        if bundle is not None and bundle.exists() and not overwrite:
            raise Failure(
                f"{bundle} is there already",
                hint="Name another file, or add --overwrite.",
                exit_code=EXIT_USAGE,
            )
        arguments = {**known.header.arguments}
        if weights:
            arguments["weights"] = weights
        if threads is not None:
            arguments["threads"] = threads
        if steps is not None:
            if verify:
                raise Failure(
                    "with other steps nothing is as it was: --steps goes without --verify",
                    hint="Add --out to see what they make of the stream.",
                    exit_code=EXIT_USAGE,
                )
            arguments["steps"] = parse_steps(steps)
        found = list(arguments.get("weights") or ())
        now = machine_of(known.header.model, found, arguments.get("threads"))
        compared = Comparison()
        info, chunks = _made_again(known, arguments, compared)
    if out is None:
        with as_failure():
            deque(chunks, maxlen=0)
    else:
        _write(out, info, chunks, scale, overwrite=overwrite, log=log)
    why = differences(known.header.machine, now)
    if bundle is not None:
        with as_failure():
            packed = known if pictures else known.without_pictures()
            write_bundle(bundle, packed, compared, why, doctor=machine_report())
    if steps is None:
        _tell(known, compared, why, must_equal=verify)


def _made_again(
    log: StreamLog, arguments: dict[str, Any], compared: Comparison
) -> tuple[ModelInfo, Iterator[Chunk]]:
    """What the model makes, and its chunks."""
    if log.gone_on is None:
        model = load_model(**arguments)
        return model.info, replay_alone(model, log, compared)
    # what a server goes on from is saved by processes, and restored by them
    name = arguments["name"]
    executor = Pipeline(ModelSpec(MODEL_FACTORY, arguments, preload=preload(name)), 1)
    executor.start()

    def chunks() -> Iterator[Chunk]:
        try:
            yield from replay_behind(executor, log, compared)
        finally:
            executor.stop()

    return executor.info, chunks()


def _write(
    out: Path, info: ModelInfo, chunks: Iterator[Chunk], scale: int, *, overwrite: bool, log: Path
) -> None:
    width, height = info.width * scale, info.height * scale
    scaler, seq = Scaler(width, height), 0
    with video_file(out, overwrite=overwrite, inputs=(log,)) as video:
        size: dict[str, Any] = {"width": width, "height": height, "fps": info.fps}
        with Mp4Writer(video.file, **size, sample_rate=info.sample_rate) as writer:
            video.writer = writer
            for chunk in chunks:
                writer.write_audio(chunk.audio, info.media_us(seq))
                for number, picture in enumerate(chunk.pictures, seq):
                    write_picture(writer, scaler.scaled(picture), info.media_us(number))
                seq += len(chunk.pictures)


def _tell(log: StreamLog, compared: Comparison, why: list[str], *, must_equal: bool) -> None:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    ends = f"; the log ends: {log.why}" if log.why else ""
    console.print(
        f"{compared.same} chunks are what they were, {len(compared.different)} differ, "
        f"{compared.unknown} were not finished then{ends}",
        markup=False,
    )
    if not compared.different:
        return
    first = f"the first chunk that differs is {compared.different[0]}: {compared.what}"
    own = log.header.machine.get("threads") == "its own choice"
    causes = [*why, *(["threads: the log does not say how many"] if own else [])]
    if log.rebuilt and log.rebuilt[0] <= compared.different[0]:
        causes.append(f"the model was lost at chunk {log.rebuilt[0]}, and its caches rebuilt")
    reason = (
        f"It may be for: {'; '.join(causes)}." if causes else "Nothing else is known to differ."
    )
    if must_equal:
        raise Failure(first, hint=reason, exit_code=EXIT_FAILED)
    console.print(f"{first}. {reason}", markup=False)
