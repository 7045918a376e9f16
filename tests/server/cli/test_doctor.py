"""`rollcast doctor`: it measures, reports problems instead of failing, and gives a verdict."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch

from rollcast.models.contract import Model
from rollcast.models.live_avatar.speech_encoder import empty_speech_encoder
from rollcast.models.test_pattern import TestPattern
from rollcast.server.cli import checkup
from rollcast.server.cli.app import main
from rollcast.server.cli.checkup import Finding, Speed, look_at_machine
from rollcast.server.cli.doctor import verdict
from rollcast.server.cli.gpu_outlook import sizes_of_students


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
    assert {"pocket", "pocket-256", "test-pattern", "toy-world"} == {
        row["model"] for row in report["models"]
    }
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


@dataclass(frozen=True, slots=True)
class Gpu:
    """What torch says of one."""

    name: str
    major: int
    minor: int
    multi_processor_count: int
    clock_rate: int
    gib: float


L4 = Gpu("NVIDIA L4", 8, 9, 58, 2_040_000, 22)
RTX_4090 = Gpu("NVIDIA GeForce RTX 4090", 8, 9, 128, 2_520_000, 24)
H100 = Gpu("NVIDIA H100 80GB HBM3", 9, 0, 132, 1_830_000, 79)
T4 = Gpu("Tesla T4", 7, 5, 40, 1_590_000, 15)
V100 = Gpu("Tesla V100-SXM2-16GB", 7, 0, 80, 1_530_000, 16)


def put_in(gpus: Sequence[Gpu], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have torch say that these GPUs are here, with nothing in their memory."""

    def memory(index: int) -> tuple[int, int]:
        return (whole := int(gpus[index].gib * 2**30)), whole

    answers = {
        "is_available": lambda: True,
        "device_count": lambda: len(gpus),
        "mem_get_info": memory,
        "get_device_capability": lambda index: (gpus[index].major, gpus[index].minor),
        "get_device_name": lambda index: gpus[index].name,
        "get_device_properties": lambda index: gpus[index],
    }
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, answer)


def fps_of(finding: Finding, model: str) -> float:
    (said,) = re.findall(rf"{model} \S+, .*?about (\d+) fps", finding.detail.split(";")[0])
    return float(said)


@pytest.mark.long
def test_of_each_gpu_it_says_what_fits_and_how_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    # what a plan imports asks for GPUs as well, and these answer what a doctor asks alone
    empty_speech_encoder(None)
    put_in((L4, RTX_4090, H100), monkeypatch)
    found = {finding.name: finding for finding in look_at_machine()}
    small, card, large = (found[f"cuda:{index} by estimate"] for index in range(3))
    first = sizes_of_students()[0].name
    # as the products of a clock, multiprocessors and what each does in a clock
    assert fps_of(small, first) < fps_of(card, first) < fps_of(large, first)
    assert all(each.status == "ok" for each in (small, card, large))
    # the smallest student fits in 24 GB, the largest does not, and more of them fit in 79
    needs = ["needs" in part for part in card.detail.split("; ")]
    assert needs == sorted(needs) and needs[-1] and not needs[0]
    assert [" needs " in part for part in small.detail.split("; ")] == needs
    assert sum(" needs " in part for part in large.detail.split("; ")) < sum(needs)
    (only,) = (each for each in look_at_machine("cuda:1") if each.name.startswith("cuda:"))
    assert only.name == "cuda:1 by estimate" and only.detail == card.detail


@pytest.mark.parametrize("gpu", [T4, V100], ids=lambda gpu: gpu.name)
def test_an_old_gpu_is_told_so(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in((gpu,), monkeypatch)
    found = {finding.name: finding for finding in look_at_machine()}
    assert found["gpu"].status == "note" and gpu.name in found["gpu"].detail
    outlook = found["cuda:0 by estimate"]
    assert outlook.status == "note" and f"has {gpu.major}.{gpu.minor}; say" in outlook.detail


@pytest.mark.parametrize("device", ["cuda:3", "mps"])
def test_a_device_that_is_not_here_is_told(
    device: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_in((L4,), monkeypatch)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(SystemExit) as end:
        main(["doctor", "--device", device])
    assert end.value.code == 2
    assert f"device '{device}': " in capsys.readouterr().err


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


@pytest.mark.parametrize(("p95", "told"), [(128, True), (129, False)])
def test_sharper_faces_are_recommended_where_they_leave_room(p95: float, *, told: bool) -> None:
    speed = Speed("pocket-256", step_ms_p50=100, step_ms_p95=p95, chunk_ms=160, fps_native=25)
    assert ("rollcast serve --model pocket-256" in verdict([], [speed])) == told
