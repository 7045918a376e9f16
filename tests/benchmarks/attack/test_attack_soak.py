"""The soak with hostile neighbours: attacks take turns, and what stays is told from what passes."""

from __future__ import annotations

import pytest

from rollcast.benchmarks.attack.attack_soak import (
    AttackSoakOptions,
    CalmSample,
    soak,
    trends,
)
from rollcast.benchmarks.attack.attacks import ATTACKS

pytestmark = pytest.mark.processes


@pytest.mark.long
def test_attacks_take_turns_beside_one_viewer() -> None:
    said: list[str] = []
    report = soak(AttackSoakOptions("test-pattern", minutes=0.4, seconds=2.0), said.append)
    names = [each.after for each in report.samples]
    assert names == list(ATTACKS)[: len(names)] and len(names) == 2
    assert [line.split(";")[0] for line in said] == names
    assert report.frames > 0 and report.reconnects == 0
    for sample in report.samples:
        assert (
            sample.memory_mb > 50
            and sample.files > 10
            and sample.tasks > 3
            and sample.processes > 2
        )


def test_what_stays_is_told_behind_the_first_fifth() -> None:
    names = list(ATTACKS) * 5
    samples = [
        CalmSample(60.0 * k, name, 900.0 if k < 13 else 500.0 + 2 * k, 40 + k // 13, 9, 4)
        for k, name in enumerate(names)
    ]
    seen = {"dry_s": 1.0, "frames": 10.0, "reconnects": 0.0}
    report = trends(AttackSoakOptions("pocket", 65.0), seen, samples)
    assert report.memory_mb_per_min == pytest.approx(2.0)
    assert report.memory_mb == (538.0, 616.0)
    assert report.files == (41, 44) and report.tasks == (9, 9)
    assert report.attacks == 65


def test_a_process_that_is_there_at_times_is_no_growth() -> None:
    samples = [
        CalmSample(60.0 * k, "pictures", 500.0 + 30 * here, 27 + 5 * here, 9, 4 + here)
        for k, here in enumerate([0] * 10 + [1] * 12)
    ]
    seen = {"dry_s": 0.0, "frames": 10.0, "reconnects": 0.0}
    report = trends(AttackSoakOptions("pocket", 22.0), seen, samples)
    assert report.memory_mb_per_min == pytest.approx(0.0)
    assert report.memory_mb == (530.0, 530.0) and report.files == (32, 32)
