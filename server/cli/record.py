"""`rollcast record`: an MP4 of a live stream, steered from files."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from ...client import (
    Frame,
    Queued,
    Refused,
    Rejected,
    Stream,
    Watched,
    connect,
    load_image,
    load_picture,
    watch,
)
from ...client.address import watch_token
from ...client.audio_file import load_speech
from ...client.camera_move import camera_move
from ...client.mp4 import Mp4Writer
from ...client.track_file import TimedPrompt, TrackScript, load_script
from ...client.video_frames import video_frames
from ...client.wire import AUDIO_RATE
from .failure import EXIT_USAGE, Failure, as_failure
from .offline import check_inputs
from .options import (
    Audio,
    Camera,
    Image,
    Picture,
    Prompt,
    PromptAt,
    Scene,
    Seconds,
    SeedOrAny,
    Tracks,
    VideoIn,
    warn,
    warn_ignored,
)
from .prompt_times import with_prompts
from .video_file import VOICE_RATE, Overwrite, Video, video_file

STEP_MS = 40.0


def record(
    url: Annotated[
        str,
        typer.Argument(help="The server or its page, like http://127.0.0.1:8000, or a share link."),
    ],
    out: Annotated[Path, typer.Argument(help="The MP4 to write.")],
    seconds: Seconds = 10.0,
    model: Annotated[str | None, typer.Option(help="One of the server's models.")] = None,
    scene: Scene = None,
    picture: Picture = None,
    image: Image = None,
    prompt: Prompt = None,
    prompt_at: PromptAt = None,
    seed: SeedOrAny = None,
    audio: Audio = None,
    tracks: Tracks = None,
    camera: Camera = None,
    video_in: VideoIn = None,
    token: Annotated[
        str | None, typer.Option(envvar="ROLLCAST_TOKEN", help="The server's token.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Accept any certificate, as a self-signed one.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Record a live stream to a video, speaking and dragging from files meanwhile.

    However it ends, what came until then is kept: Ctrl+C, the server's end, a lost network.
    """
    if watch_token(url) is not None:
        steering = (
            model,
            scene,
            picture,
            image,
            prompt,
            prompt_at,
            audio,
            tracks,
            camera,
            video_in,
        )
        if any(steering) or seed is not None:
            raise Failure(
                "a stream that somebody shares cannot be steered",
                hint="Leave the options out that ask something of it.",
                exit_code=EXIT_USAGE,
            )
        _record_shared(url, out, seconds, insecure=insecure, overwrite=overwrite)
        return
    with as_failure():
        rate = VOICE_RATE if audio else AUDIO_RATE
        speech = load_speech(audio, rate=rate, tell=warn) if audio else np.zeros(0, np.int16)
        script = load_script(tracks) if tracks else TrackScript()
        script = with_prompts(script, prompt_at or ())
        own = load_picture(picture) if picture else None
        start = load_image(image) if image else None
    inputs = (audio, tracks, picture, image, video_in)
    with video_file(out, overwrite=overwrite, inputs=inputs, url=url) as video:

        async def run() -> None:
            async with connect(
                url,
                token=token,
                model=model,
                scene=scene,
                picture=own,
                image=start,
                prompt=prompt,
                seed=seed,
                # frames that go in at their pace, and what comes out keeps it
                pace="reader" if video_in is None else "clock",
                audio_rate=rate,
                tls=_any_certificate() if insecure else None,
                on_queued=_tell_turn,
            ) as stream:
                others = {"picture": own, "image": start, "camera": camera, "video": video_in}
                check_inputs(stream.ready.model, _taken(stream), speech, script, **others)
                await _record(stream, video, seconds, _Steering(speech, script, camera, video_in))

        asyncio.run(run())


def _tell_turn(queued: Queued) -> None:
    eta = "" if queued.eta_s is None else f", about {queued.eta_s:.0f} s"
    typer.echo(f"all places are taken: number {queued.position} in the line{eta}", err=True)


