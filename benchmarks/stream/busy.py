"""A stream on a machine that has other work: what its viewer gets with the ladder and without.

Each way has a fresh server and one viewer. Processes that only compute are started once he sees
something, and the figures of the last third of the time are those of what the ladder has come to.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from time import monotonic

from ...client import Frame, connect
from ..rounding import rounded
from .server_process import ServerProcess, start_timeout_s
from .stream import device_name

_WORK = "x = 1\nwhile True:\n    x = (x * 1103515245 + 12345) % 2147483648\n"
STOP_S = 5.0
FULL_RATE = 0.98
"""Of the model's frame rate, at least, is real time."""


@dataclass(frozen=True, slots=True)
class BusyRow:
    """What a viewer got: over the last third of the time, and second by second.

    `media_share` is the media time that was shown over the time that went by, 1 without a stutter;
    `levels` are those of `stats.quality`, each second's last one.
    """

    ladder: bool
    fps: float
    media_share: float
    level: int
    why: str | None
    fps_by_second: list[int]
    levels: list[int]


@dataclass(frozen=True, slots=True)
class BusyReport:
    """Both ways, beside so many processes that compute."""

    device: str
    model: str
    model_fps: int
    load: int
    seconds: float
    rows: list[BusyRow]

    def to_json(self) -> dict[str, object]:
        """The report as plain values, figures to five digits."""
        return {key: rounded(value) for key, value in asdict(self).items()}


def measure_busy(
    model: str,
    load: int,
    seconds: float,
    threads: int | None,
    say: Callable[[str], None],
    options: tuple[str, ...] = (),
) -> BusyReport:
    """Run it with the ladder, then without; `say` is told what goes on.

    `options` are further ones of `rollcast serve`, about the model. Raises ServerDied.
    """
    rows, model_fps = list[BusyRow](), 0
    for ladder in (True, False):
        say(f"{'with' if ladder else 'without'} the ladder, {load} busy processes, {seconds:g} s")
        with ServerProcess(
            model,
            max_sessions=1,
            threads=threads,
            ladder=ladder,
            options=options,
            start_timeout_s=start_timeout_s(options),
        ) as server:
            server.wait_ready()
            model_fps, row = asyncio.run(_watch(server.url, load, seconds, ladder=ladder))
            rows.append(row)
    return BusyReport(device_name(), model, model_fps, load, seconds, rows)


async def _watch(url: str, load: int, seconds: float, *, ladder: bool) -> tuple[int, BusyRow]:
    """The model's frame rate, and what the viewer got."""
    frames, levels = [0] * int(seconds), [0] * int(seconds)
    async with connect(url, decode=False, wait=False) as stream:
        shown = stream.frames()
        await anext(shown)
        with busy_processes(load):
            begin_s, from_us = monotonic(), 0.0
            reading = asyncio.create_task(_count(shown, frames, begin_s))
            for second in range(len(frames)):
                if second == len(frames) - len(frames) // 3:
                    from_us = stream.position_us
                await asyncio.sleep(begin_s + second + 1 - monotonic())
                quality = stream.stats.quality if stream.stats else None
                levels[second] = quality.level if quality else 0
            share = (stream.position_us - from_us) / 1e6 / (len(frames) // 3)
            reading.cancel()
    tail = frames[-(len(frames) // 3) :]
    quality = stream.stats.quality if stream.stats else None
    row = BusyRow(
        ladder=ladder,
        fps=sum(tail) / len(tail),
        media_share=share,
        level=quality.level if quality else 0,
        why=quality.why if quality else None,
        fps_by_second=frames,
        levels=levels,
    )
    return stream.ready.fps, row


async def _count(shown: AsyncIterator[Frame], frames: list[int], begin_s: float) -> None:
    """Frames by the second in which they were shown."""
    async for _ in shown:
        frames[min(int(monotonic() - begin_s), len(frames) - 1)] += 1


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """So many processes that do nothing but compute."""
    processes = [subprocess.Popen([sys.executable, "-S", "-c", _WORK]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait(STOP_S)
