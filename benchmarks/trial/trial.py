"""One model, streamed by the real server to a real client over a real socket, and measured."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...client import Frame, Stream, connect
from ...client.messages import SessionReady
from ...client.mp4 import Mp4Writer
from ...client.output_file import OutputFile
from ..stream.metrics_text import Sample
from ..stream.server_process import ServerProcess
from .memory_watch import MemoryWatch
from .picture_faults import PictureFaults
from .stand_in import drawn, drawn_image

LOAD_S = 1800.0
"""In which a model must be loaded and warm: 14 billion values from a slow disk."""
ANSWER_S = 300.0
_WORK = "rollcast_work_seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is tried: `options` are those of `rollcast serve`, `limit_s` bounds the streaming.

    A model that needs an image and is not given an `image`, a file's bytes, starts from a drawn
    one; one that looks at video is shown a drawn one.
    """

    name: str
    seconds: float = 10.0
    limit_s: float = 900.0
    prompt: str | None = None
    image: bytes | None = None
    seed: int = 0
    options: tuple[str, ...] = ()
    threads: int | None = None


@dataclass(slots=True)
class _Watched:
    """What came to the client."""

    ready: SessionReady
    faults: PictureFaults
    asked_s: float
    arrived_s: list[float] = field(default_factory=list)
    chunks: list[int] = field(default_factory=list)
    seqs: list[int] = field(default_factory=list)
    ignored_words: Sequence[str] = ()


def run_trial(trial: Trial, file: OutputFile, say: Callable[[str], None]) -> dict[str, Any]:
    """Stream it, write the video into `file`, and give what was measured, as plain values.

    Raises ServerDied if the server ends, and what the client raises if the stream does.
    """
    say(f"loading {trial.name}")
    server = ServerProcess(
        trial.name,
        max_sessions=1,
        threads=trial.threads,
        options=trial.options,
        start_timeout_s=LOAD_S,
    )
    with server, MemoryWatch(server.pid) as memory:
        server.wait_ready()
        load_s = time.monotonic() - server.started_s
        say(f"streaming {trial.seconds:g} s")
        inputs = server.inputs(trial.name)
        watched = asyncio.run(_watch(server.url, trial, inputs, file))
        metrics = server.metrics()
    faults = watched.faults.found()
    return {
        "good": not faults,
        "faults": [{"name": each.name, "what": each.what} for each in faults],
        "picture": watched.faults.figures if watched.arrived_s else {},
        "ignored_words": list(watched.ignored_words),
        "load_s": round(load_s, 2),
        "fps": _possible_fps(metrics, watched.ready.chunk_frames),
        **_delivered(watched),
        "work": _work(metrics, watched.ready.chunk_frames),
        "host_peak_bytes": memory.host_peak,
        "device_peak_bytes": memory.device_peak,
    }


async def _watch(url: str, trial: Trial, inputs: dict[str, Any], file: OutputFile) -> _Watched:
    image, looks_at = inputs.get("image"), inputs.get("video")
    start = trial.image
    if start is None and image is not None and image.get("required"):
        start = drawn_image(image["width"], image["height"])
    # JPEG: each picture by itself, so that what is seen in one is in that one
    asked_s = time.monotonic()
    async with connect(
        url,
        model=trial.name,
        prompt=trial.prompt,
        image=start,
        seed=trial.seed,
        codecs=("jpeg",),
        pace="reader",
        answer_timeout_s=ANSWER_S,
    ) as stream:
        ready = stream.ready
        watched = _Watched(ready, PictureFaults(ready.fps), asked_s)
        writer = Mp4Writer(
            file,
            width=ready.width,
            height=ready.height,
            fps=ready.fps,
            sample_rate=ready.sample_rate,
        )
        film = None if looks_at is None else asyncio.create_task(_film(stream, looks_at))
        try:
            # what came until then is looked at
            with writer, suppress(TimeoutError):
                await asyncio.wait_for(_take(stream, watched, writer, trial), trial.limit_s)
        finally:
            if film is not None:
                film.cancel()
                await asyncio.gather(film, return_exceptions=True)
        if stream.state is not None:
            watched.ignored_words = stream.state.ignored_words or ()
    return watched


async def _take(stream: Stream, watched: _Watched, writer: Mp4Writer, trial: Trial) -> None:
    """Look at what comes, and write it, until there is enough."""
    async for media in stream:
        if media.pts_us >= trial.seconds * 1e6:
            return
        if isinstance(media, Frame):
            watched.arrived_s.append(media.arrived_s)
            watched.chunks.append(media.chunk)
            watched.seqs.append(media.seq)
            watched.faults.look(media.image)
            writer.write_frame(media.image, media.pts_us)
        else:
            writer.write_audio(media.samples, media.pts_us)


async def _film(stream: Stream, looks_at: dict[str, Any]) -> None:
    """Show the model a drawn video, frame by frame when the time of each has come."""
    width, height, fps = looks_at["width"], looks_at["height"], looks_at["fps"]
    frames = (drawn(width, height, number / fps) for number in itertools.count())
    await stream.play_video(frames, fps)


def _possible_fps(metrics: Sample, chunk_frames: int) -> float | None:
    """Frames a second that the model makes where nothing holds it up: by its slowest stage."""
    count = metrics.value("rollcast_stage_seconds_count", stage="step")
    total_s = metrics.value("rollcast_stage_seconds_sum", stage="step")
    return round(count * chunk_frames / total_s, 2) if total_s > 0 else None


def _delivered(watched: _Watched) -> dict[str, Any]:
    """How it came to a viewer, from the second chunk on: the server does not run far ahead of one,
    so that a fast model comes little faster than it is played."""
    arrived, ready = watched.arrived_s, watched.ready
    report: dict[str, Any] = {
        "width": ready.width,
        "height": ready.height,
        "fps_of_model": ready.fps,
        "frames": len(arrived),
        # what came too late for its time, on a busy machine
        "skipped_frames": watched.seqs[-1] + 1 - len(arrived) if arrived else 0,
        "ttff_s": round(arrived[0] - watched.asked_s, 3) if arrived else None,
        "fps_delivered": None,
        "chunk_ms": {},
    }
    chunks = watched.chunks
    firsts = [k for k, chunk in enumerate(chunks) if k == 0 or chunk != chunks[k - 1]]
    if len(firsts) > 2:
        begin, end = firsts[1], firsts[-1]
        took_s = arrived[end] - arrived[begin]
        report["fps_delivered"] = round((end - begin) / took_s, 2) if took_s > 0 else None
        gaps_ms = 1e3 * np.diff([arrived[k] for k in firsts[1:]])
        report["chunk_ms"] = {
            "median": round(float(np.median(gaps_ms)), 1),
            "p95": round(float(np.percentile(gaps_ms, 95)), 1),
        }
    return report


def _work(metrics: Sample, chunk_frames: int) -> dict[str, dict[str, float]]:
    """Of each kind of work on a chunk: its mean milliseconds, and the frames a second that it
    alone would allow."""
    kinds = {
        dict(labels)["work"]: total
        for (name, labels), total in metrics.values.items()
        if name == f"{_WORK}_sum"
    }
    report: dict[str, dict[str, float]] = {}
    for kind, total_s in sorted(kinds.items()):
        count = metrics.value(f"{_WORK}_count", work=kind)
        if count and total_s > 0:
            each_s = total_s / count
            report[kind] = {
                "ms": round(1e3 * each_s, 2),
                "fps_alone": round(chunk_frames / each_s, 1),
            }
    return report
