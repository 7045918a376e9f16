"""What a session gives up while its server is busy."""

from __future__ import annotations

from rollcast.models.contract import FULL, Economy
from rollcast.server.protocol.server_messages import Stats, StreamQuality
from rollcast.server.session.media import VideoFrame
from rollcast.server.session.quality import BEST, Quality

from .session_bench import Bench

BUSY = Quality(
    level=4,
    why="busy",
    more_lead_chunks=0.3,
    bitrate_share=0.5,
    economy=Economy(steps=1, frame_every=2),
)


def shown(bench: Bench) -> list[int]:
    frames = []
    while (item := bench.session.next_output(bench.now_s)) is not None:
        if isinstance(item, VideoFrame):
            frames.append(item.seq)
            bench.session.sent(item, 100, bench.now_s)
    return frames


def test_chunks_leave_out_what_the_quality_says_and_repeated_frames_are_not_sent() -> None:
    bench = Bench()
    session = bench.session
    bench.step()
    assert shown(bench) == [0, 1, 2, 3]
    whole_kbps = session.target_kbps
    session.change_quality(BUSY)
    assert session.begin_step(bench.now_s).economy == BUSY.economy
    session.drop_step()
    bench.ack(40_000)
    bench.step()
    assert shown(bench) == [4, 6]
    assert session.target_kbps <= whole_kbps / 2
    session.change_quality(BEST)
    assert session.begin_step(bench.now_s).economy == FULL


def test_more_is_made_ahead_and_stats_say_why() -> None:
    bench, busy = Bench(), Bench()
    busy.session.change_quality(BUSY)
    for each in (bench, busy):
        each.step()
        each.drain()
        each.ack(40_000)
        each.step()
        each.drain()
    plain_s, sooner_s = (each.session.next_step_s(100.3) for each in (bench, busy))
    assert plain_s is not None and sooner_s is not None
    chunk_s = bench.session.info.chunk_us / 1e6
    assert round((plain_s - sooner_s) / chunk_s, 3) == 0.3
    busy.session.tick(busy.now_s + 2, 1)
    told = []
    while (item := busy.session.next_output(busy.now_s)) is not None:
        told += [item] if isinstance(item, Stats) else []
    assert told[-1].quality == StreamQuality(level=4, why="busy")
