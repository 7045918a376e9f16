"""The attack benchmark: a server of its own, a viewer beside the attacker, and what both had."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rollcast.benchmarks.attack.attack import AttackBenchOptions, measure
from rollcast.benchmarks.attack.attacks import ATTACKS
from rollcast.benchmarks.attack.hostile_picture import many_scans
from rollcast.benchmarks.attack.processes import NOTHING
from rollcast.benchmarks.attack.raw_socket import TEXT, frame
from rollcast.server.cli.app import main

pytestmark = pytest.mark.processes


@pytest.mark.long
def test_a_viewer_is_watched_beside_each_attack() -> None:
    said: list[str] = []
    plan = AttackBenchOptions("test-pattern", (NOTHING, "pings", "guesses"), seconds=2.0)
    report = measure(plan, said.append)
    assert [row.attack for row in report.rows] == list(plan.attacks)
    assert [line.split(",")[0] for line in said] == list(plan.attacks)
    for row in report.rows:
        assert row.frames > 0 and row.reconnects == 0 and row.health_failed == 0
        assert 0 <= row.dry_s <= 2.5 and row.health_s > 0
    guesses = report.rows[-1]
    assert 10 <= guesses.log_lines <= 25, "some of the failed logins, and not all"
    assert json.loads(json.dumps(report.to_json()))["rows"][0]["attack"] == NOTHING


def test_every_attack_says_what_it_does() -> None:
    assert len(ATTACKS) == 13 and NOTHING not in ATTACKS
    assert all(attack.__doc__ for attack in ATTACKS.values())


def test_an_attack_that_there_is_not_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["bench", "attack", "--only", "nuke"])
    assert end.value.code == 2
    assert "no attack 'nuke'" in capsys.readouterr().err


@pytest.mark.long
def test_the_report_can_be_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "attack.json"
    with pytest.raises(SystemExit) as end:
        main(
            [
                "bench",
                "attack",
                "--model",
                "test-pattern",
                "--only",
                NOTHING,
                "--seconds",
                "2",
                "--json",
                "--out",
                str(out),
            ]
        )
    assert not end.value.code
    assert json.loads(out.read_text()) == json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(("count", "head"), [(5, 6), (125, 6), (126, 8), (65_536, 14)])
def test_a_raw_frame_is_as_long_as_the_standard_wants(count: int, head: int) -> None:
    assert len(frame(TEXT, bytes(count))) == head + count


def test_a_hostile_picture_has_one_scan_many_times() -> None:
    few, many = many_scans(64, 1), many_scans(64, 101)
    assert many.count(b"\xff\xda") == few.count(b"\xff\xda") + 100
