"""What those who watch by a share link cost the server: its processor time, by how many they are.

A stream of the test pattern, whose own client reads along, is watched by more and more viewers who
decode nothing. Encoding, once for all of them, comes with the first; each further one is relayed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from time import monotonic

from ...client import Stream, Watched, connect, watch
from .processor_time import process_s
from .server_process import ServerProcess

MODEL = "test-pattern"
SETTLE_S = 2.0


@dataclass(frozen=True, slots=True)
class AudienceRow:
    """With so many viewers: share of a core that the server's process used, and frames lost.

    `first_frame_s` is the longest time from asking to watch to a first frame.
    """

    viewers: int
    server_core_share: float
    missing_frames: int
    first_frame_s: float


@dataclass(frozen=True, slots=True)
class AudienceReport:
    """All rows, and what a further viewer costs: the slope from the first number to the last."""

    rows: list[AudienceRow]
    core_share_a_viewer: float

    def to_json(self) -> dict[str, object]:
        """The report as plain values."""
        return asdict(self)


def measure_audience(
    counts: Sequence[int],
    seconds: float,
    say: Callable[[str], None],
    *,
    settle_s: float = SETTLE_S,
) -> AudienceReport:
    """One server, and for each number so many viewers for `seconds` after `settle_s`.

    Raises ServerDied.
    """
    with ServerProcess(
        MODEL, max_sessions=1, options=("--max-viewers", str(max(counts)))
    ) as server:
        server.wait_ready()
        rows = asyncio.run(_rows(server, counts, seconds, say, settle_s))
    first, last = rows[0], rows[-1]
    more = last.viewers - first.viewers
    slope = (last.server_core_share - first.server_core_share) / more if more else float("nan")
    return AudienceReport(rows, slope)


async def _rows(
    server: ServerProcess,
    counts: Sequence[int],
    seconds: float,
    say: Callable[[str], None],
    settle_s: float,
) -> list[AudienceRow]:
    rows: list[AudienceRow] = []
    async with connect(server.url, decode=False, wait=False) as own, asyncio.TaskGroup() as group:
        reading = group.create_task(_read(own))
        link = await own.share()
        for count in counts:
            say(f"{count} viewer(s) for {seconds:g} s")
            rows.append(await _row(server, link, count, seconds, settle_s))
        reading.cancel()
    return rows


async def _row(
    server: ServerProcess, link: str, count: int, seconds: float, settle_s: float
) -> AudienceRow:
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        slowest_s, seen = 0.0, list[list[int]]()
        readers: list[asyncio.Task[None]] = []
        for _ in range(count):
            begin_s = monotonic()
            viewer = await stack.enter_async_context(watch(link, decode=False))
            first = await anext(viewer.frames())
            slowest_s = max(slowest_s, monotonic() - begin_s)
            seen.append([first.seq])
            readers.append(group.create_task(_note(viewer, seen[-1])))
        await asyncio.sleep(settle_s)
        begin_s, used_s = monotonic(), process_s(server.pid)
        await asyncio.sleep(seconds)
        share = (process_s(server.pid) - used_s) / (monotonic() - begin_s)
        for reader in readers:
            reader.cancel()
    missing = sum(seqs[-1] - seqs[0] + 1 - len(seqs) for seqs in seen)
    return AudienceRow(count, share, missing, slowest_s)


async def _note(viewer: Watched, seqs: list[int]) -> None:
    async for frame in viewer.frames():
        seqs.append(frame.seq)


async def _read(stream: Stream) -> None:
    async for _ in stream:
        pass
