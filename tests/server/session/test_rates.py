"""Figures per second and the token bucket."""

import numpy as np
import pytest

from rollcast.server.session.rates import Figures, Rates, TokenBucket


def test_figures_are_per_second_since_the_last_look() -> None:
    rates = Rates(10.0)
    for _ in range(50):
        rates.sent(1000, frame=True)
    rates.sent(2500, frame=False)
    rates.stepped(0.02, 0.16)
    rates.stepped(0.04, 0.08)
    figures = rates.figures(12.0)
    assert (figures.fps, figures.kbps) == (25.0, 210.0)
    assert figures.step_s == pytest.approx(0.03)
    assert figures.rtf == pytest.approx(0.25), "of all steps, whatever their chunks lasted"
    assert rates.following(12.0).figures(13.0) == Figures(fps=0, kbps=0, step_s=0.04, rtf=0.5)


def test_a_bucket_permits_a_burst_then_the_rate() -> None:
    bucket = TokenBucket(rate_per_s=10, burst=5, now_s=0.0)
    assert [bucket.take(0.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert [bucket.take(0.15), bucket.take(0.15)] == [True, False]
    assert sum(bucket.take(100.0) for _ in range(20)) == 5


def test_what_is_owed_is_what_is_spent_and_waited_for() -> None:
    rng = np.random.default_rng(3)
    one, other = (TokenBucket(rate_per_s=5, burst=8, now_s=0) for _ in range(2))
    now_s = 0.0
    for count in rng.integers(0, 6, 200):
        now_s += float(rng.random())
        other.spend(now_s, int(count))
        assert one.owe(now_s, int(count)) == pytest.approx(other.wait_s(now_s))
    one.credit(now_s, 100.0)
    assert one.owe(now_s, 300) == 0.0, "a credit may be more than the burst"