def _record_shared(url: str, out: Path, seconds: float, *, insecure: bool, overwrite: bool) -> None:
    """Record what a share link shows, until so much of it came or the stream is over."""
    with video_file(out, overwrite=overwrite, inputs=(), url=url) as video:

        async def run() -> None:
            tls = _any_certificate() if insecure else None
            async with watch(url, tls=tls) as shown:
                try:
                    await _write(shown, video, seconds)
                except Refused as over:
                    if over.code != "ended":
                        raise

        asyncio.run(run())


def _taken(stream: Stream) -> set[str]:
    """The inputs of the stream's model, by name."""
    inputs = stream.model.inputs
    return {each.name for each in fields(inputs) if getattr(inputs, each.name)}


@dataclass(frozen=True, slots=True)
class _Steering:
    """What the stream is told while it is recorded."""

    speech: np.ndarray
    script: TrackScript
    camera: str | None
    video: Path | None


async def _record(stream: Stream, video: Video, seconds: float, told: _Steering) -> None:
    steering = [asyncio.create_task(_steer(stream, told.script))]
    if len(told.speech):
        steering.append(asyncio.create_task(_tell_refusal(stream.say(told.speech))))
    if told.camera is not None:
        moving = stream.camera(**camera_move(told.camera))
        steering.append(asyncio.create_task(_tell_refusal(moving)))
    if told.video is not None:
        steering.append(asyncio.create_task(_film(stream, told.video)))
    try:
        await _write(stream, video, seconds)
    finally:
        for task in steering:
            task.cancel()
        await asyncio.gather(*steering, return_exceptions=True)


async def _write(stream: Stream | Watched, video: Video, seconds: float) -> None:
    """Write from the first frame on, wherever the stream is by then."""
    ready = stream.ready
    with (
        Mp4Writer(
            video.file,
            width=ready.width,
            height=ready.height,
            fps=ready.fps,
            sample_rate=ready.sample_rate,
        ) as writer,
        Progress(console=Console(stderr=True), transient=True) as progress,
    ):
        video.writer = writer
        task = progress.add_task(escape(video.file.path.name), total=seconds * 1e6)
        begin_us: float | None = None if isinstance(stream, Watched) else 0.0
        first = True
        async for media in stream:
            begin_us = media.pts_us if begin_us is None else begin_us
            at_us = media.pts_us - begin_us
            if at_us >= seconds * 1e6:
                break
            if first and stream.state is not None:
                warn_ignored(stream.state.ignored_words or ())
                first = False
            if isinstance(media, Frame):
                writer.write_frame(media.image, at_us)
                progress.update(task, completed=at_us)
            else:
                writer.write_audio(media.samples, at_us)


async def _steer(stream: Stream, script: TrackScript) -> None:
    """Send each part of the script when its media time has come."""
    last_ms = max((item.t_ms for item in (*script.points, *script.prompts)), default=-1.0)
    begin_ms = 0.0
    while begin_ms <= last_ms:
        end_ms = begin_ms + STEP_MS
        while stream.position_us < begin_ms * 1e3:
            await asyncio.sleep(0.01)
        if points := script.points_between(begin_ms, end_ms):
            await _tell_refusal(stream.tracks(points))
        if prompt := script.prompt_between(begin_ms, end_ms):
            await _tell_refusal(_prompt(stream, prompt))
        begin_ms = end_ms


async def _film(stream: Stream, path: Path) -> None:
    """Send each frame of a video when its media time has come."""
    looks_at = stream.model.inputs.video
    assert looks_at is not None, "it was checked"
    size = {"width": looks_at.width, "height": looks_at.height, "fps": looks_at.fps}
    await stream.play_video(video_frames(path, **size), looks_at.fps)


async def _prompt(stream: Stream, prompt: TimedPrompt) -> None:
    applied = await stream.prompt(prompt.text, transition_chunks=prompt.transition_chunks)
    warn_ignored(applied.ignored_words or ())


async def _tell_refusal(control: Awaitable[object]) -> None:
    """A refused control is worth a line; the recording goes on."""
    try:
        await control
    except Rejected as error:
        Console(stderr=True).print(f"refused: {error}", style="yellow", markup=False)


def _any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
