"""`rollcast models`: what there is, what it needs of memory, and what files are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from rollcast.models.wan.presets.catalogue import presets
from rollcast.models.wan.tiny_decoder import TinyDecoder, TinyDecoderConfig
from rollcast.server.cli.app import main
from rollcast.server.cli.byte_counts import gigabytes, parse_bytes
from rollcast.server.cli.frame_size import parse_size

from ...tiny_checkpoints import write_checkpoint


def models(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["models", *arguments])
    return int(end.value.code or 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of reward-forcing."""
    path = tmp_path_factory.mktemp("files")
    write_checkpoint("reward-forcing", path)
    return path


def test_all_are_listed_with_licence_and_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert models("--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["pocket"]["default"] and rows["pocket"]["needs"] == []
    for name, preset in presets().items():
        assert rows[name]["licence"] == preset.licence
        assert f"{preset.weights.repository} {preset.weights.path}" in rows[name]["needs"]
        vae = preset.base.vae
        assert f"{vae.repository} {vae.path}" in rows[name]["needs"]
    assert models() == 0
    assert "self-forcing" in capsys.readouterr().out


@pytest.mark.slow
def test_details_need_no_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert models("--json", "--load") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows["longlive"]["width"], rows["longlive"]["fps"]) == (832, 16)
    assert rows["longlive"]["inputs"] == ["prompt", "seed"]
    assert rows["test-pattern"]["scenes"] == ["bars", "grid"]


