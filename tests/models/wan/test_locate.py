"""Files are found as people have them: repositories, diffusers' folders, the hub's cache."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from rollcast.models.registry import load_model
from rollcast.models.wan import hub
from rollcast.models.wan.locate import FilesMissing, locate
from rollcast.models.wan.presets.catalogue import preset_named, presets
from rollcast.models.wan.presets.preset import Preset
from rollcast.models.wan.presets.wan21 import CLIP, FILES
from rollcast.models.wan.stream.model import WanModel
from rollcast.models.wan.weight_files import BadCheckpoint

from ...tiny_checkpoints import BASE, diffusers_name, tiny_student, write_diffusers, write_student
from .conftest import SIZE, FolderOf, read_here

PRESET = preset_named("reward-forcing")


def weights_of(name: str, *places: Path) -> dict[str, torch.Tensor]:
    model = load_model(name, threads=1, weights=[str(place) for place in places], size=SIZE)
    assert isinstance(model, WanModel)
    return model._calls.student.state_dict()


def is_tiny(loaded: dict[str, torch.Tensor], preset: Preset = PRESET, seed: int = 0) -> bool:
    wanted = tiny_student(preset, seed).state_dict()
    return all(torch.equal(tensor, wanted[name]) for name, tensor in loaded.items())


@pytest.mark.parametrize("name", [n for n, p in presets().items() if p.adapter is None])
def test_a_folder_as_the_repository_asks_for_it(name: str, folder_of: FolderOf) -> None:
    assert is_tiny(weights_of(name, folder_of(name)), preset_named(name))


def test_an_adapter_is_folded_in(folder_of: FolderOf) -> None:
    preset, folder = preset_named("longlive"), folder_of("longlive")
    loaded, base = weights_of("longlive", folder), tiny_student(preset).state_dict()
    assert preset.adapter is not None
    halves = torch.load(folder / preset.adapter.source.path)["generator_lora"]
    for name, tensor in loaded.items():
        layer = f"base_model.model.{name.removesuffix('.weight')}"
        wanted = base[name]
        if f"{layer}.lora_A.weight" in halves:
            product = halves[f"{layer}.lora_B.weight"] @ halves[f"{layer}.lora_A.weight"]
            wanted = wanted + product * (256.0 / 4)
        torch.testing.assert_close(tensor, wanted)
    assert not is_tiny(loaded, preset)


def test_parts_may_lie_in_several_places(folder_of: FolderOf, tmp_path: Path) -> None:
    write_student(PRESET, tmp_path, seed=5)
    base = folder_of("reward-forcing") / BASE
    assert is_tiny(weights_of("reward-forcing", tmp_path, base), seed=5)


def test_a_file_that_is_named_is_the_students(folder_of: FolderOf, tmp_path: Path) -> None:
    write_student(PRESET, tmp_path, seed=6)
    tuned = tmp_path / "my-own-tuning.pt"
    (tmp_path / PRESET.weights.path).rename(tuned)
    folder = folder_of("reward-forcing")
    assert is_tiny(weights_of("reward-forcing", folder, tuned), seed=6)
    vae = folder / BASE / "Wan2.1_VAE.pth"
    assert is_tiny(weights_of("reward-forcing", folder, vae)), "a VAE's name is a VAE"
    with pytest.raises(BadCheckpoint, match="one file of weights was expected"):
        locate(PRESET, [str(tuned), str(folder / PRESET.weights.path), str(folder)])


def test_a_diffusers_folder_with_shards(tmp_path: Path) -> None:
    write_diffusers(PRESET, tmp_path)
    read_here("reward-forcing", tmp_path)
    files = locate(PRESET, [str(tmp_path)])
    assert files.weights.name.endswith(".index.json")
    assert files.tokenizer == tmp_path / "tokenizer"
    assert is_tiny(weights_of("reward-forcing", tmp_path))


def test_wans_own_files_do_for_a_model_that_is_published_as_diffusers_are(tmp_path: Path) -> None:
    preset = preset_named("track-v0")
    own = (CLIP, FILES.vae.path, FILES.text_encoder.path)
    bundle, wan = tmp_path / "track-v0", tmp_path / "wan"
    (bundle / "transformer").mkdir(parents=True)
    (wan / "google" / "umt5-xxl").mkdir(parents=True)
    for file in (bundle / "transformer" / "model.safetensors", *(wan / name for name in own)):
        file.touch()
    (wan / "google" / "umt5-xxl" / "spiece.model").touch()
    files = locate(preset, [str(bundle), str(wan)])
    assert files.more == {"image_encoder": wan / CLIP}
    assert (files.vae, files.text_encoder) == (wan / own[1], wan / own[2])
    assert files.tokenizer == wan / "google" / "umt5-xxl"
    assert locate(preset, [str(bundle), str(wan), str(wan / CLIP)]).weights == files.weights


def test_diffusers_has_other_names_for_all_of_them() -> None:
    names = list(tiny_student(PRESET).state_dict())
    theirs = [diffusers_name(name) for name in names]
    assert len(set(theirs)) == len(names)
    same = {ours for ours, other in zip(names, theirs, strict=True) if ours == other}
    assert same == {"patch_embedding.weight", "patch_embedding.bias"}


def into_cache(folder: Path, cache: Path) -> None:
    """The files of a preset as `huggingface_hub` keeps them: blobs, and links to them."""
    for source in PRESET.sources:
        own = folder / source.path
        found = own if own.exists() else folder / BASE / source.path
        kept = cache / f"models--{source.repository.replace('/', '--')}"
        snapshot = kept / "snapshots" / "0123abcd"
        (kept / "refs").mkdir(parents=True, exist_ok=True)
        (kept / "refs" / "main").write_text("0123abcd")
        files = [found] if found.is_file() else [f for f in found.iterdir() if f.is_file()]
        config = found.parent / "config.json"
        for file in files + ([config] if config.exists() else []):
            blob = kept / "blobs" / f"{source.repository.replace('/', '-')}-{file.name}"
            blob.parent.mkdir(exist_ok=True)
            shutil.copy(file, blob)
            link = snapshot / source.path if found.is_file() else snapshot / source.path / file.name
            link = link.parent / file.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(blob)


def test_the_hubs_cache_is_found_by_itself_or_when_it_is_named(
    folder_of: FolderOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "hub"
    into_cache(folder_of("reward-forcing"), cache)
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    by_itself = locate(PRESET, [])
    assert "snapshots/0123abcd" in str(by_itself.weights) and by_itself.config is not None
    assert is_tiny(weights_of("reward-forcing"))
    monkeypatch.delenv("HF_HUB_CACHE")
    assert locate(PRESET, [str(cache)]) == by_itself
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert locate(PRESET, []) == by_itself
    named = ["JaydenLu666/Reward-Forcing-T2V-1.3B", "Wan-AI/Wan2.1-T2V-1.3B"]
    assert locate(PRESET, named) == by_itself


def test_a_repository_that_is_not_there_is_downloaded_as_far_as_it_is_needed(
    folder_of: FolderOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, list[str] | None]] = []

    def download(repository: str, *, allow_patterns: list[str] | None, cache_dir: Path) -> str:
        asked.append((repository, allow_patterns))
        into_cache(folder_of("reward-forcing"), cache_dir)
        return str(hub.snapshot_folder(repository, cache_dir))

    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    repository = "JaydenLu666/Reward-Forcing-T2V-1.3B"
    locate(PRESET, [repository, str(folder_of("reward-forcing") / BASE)])
    assert asked == [(repository, ["rewardforcing.pt", "config.json"])]


def test_without_a_network_a_repository_is_an_error_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(*_: object, **__: object) -> str:
        raise OSError("no route to host\nand more")

    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    with pytest.raises(FileNotFoundError, match=r"could not be downloaded: no route to host$"):
        locate(PRESET, ["someone/something"])


def test_all_that_is_missing_is_listed_with_how_to_get_it(tmp_path: Path) -> None:
    preset = preset_named("longlive")
    with pytest.raises(FilesMissing) as missing:
        locate(preset, [str(tmp_path)])
    message, hint = str(missing.value), missing.value.hint
    for source in preset.sources:
        assert source.path in message and f"hf download {source.repository}" in hint
    assert str(tmp_path) in message
    assert '--include "google/umt5-xxl/*"' in hint
    write_student(preset, tmp_path)
    with pytest.raises(FilesMissing) as missing:
        locate(preset, [str(tmp_path)])
    assert "longlive_base" not in str(missing.value)


def test_a_place_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="no such file or folder: /no/where/at/all"):
        locate(PRESET, ["/no/where/at/all"])


def test_two_files_that_could_be_meant_are_not_guessed_at(
    folder_of: FolderOf, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        write_student(PRESET, tmp_path / name)
    with pytest.raises(BadCheckpoint, match=r"which is meant: .*one/.* or .*two/"):
        locate(PRESET, [str(tmp_path), str(folder_of("reward-forcing") / BASE)])


@pytest.mark.slow
def test_weights_that_do_not_fit_say_which_preset_would(
    folder_of: FolderOf, tmp_path: Path
) -> None:
    """Without the configuration the sizes are the preset's, and nothing fits."""
    folder = tmp_path / "files"
    shutil.copytree(folder_of("reward-forcing"), folder)
    (folder / BASE / "config.json").unlink()
    with pytest.raises(BadCheckpoint) as problem:
        weights_of("reward-forcing", folder)
    message = str(problem.value)
    assert "rewardforcing.pt does not fit reward-forcing" in message
    assert "missing: blocks.10." in message and "misshapen: blocks.0." in message
    assert "No preset fits; the nearest is" in message
    shutil.copy(folder_of("reward-forcing") / BASE / "config.json", folder / BASE)
    content = torch.load(folder / PRESET.weights.path)
    content["model.blocks.0.memory_modulation"] = torch.zeros(1)
    torch.save(content, folder / PRESET.weights.path)
    with pytest.raises(BadCheckpoint, match=r"1 left over: blocks\.0\.memory_modulation"):
        weights_of("reward-forcing", folder)
