"""Where the viewer is, and when the next chunk may start."""

import pytest

from rollcast.server.session.playhead_estimate import PlayheadEstimate

CHUNK_US = 160_000


def playhead() -> PlayheadEstimate:
    return PlayheadEstimate(chunk_us=CHUNK_US, max_lead_chunks=2)


def test_between_acks_playback_is_assumed_to_go_on_for_a_while() -> None:
    head = playhead()
    head.ack(100_000, 1.0, generated_us=1e6)
    assert head.position_us(1.1, 1e6) == pytest.approx(200_000)
    assert head.position_us(9.0, 1e6) == pytest.approx(400_000)


def test_playback_cannot_pass_what_was_generated() -> None:
    head = playhead()
    head.ack(100_000, 1.0, generated_us=160_000)
    assert head.position_us(1.2, 160_000) == 160_000


def test_the_next_step_is_when_the_lead_has_shrunk_to_one_chunk() -> None:
    head = playhead()
    head.ack(0, 1.0, generated_us=200_000)
    assert head.next_step_s(1.0, 200_000) == pytest.approx(1.04)
    assert head.next_step_s(1.05, 200_000) == pytest.approx(1.04), "it is due since then"


def test_a_stream_that_begins_early_has_so_much_more_lead() -> None:
    head = playhead()
    head.ack(0, 1.0, generated_us=200_000)
    head.early_us = 30_000.0
    assert head.next_step_s(1.0, 200_000) == pytest.approx(1.01)
    assert head.max_lead_us == 2 * CHUNK_US + 30_000


def test_without_another_ack_there_is_no_step_beyond_the_extrapolation() -> None:
    head = playhead()
    head.ack(0, 1.0, generated_us=700_000)
    assert head.next_step_s(1.0, 700_000) is None


def test_before_the_first_ack_two_chunks_may_be_generated() -> None:
    head = playhead()
    assert head.next_step_s(1.0, CHUNK_US) == 1.0
    assert head.next_step_s(1.0, 2 * CHUNK_US) is None


def test_a_pause_freezes_the_position() -> None:
    head = playhead()
    head.ack(0, 1.0, generated_us=1e6)
    head.pause(1.1, 1e6)
    assert head.position_us(5.0, 1e6) == pytest.approx(100_000)
    assert head.next_step_s(5.0, 100_000) is None
    head.resume(6.0)
    assert head.position_us(6.1, 1e6) == pytest.approx(200_000)


def test_the_position_never_goes_back() -> None:
    head = playhead()
    head.ack(300_000, 1.0, generated_us=1e6)
    head.ack(100_000, 1.1, generated_us=1e6)
    assert head.position_us(1.1, 1e6) == 300_000


def test_stalls_add_lead_up_to_a_bound_then_call_for_help() -> None:
    head = playhead()
    results = [head.ack(0, 1.0 + 0.1 * n, generated_us=1e6) for n in range(6)]
    assert head.max_lead_us == 2 * CHUNK_US + 240_000
    assert results == [False, False, False, False, True, True]


def test_added_lead_wears_off() -> None:
    head = playhead()
    head.ack(0, 0.0, generated_us=1e9)
    head.ack(0, 0.1, generated_us=1e9)
    assert head.max_lead_us == 2 * CHUNK_US + 80_000
    for n in range(1, 401):
        head.ack(n * 100_000, 0.1 + n * 0.1, generated_us=1e9)
    assert head.max_lead_us == 2 * CHUNK_US


def test_a_steady_viewer_never_stalls() -> None:
    head = playhead()
    assert not any(
        head.ack(n * 200_000 + 15_000 * (n % 2), 0.2 * n, generated_us=1e9) for n in range(100)
    )
    assert head.max_lead_us == 2 * CHUNK_US
