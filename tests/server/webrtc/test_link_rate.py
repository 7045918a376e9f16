"""What a receiver estimates limits the bitrate when the link does, and not when little is sent."""

from __future__ import annotations

from rollcast.server.protocol.limits import MIN_KBPS
from rollcast.server.webrtc.link_rate import LinkRate


def sending(kbps: float, seconds: int = 3) -> LinkRate:
    rate = LinkRate(5_000)
    for tick in range(25 * seconds + 1):
        rate.sent(round(kbps * 1000 / 8 / 25), tick / 25)
    return rate


def test_little_to_say_is_no_narrow_link() -> None:
    rate = sending(100)
    for second in range(20):
        rate.estimated(160, second)
        assert rate.kbps is None


def test_an_estimate_below_what_is_sent_is_a_limit() -> None:
    rate = sending(1_500)
    rate.estimated(600, 3.0)
    assert rate.kbps == 600
    rate.estimated(450, 3.5)
    assert rate.kbps == 450


def test_a_limit_rises_slowly_and_goes_where_it_binds_nothing() -> None:
    rate = sending(1_500)
    rate.estimated(600, 3.0)
    for tick in range(250):
        rate.sent(round(550 * 1000 / 8 / 25), 3.04 + tick / 25)
    for second in range(13, 16):
        rate.estimated(1_000, float(second))
    assert 600 < (rate.kbps or 0) < 800
    for second in range(16, 60):
        rate.estimated(9_000, float(second))
    assert rate.kbps is None


def test_losses_lower_it_to_the_least() -> None:
    rate = sending(1_500)
    rate.lost(0.05, 3.0)
    assert rate.kbps is None
    rate.lost(0.2, 4.0)
    lowered = rate.kbps
    assert lowered is not None and 1_200 < lowered < 1_400
    rate.lost(0.2, 4.1)
    assert rate.kbps == lowered, "one loss counts once"
    for second in range(5, 100):
        rate.lost(0.9, float(second))
    assert rate.kbps == MIN_KBPS


def test_before_anything_is_known_nothing_is_limited() -> None:
    rate = LinkRate(5_000)
    rate.estimated(50, 0.1)
    rate.lost(0.9, 0.2)
    assert rate.kbps is None
