"""Races of providers: who may take part, who wins, and that it stays so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rollcast.kernels.dense_attention import tuning
from rollcast.kernels.dense_attention.choices import ChoiceFile
from rollcast.kernels.dense_attention.providers import Provider, attention_by, installed
from rollcast.kernels.dense_attention.tuning import (
    MARGIN,
    AttentionShape,
    Call,
    decide,
    tuned,
    working,
)

CPU = torch.device("cpu")
SHAPE = AttentionShape(4, 2, 16, 24, 72, torch.float32)


class Stopwatch:
    """Answers with these times, for those who take part, and remembers who that was."""

    def __init__(self, **times: float) -> None:
        self.times = times
        self.raced: list[set[str]] = []

    def __call__(self, calls: Mapping[Provider, Call]) -> dict[Provider, float]:
        self.raced.append(set(calls))
        return {name: self.times[name] for name in calls}


@pytest.mark.parametrize(
    ("times", "chosen"),
    [
        ({"cudnn": 1.0, "triton": 1.4, "sdpa": 1.9}, "cudnn"),
        ({"cudnn": 1.0, "flash3": 0.8, "triton": 1.4}, "flash3"),
        # as good as equal: two runs differ by as much
        ({"cudnn": 1.0, "flash3": 1.0 - MARGIN / 2}, "cudnn"),
        # the usual one does not work here
        ({"triton": 1.4, "sdpa": 1.41}, "triton"),
        ({}, "cudnn"),
    ],
)
def test_decisions(times: dict[Provider, float], chosen: Provider) -> None:
    assert decide(times, "cudnn") == chosen


def test_the_fastest_is_chosen_once(tmp_path: Path) -> None:
    file = ChoiceFile(tmp_path / "choices.json")
    first, second = Stopwatch(triton=1.0, sdpa=2.0), Stopwatch(triton=2.0, sdpa=1.0)
    raced: list[Provider] = ["triton", "sdpa"]
    assert tuned(SHAPE, CPU, "sdpa", file, clock=first, providers=raced) == "triton"
    # another process, whose own race would come out otherwise
    assert tuned(SHAPE, CPU, "sdpa", file, clock=second, providers=raced) == "triton"
    assert first.raced == [{"triton", "sdpa"}] and not second.raced
    # another size is another race
    other = replace(SHAPE, keys=96)
    assert tuned(other, CPU, "sdpa", file, clock=second, providers=raced) == "sdpa"


def test_other_versions_race_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = ChoiceFile(tmp_path / "choices.json")
    clock = Stopwatch(triton=1.0, sdpa=2.0)
    for number in ("1", "2", "2"):
        monkeypatch.setattr(tuning, "versions", lambda number=number: {"torch": number})
        tuned(SHAPE, CPU, "sdpa", file, clock=clock, providers=["triton", "sdpa"])
    assert len(clock.raced) == 2


def test_who_fails_or_is_wrong_takes_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Really called: on a CPU cuDNN is missing and FlexAttention has no such back end."""

    def wrong(provider: Provider, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        made = attention_by("sdpa", q, k, v)
        if provider == "flash3":
            raise ImportError(name="flash_attn_interface")
        return made * 1.01 if provider == "flash4" else made

    raced: list[Provider] = ["sdpa", "triton", "cudnn"]
    assert set(working(SHAPE, CPU, raced)) == {"sdpa", "triton"}
    monkeypatch.setattr(tuning, "attention_by", wrong)
    assert set(working(SHAPE, CPU, ["flash3", "flash4", "sdpa"])) == {"sdpa"}


def test_nothing_is_raced_where_the_result_could_not_be_kept(tmp_path: Path) -> None:
    """Another stage of the same pipeline could come to another one."""
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    clock = Stopwatch(triton=1.0, sdpa=2.0)
    file = ChoiceFile(in_the_way / "choices.json")
    assert tuned(SHAPE, CPU, "sdpa", file, clock=clock, providers=["triton", "sdpa"]) == "sdpa"
    assert not clock.raced


def test_the_real_clock_and_packages(tmp_path: Path) -> None:
    """Whoever is installed; on a CPU that is torch, and Triton in its interpreter."""
    file = ChoiceFile(tmp_path / "choices.json")
    there: list[Provider] = [each for each in installed() if each != "xformers"]
    assert {"sdpa", "cudnn"} <= set(there)
    assert tuned(SHAPE, CPU, "sdpa", file, providers=there) == "sdpa"