def test_a_plan_says_what_fits_instead(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("plan", "reward-forcing", "--sessions", "2", "--device-memory", "16GB")
    assert models(*asked, "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert not report["fits"] and report["sessions_that_fit"] == 1
    assert report["message"].startswith("reward-forcing at 832x480 needs 23.")
    assert "16.0 GB are there" in report["message"]
    assert report["hint"].startswith("What would fit: 1 stream at this size, or 2 streams at ")
    parts = ("student", "decoder", "working", "reserve")
    streams = report["cache_per_stream"] + report["decoder_state_per_stream"]
    total = sum(report[part] for part in parts) + 2 * streams + 3 * report["text_per_stream"]
    assert report["total"] == total
    assert models(*asked) == 1
    assert report["message"] in capsys.readouterr().out


@pytest.mark.slow
def test_a_plan_is_that_of_the_largest_stage(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("plan", "live-avatar", "--device-memory", "64GB")
    assert models(*asked, "--stages", "5", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["stages"], report["sessions_that_fit"]) == (5, 1)
    own = report["total"] - report["cache_per_stream"] // 4
    assert models(*asked, "--json") == 1
    whole = json.loads(capsys.readouterr().out)
    assert whole["total"] == own + whole["cache_per_stream"]
    assert "--stages 5 with a device like this for each" in whole["hint"]
    assert models(*asked, "--stages", "3") == 1
    said = capsys.readouterr().out
    assert "in the largest of 3 stages and 64.0 GB are there for it" in said
    assert "total of the largest stage" in said


def test_a_plan_takes_the_sizes_of_files_that_are_there(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("plan", "reward-forcing", "--size", "64x32", "--weights", str(folder), "--json")
    assert models(*asked) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["fits"] and report["total"] < 50e6


def test_a_tiny_decoder_is_told_and_planned_for(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "taew2_1.pth"
    torch.save(TinyDecoder(TinyDecoderConfig(widths=(12, 8, 6, 5))).state_dict(), file)
    assert models("check", str(file), "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)["files"]
    assert found["kind"] == "tiny decoder"
    asked = ("plan", "reward-forcing", "--size", "64x32", "--weights", str(folder), "--json")
    assert models(*asked, "--decoder", str(file)) == 0
    assert json.loads(capsys.readouterr().out)["decoder"] == found["bytes"]
    assert models("plan", "longlive-2", "--decoder", str(file)) == 2
    assert "Wan 2.2 have 48, 16 and 4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("plan", "nope"), "unknown model 'nope'; known: causal-forcing"),
        (("plan", "pocket"), "runs anywhere"),
        (("plan", "longlive", "--size", "big"), "expected width and height like 832x480"),
        (("plan", "longlive", "--size", "830x480"), "made for 832x480"),
        (("plan", "longlive", "--device-memory", "lots"), "like 24GB or 80GiB"),
        (("plan", "longlive", "--weights", "/no/where/at/all"), "no such file or folder"),
        (
            ("plan", "longlive", "--decoder", "/no/where/at.all"),
            "no such file or folder: /no/where/at.all",
        ),
        (("plan", "longlive", "--stages", "3"), "3 stages; this model can use 1 to 2"),
        (("check", "/no/where/at/all"), "no such file or folder"),
    ],
)
def test_mistakes_are_named(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert models(*arguments) == 2
    assert message in capsys.readouterr().err


def test_a_folder_is_told_by_what_it_holds(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert models("check", str(folder), "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["serves"] == ["reward-forcing"]
    assert report["lacks"]["longlive"] == "models/longlive_base.pt, models/lora.pt"
    kinds = {Path(file["path"]).name: file for file in report["files"]}
    assert kinds["rewardforcing.pt"]["kind"] == "student"
    assert kinds["rewardforcing.pt"]["fits"][0] == "reward-forcing"
    assert kinds["Wan2.1_VAE.pth"]["kind"] == "VAE"
    assert kinds["models_t5_umt5-xxl-enc-bf16.pth"]["kind"] == "text encoder"
    assert models("check", str(folder)) == 0
    assert "Serves reward-forcing." in capsys.readouterr().out
    assert models("check", str(tmp_path)) == 1


@pytest.mark.slow
def test_a_model_whose_files_are_there_and_do_not_fit_is_not_served(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another model's student under its name, without an adapter's layers, and a VAE cut in two."""
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    longlive = tmp_path / "models"
    longlive.mkdir()
    shutil.copy(folder / "rewardforcing.pt", longlive / "longlive_base.pt")
    halves = {"lora_A": torch.zeros(4, 9), "lora_B": torch.zeros(9, 4)}
    layer = "base_model.model.blocks.0.self_attn.q"
    lora = {f"{layer}.{half}.weight": tensor for half, tensor in halves.items()}
    torch.save({"generator_lora": lora}, longlive / "lora.pt")
    gap = tmp_path / "chunkwise" / "model.pt"
    gap.parent.mkdir()
    shutil.copy(folder / "rewardforcing.pt", gap)
    assert models("check", str(tmp_path), "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert "reward-forcing" in report["serves"]
    assert not {"longlive", "sgf-plus"} & set(report["serves"])
    (wrong,) = report["misfits"]["longlive"]
    assert (
        "lora.pt is no adapter of longlive's student: the adapter's blocks.0.self_attn.q" in wrong
    )
    (wrong,) = report["misfits"]["sgf-plus"]
    assert "model.pt does not fit sgf-plus: " in wrong and " missing: " in wrong
    torch.save({"decoder.conv1.weight": torch.zeros(1)}, next(tmp_path.rglob("Wan2.1_VAE.pth")))
    assert models("check", str(tmp_path)) == 1
    said = capsys.readouterr().out.splitlines()
    (line,) = (each for each in said if "Wan2.1_VAE.pth holds no decoder of Wan 2.1" in each)
    names, _, rest = line.removeprefix("the files of ").partition(" are here and cannot be served")
    assert rest and "reward-forcing" in names.split(", ")


@pytest.mark.slow
def test_a_file_is_told_by_its_names_and_shapes(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # without its configuration nobody knows that the student is tiny
    assert models("check", str(folder / "rewardforcing.pt"), "--json") == 0
    (file,) = json.loads(capsys.readouterr().out)["files"]
    assert file["kind"] == "student" and file["fits"] == []
    assert file["wrong_names"]["reward-forcing"] > 500
    assert file["bytes"] == 4 * file["values"] and file["dtypes"] == ["float32"]
    assert models("check", str(folder / "rewardforcing.pt")) == 0
    assert "fits no model; nearest is" in capsys.readouterr().out
    torch.save({"something": torch.zeros(3)}, tmp_path / "other.pt")
    assert models("check", str(tmp_path / "other.pt")) == 1
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00")
    assert models("check", str(tmp_path / "cut.safetensors")) == 2
    capsys.readouterr()
    assert models("check", str(tmp_path)) == 1
    assert "cut.safetensors: cannot be read" in capsys.readouterr().out


def test_files_for_a_model_that_needs_none_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in (("--weights", str(folder)), ("--size", "64x32"), ("--decoder", "x.pth")):
        with pytest.raises(SystemExit) as end:
            main(["serve", "--model", "test-pattern", *option])
        assert end.value.code == 2
        assert "test-pattern comes with its weights and size" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.processes
def test_serve_refuses_with_the_figures_of_the_plan(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []
    monkeypatch.setattr("rollcast.server.web.app.serve", lambda *given, **_: started.append(given))
    asked = ["serve", "--model", "reward-forcing", "--weights", str(folder), "--no-open"]
    with pytest.raises(SystemExit) as end:
        main([*asked, "--size", "832x480", "--max-sessions", "100000"])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert "error: reward-forcing at 832x480 needs " in error
    assert " for 100000 streams and " in error and "What would fit: " in error
    with pytest.raises(SystemExit) as end:
        main(["serve", "--model", "longlive", "--weights", str(folder), "--no-open"])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert "longlive lacks models/longlive_base.pt, models/lora.pt" in error
    assert "hf download Efficient-Large-Model/LongLive-1.3B models/lora.pt" in error
    assert started == []


def test_amounts_and_sizes_are_read_as_people_write_them() -> None:
    assert parse_bytes("24GB") == 24_000_000_000 and parse_bytes("80 GiB") == 80 << 30
    assert parse_bytes("1.5gb") == 1_500_000_000
    assert (gigabytes(14_378_000_000), gigabytes(94_371_840)) == ("14.4 GB", "94.4 MB")
    assert parse_size(" 832x480 ") == parse_size("832×480") == (832, 480)
    for wrong in ("", "GB", "-1GB", "24", "24TB"):
        with pytest.raises(ValueError, match="like 24GB"):
            parse_bytes(wrong)
