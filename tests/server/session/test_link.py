"""Skipping and bitrate, from what was sent and acknowledged."""

from itertools import pairwise
from typing import Any

from rollcast.server.protocol.client_messages import Ack
from rollcast.server.session.link import Link, default_kbps

LEAD_S = 0.32


def ack(last_seq: int, **fields: Any) -> Ack:
    return Ack(playhead_us=0.0, last_seq=last_seq, **fields)


def play(link: Link, seconds: float, delay_s: float = 0.1, start_s: float = 0.0) -> float:
    """Send 25 frames a second; each is acknowledged after a delay."""
    now_s = start_s
    for n in range(int(seconds * 25)):
        now_s = start_s + n / 25
        link.sent(1000 * int(start_s) + n, now_s)
        acked = n - int(delay_s * 25)
        if acked >= 0:
            link.ack(ack(1000 * int(start_s) + acked), -1, now_s)
        link.adapt(LEAD_S, now_s)
    return now_s


def test_bitrate_grows_with_the_root_of_the_pixels() -> None:
    assert default_kbps(128, 128, 25) == 648
    assert default_kbps(832, 480, 25) == 3197


def test_a_healthy_link_skips_nothing() -> None:
    link = Link(max_kbps=600)
    now_s = play(link, 5)
    assert not link.skip(LEAD_S, 4, now_s)
    assert link.kbps == 600


def test_old_unacknowledged_frames_mean_congestion() -> None:
    link = Link(max_kbps=600)
    now_s = play(link, 2)
    assert not link.congested(LEAD_S, now_s + 0.5)
    assert link.congested(LEAD_S, now_s + 0.8)
    assert link.skip(LEAD_S, 4, now_s + 0.8)
    link.ack(ack(49), -1, now_s + 0.8)
    assert not link.congested(LEAD_S, now_s + 0.8)


def test_a_long_path_is_not_congestion() -> None:
    link = Link(max_kbps=600)
    now_s = play(link, 5, delay_s=0.4)
    assert not link.congested(LEAD_S, now_s)


def test_stalls_lower_the_bitrate_first_then_skip_frames_evenly() -> None:
    link = Link(max_kbps=600)
    skipped_before = [link.skip(LEAD_S, 4, 0.0) for _ in range(20)]
    for n in range(4):
        link.stalled(1.0 + n)
    assert link.kbps == 190
    pattern = [link.skip(LEAD_S, 4, 9.0) for _ in range(20)]
    assert not any(skipped_before)
    assert 4 <= sum(pattern) <= 9
    assert not any(a and b for a, b in pairwise(pattern))


def test_stalls_in_quick_succession_count_once() -> None:
    link = Link(max_kbps=600)
    for n in range(5):
        link.stalled(1.0 + 0.05 * n)
    assert link.kbps == 450


def test_the_bitrate_keeps_to_its_bounds_and_recovers() -> None:
    link = Link(max_kbps=600, min_kbps=100)
    for n in range(50):
        link.stalled(float(n))
    assert link.kbps == 100
    for n in range(600):
        link.adapt(LEAD_S, 60.0 + n / 10)
    assert link.kbps == 600
    assert not any(link.skip(LEAD_S, 4, 130.0) for _ in range(20))


def test_a_full_decoder_halves_the_frame_rate() -> None:
    link = Link(max_kbps=600)
    link.ack(ack(0, decode_queue=9), -1, 0.0)
    assert sum(link.skip(LEAD_S, 4, 0.0) for _ in range(20)) == 10


def test_forgetting_leaves_nothing_under_way() -> None:
    link = Link(max_kbps=600)
    link.sent(0, 0.0)
    assert link.waiting_s(5.0) == 5.0
    link.forget()
    assert link.waiting_s(5.0) == 0.0


def test_memory_is_bounded_without_acks() -> None:
    link = Link(max_kbps=600)
    for n in range(10_000):
        link.sent(n, float(n))
    assert link.waiting_s(10_000.0) <= 512
