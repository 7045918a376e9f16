"""Packets leave at their media time, sound beside its picture, and stalls shift the wire clock."""

from __future__ import annotations

import numpy as np
import pytest

from rollcast.server.protocol.packets import Flags, Kind, Packet
from rollcast.server.webrtc.pacer import Pacer

FRAME_US = 40_000.0
CHUNK = 4


def video(seq: int) -> Packet:
    return Packet(Kind.VIDEO, Flags.NONE, seq, seq * FRAME_US, seq // CHUNK, 0, 0.0, b"v")


def sound(number: int, delay_us: float = 6_500.0) -> Packet:
    return Packet(Kind.AUDIO_OUT, Flags.NONE, number, number * 20_000.0 - delay_us, 0, 0, 0.0, b"s")


def run(
    pacer: Pacer, chunks: dict[float, list[Packet]], until_s: float
) -> list[tuple[float, Packet, float]]:
    """Every millisecond: what came, what left, and its time on the wire."""
    left = []
    for now_ms in range(round(until_s * 1000)):
        for packet in chunks.get(now_ms / 1000, []):
            pacer.push(packet)
        while (out := pacer.pop(now_ms / 1000)) is not None:
            left.append((now_ms / 1000, out.packet, out.wire_us))
    return left


def chunk(number: int) -> list[Packet]:
    """The sound of a chunk, of which the last packet waits for the next one, then its pictures."""
    first = 0 if number == 0 else number * 8
    heard = [sound(first - 1)] * (number > 0) + [sound(first + k) for k in range(7)]
    return heard + [video(number * CHUNK + k) for k in range(CHUNK)]


def test_bursts_leave_evenly_sound_beside_picture() -> None:
    left = run(Pacer(FRAME_US), {1.0: chunk(0), 1.05: chunk(1), 1.2: chunk(2)}, 2.0)
    assert len(left) == 11 + 12 + 12
    for at_s, packet, wire_us in left:
        assert at_s == pytest.approx(1.0 + max(0.0, packet.pts_us) / 1e6, abs=0.0021)
        assert wire_us == packet.pts_us
    seqs = [packet.seq for _, packet, _ in left if packet.kind is Kind.VIDEO]
    assert seqs == list(range(12))


def test_a_late_chunk_shifts_both_alike() -> None:
    pacer = Pacer(FRAME_US)
    left = run(pacer, {0.0: chunk(0), 0.36: chunk(1), 0.4: chunk(2)}, 1.0)
    assert pacer.shift_us == pytest.approx(200_000, abs=8_000)
    later = [(at_s, p, wire) for at_s, p, wire in left if at_s > 0.37]
    assert all(wire - p.pts_us == pacer.shift_us for _, p, wire in later)
    for at_s, _, wire_us in later:
        assert at_s == pytest.approx(wire_us / 1e6, abs=0.0021), "the wire clock is a wall clock"
    straddling = next((at_s, wire) for at_s, p, wire in left if p.pts_us == sound(7).pts_us)
    assert straddling == (0.36, sound(7).pts_us), "what belongs to a shown picture shifts nothing"


def test_a_pause_is_a_camera_that_gave_nothing() -> None:
    pacer = Pacer(FRAME_US)
    left = run(pacer, {0.0: chunk(0), 7.0: chunk(1)}, 8.0)
    wires = [wire for _, packet, wire in left if packet.kind is Kind.VIDEO]
    assert wires[4] == pytest.approx(7e6, abs=8_000)
    assert np.diff(wires[4:]).tolist() == [FRAME_US] * 3


def test_a_little_jitter_shifts_nothing() -> None:
    pacer = Pacer(FRAME_US)
    run(pacer, {0.0: chunk(0), 0.165: chunk(1), 0.33: chunk(2)}, 1.0)
    assert pacer.shift_us == 0


def test_it_begins_with_a_picture_wherever_the_stream_is() -> None:
    pacer = Pacer(FRAME_US)
    early = [sound(k) for k in range(390, 402)]
    left = run(pacer, {0.5: early, 0.52: [video(200), video(201)]}, 1.0)
    assert pacer.next_s() is None
    assert (left[0][0], left[0][1].kind) == (0.52, Kind.AUDIO_OUT)
    pictures = [at_s for at_s, packet, _ in left if packet.kind is Kind.VIDEO]
    assert pictures == pytest.approx([0.52, 0.56], abs=0.002)
    heard = [packet.pts_us for _, packet, _ in left if packet.kind is Kind.AUDIO_OUT]
    assert min(heard) > 200 * FRAME_US - FRAME_US, "what was before is not heard late"


def test_it_says_when_to_look_again() -> None:
    pacer = Pacer(FRAME_US)
    assert pacer.next_s() is None
    for packet in (video(0), video(1)):
        pacer.push(packet)
    assert pacer.pop(3.0) is not None
    assert pacer.pop(3.0) is None
    assert pacer.next_s() == pytest.approx(3.04)
    assert len(pacer) == 1
