"""`rollcast doctor`: it measures, reports problems instead of failing, and gives a verdict."""

from __future__ import annotations

import json

import pytest

from rollcast.models.contract import Model
from rollcast.models.test_pattern import TestPattern
from rollcast.server.cli import checkup
from rollcast.server.cli.app import main
from rollcast.server.cli.checkup import Finding, Speed
from rollcast.server.cli.doctor import verdict


def doctor(*options: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["doctor", "--seconds", "0.05", *options])
    return int(end.value.code or 0)


def test_models_are_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checkup, "load_model", lambda name, threads: TestPattern())
    assert doctor("--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"]
    assert {"pocket", "test-pattern"} == {row["model"] for row in report["models"]}
    for row in report["models"]:
        assert row["fps_expected"] > 25
        assert row["sessions"] >= 1
    assert {"python", "torch", "encoders"} <= {f["name"] for f in report["findings"]}
    assert all(f["status"] != "problem" for f in report["findings"])


def test_missing_weights_are_a_finding_not_a_crash(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(name: str, threads: int | None) -> Model:
        if name == "pocket":
            raise FileNotFoundError("pocket.safetensors is missing")
        return TestPattern()

    monkeypatch.setattr(checkup, "load_model", load)
    assert doctor() == 1
    shown = capsys.readouterr().out
    assert "pocket.safetensors is missing" in shown
    assert "Needs attention: model pocket." in shown


def test_verdict_counts_what_fits_in_real_time() -> None:
    fast = Speed("fast", step_ms_p50=20, step_ms_p95=30, chunk_ms=160, fps_native=25)
    slow = Speed("slow", step_ms_p50=200, step_ms_p95=220, chunk_ms=160, fps_native=25)
    assert (fast.sessions, slow.sessions) == (4, 0)
    assert fast.fps_expected == 200
    assert verdict([Finding("torch", "ok", "")], [fast, slow]) == (
        "Runs in real time: fast (4 at once). Too slow here: slow."
    )
    assert verdict([Finding("gpu", "problem", "")], []) == (
        "Nothing runs in real time. Needs attention: gpu."
    )
