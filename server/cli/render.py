"""`rollcast render`: an MP4 from a script of controls, without a server."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from time import perf_counter
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress, TimeRemainingColumn

from ...client.audio_file import load_speech
from ...client.mp4 import Mp4Writer
from ...client.picture_file import load_picture
from ...client.track_file import TrackScript, load_script
from ...client.wire import AUDIO_RATE
from ...models.contract import Chunk, ModelInfo, StreamRequest
from ...models.registry import DEFAULT_MODEL, load_model
from .failure import EXIT_USAGE, Failure, as_failure
from .frame_size import parse_size
from .offline import check_inputs, frame_count, generate


def render(
    out: Annotated[Path, typer.Argument(help="The MP4 to write.")],
    model: Annotated[str, typer.Option(help="A name of `rollcast models`.")] = DEFAULT_MODEL,
    scene: Annotated[str | None, typer.Option(help="Avatar or scene to show.")] = None,
    picture: Annotated[
        Path | None, typer.Option(help="A picture of a face to show as the avatar.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="What to show, in words.")] = None,
    audio: Annotated[Path | None, typer.Option(help="Speech: any audio file.")] = None,
    tracks: Annotated[
        Path | None, typer.Option(help="JSON of pointer tracks and timed prompts.")
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=0.04, help="Length; by default that of the speech, else 10."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same video.")] = 0,
    weights: Annotated[
        list[str] | None,
        typer.Option(help="A file, folder or owner/name with a model's files; may be repeated."),
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Width and height of its frames, like 832x480.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of the model.")] = None,
) -> None:
    """Write a video from a prompt, speech and tracks, without a server."""
    writable(out)
    with as_failure():
        script = load_script(tracks) if tracks else TrackScript()
        own = load_picture(picture) if picture else None
        engine = load_model(
            model,
            threads=threads,
            weights=weights or (),
            size=None if size is None else parse_size(size),
        )
        rate = engine.info.sample_rate or AUDIO_RATE
        speech = load_speech(audio, rate=rate) if audio else np.zeros(0, np.int16)
        check_inputs(model, engine.info.inputs.names, speech, script)
        state = engine.start(StreamRequest(seed=seed, scene=scene, prompt=prompt, picture=own))
    frames = frame_count(engine.info, seconds, speech)
    start_s = perf_counter()
    made = _write(out, engine.info, generate(engine, state, frames, speech, script), frames)
    took_s, lasts_s = perf_counter() - start_s, made / engine.info.fps
    Console(stderr=True).print(
        f"{out}: {lasts_s:.1f} s of video in {took_s:.1f} s ({lasts_s / took_s:.1f} x real time)"
    )


def writable(out: Path) -> None:
    """Raise Failure early for a file that could not be written at the end."""
    if out.suffix.lower() != ".mp4":
        raise Failure(f"{out} is not an .mp4", hint="Name it like out.mp4.", exit_code=EXIT_USAGE)
    if not out.parent.is_dir():
        raise Failure(f"no such folder: {out.parent}", exit_code=EXIT_USAGE)


def _write(out: Path, info: ModelInfo, stream: Iterable[Chunk], frames: int) -> int:
    """Write the video, of about so many frames; returns how many it has."""
    seq = 0
    columns = (*Progress.get_default_columns()[:-1], TimeRemainingColumn())
    with (
        Mp4Writer(
            out, width=info.width, height=info.height, fps=info.fps, sample_rate=info.sample_rate
        ) as writer,
        Progress(*columns, console=Console(stderr=True), transient=True) as progress,
    ):
        task = progress.add_task(out.name, total=frames)
        for chunk in stream:
            writer.write_audio(chunk.audio, info.media_us(seq))
            for number, frame in enumerate(chunk.frames, seq):
                writer.write_frame(frame, info.media_us(number))
            seq += len(chunk.frames)
            progress.update(task, completed=seq)
    return seq
