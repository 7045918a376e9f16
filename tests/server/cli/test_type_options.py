"""`--dtype`, `--quantize` and `--device`: planned, passed on, refused with what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from rollcast.server.cli.app import main
from rollcast.server.cli.failure import Failure
from rollcast.server.cli.room import check_room, model_options
from rollcast.server.config import ServerConfig
from rollcast.server.web.app import _model_arguments


def ended(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    assert isinstance(end.value.code, int)
    return end.value.code


def test_a_plan_is_made_for_the_types(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("models", "plan", "reward-forcing", "--device-memory", "80GB", "--json")
    reports: list[dict[str, object]] = []
    for more in ((), ("--dtype", "fp16", "--quantize", "fp8")):
        assert ended(*asked, *more) == 0
        reports.append(json.loads(capsys.readouterr().out))
    assert [each["dtype"] for each in reports] == ["bfloat16", "float16 with fp8 weights"]
    assert isinstance(reports[0]["student"], int) and isinstance(reports[1]["student"], int)
    assert reports[1]["student"] < 0.55 * reports[0]["student"]


def test_who_lacks_torchao_is_told_before_anything_is_loaded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rollcast.server.cli.room.can_quantise", lambda _: False)
    assert ended("serve", "--model", "reward-forcing", "--quantize", "int8", "--no-open") == 2
    assert "pip install 'rollcast[quantize]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option", [("--dtype", "bf16"), ("--quantize", "int8"), ("--device", "cuda")]
)
def test_a_model_that_comes_with_its_types_takes_no_others(
    option: tuple[str, str], capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    assert ended("serve", "--model", "test-pattern", "--no-open", *option) == 2
    assert "comes with its weights and size" in capsys.readouterr().err
    assert ended("render", f"{tmp_path}/a.mp4", "--model", "test-pattern", *option) == 2
    assert f"no use for {option[0].removeprefix('--')}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ("serve", "--model", "longlive"),
        ("render", "a.mp4", "--model", "longlive"),
        ("try", "longlive"),
        ("bench", "stream", "--model", "longlive"),
        ("doctor",),
        ("models", "plan", "longlive"),
    ],
    ids=lambda command: command[0],
)
def test_every_command_knows_the_same_names(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(*command, "--device", "gpu") == 2
    assert "expected auto, cuda, cuda:N, cpu or mps" in capsys.readouterr().err
    assert ended(*command, "--dtype", "half") == 2
    assert "bf16" in capsys.readouterr().err


def test_a_bench_takes_no_types_of_a_model_that_has_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ended("bench", "stream", "--model", "test-pattern", "--dtype", "bf16") == 2
    assert "comes with its weights and size" in capsys.readouterr().err


def test_other_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("models", "plan", "longlive", "--dtype", "half") == 2
    assert "bf16" in capsys.readouterr().err


def test_the_process_of_the_model_is_told() -> None:
    types: dict[str, Any] = {"dtype": "bf16", "quantize": "int8", "device": "cuda:1"}
    config = ServerConfig(models=("longlive",), tiny_decoder=Path("taew.pth"), **types)
    told = _model_arguments(config, "longlive")
    for name, value in (types | {"tiny_decoder": "taew.pth"}).items():
        assert told[name] == value
        at = (planned := model_options(config)).index(f"--{name.replace('_', '-')}")
        assert planned[at + 1] == value


def test_steps_are_told_to_the_embedded_model_unless_they_are_anothers() -> None:
    alone = ServerConfig(models=("pocket", "test-pattern"), steps=(1000.0, 500.0))
    check_room(alone)
    assert _model_arguments(alone, "pocket") == {"name": "pocket", "steps": (1000.0, 500.0)}
    assert _model_arguments(alone, "test-pattern") == {"name": "test-pattern"}
    beside = ServerConfig(models=("pocket", "longlive"), steps=(1000.0, 500.0))
    assert _model_arguments(beside, "pocket") == {"name": "pocket"}
    with pytest.raises(Failure, match="comes with its weights"):
        check_room(ServerConfig(models=("toy-world",), steps=(1000.0,)))


def test_a_device_that_is_not_here_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert ended("models", "plan", "longlive", "--device", "cuda") == 2
    assert "sees no NVIDIA GPU here" in capsys.readouterr().err
    assert ended("serve", "--model", "longlive", "--device", "gpu", "--no-open") == 2
    assert "expected auto, cuda, cuda:N, cpu or mps" in capsys.readouterr().err
    with pytest.raises(ValueError, match="each stage takes a GPU of its own"):
        ServerConfig(models=("longlive",), stages=2, device="cuda:1")
