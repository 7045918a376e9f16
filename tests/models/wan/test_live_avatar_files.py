"""Live Avatar's files: Wan2.2-S2V's folder with shards and a voice, an adapter from elsewhere."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from rollcast.models.registry import load_model
from rollcast.models.wan import hub
from rollcast.models.wan.config_file import student_config
from rollcast.models.wan.inspect_files import inspect_file, served_from
from rollcast.models.wan.loading import empty_student
from rollcast.models.wan.locate import FilesMissing, locate
from rollcast.models.wan.presets.catalogue import preset_named
from rollcast.models.wan.presets.source import Source
from rollcast.models.wan.presets.speech import ENCODER
from rollcast.models.wan.stream.model import WanModel

from ...tiny_checkpoints import AVATAR, LIVE_AVATAR, S2V, tiny_config, tiny_student
from .conftest import FolderOf, read_here

PRESET = preset_named("live-avatar")
GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "liveavatar_tiny_weights.safetensors"
VOICE = "wav2vec2-large-xlsr-53-english"


def load(*places: Path) -> WanModel:
    weights = [str(place) for place in places]
    model = load_model("live-avatar", threads=1, weights=weights, size=(64, 64))
    assert isinstance(model, WanModel)
    return model


def test_a_full_size_student_is_the_published_one() -> None:
    """Wan2.2-S2V's four shards of 9.97, 9.89, 9.96 and 2.77 GB, in bfloat16."""
    student = empty_student(PRESET.student)
    count = sum(parameter.numel() for parameter in student.parameters())
    assert count == 16_295_755_609
    assert 2 * count == pytest.approx((9.97 + 9.89 + 9.96 + 2.77) * 1e9, abs=0.02e9)


def test_its_names_are_those_of_the_published_code() -> None:
    """The recorded tiny model's, with as many blocks and injectors as the full one has."""
    own = empty_student(PRESET.student).state_dict()
    numbered = re.compile(r"^(blocks|audio_injector\.\w+)\.(\d+)\.(.+)")
    wanted: set[str] = set()
    counts = {"blocks": 40}
    with safe_open(GOLDEN, "pt") as file:
        for name in file.keys():  # noqa: SIM118
            found = numbered.match(name.removeprefix("w/"))
            if found is None:
                wanted.add(name.removeprefix("w/"))
            else:
                count = counts.get(found[1], 12)
                wanted |= {f"{found[1]}.{k}.{found[3]}" for k in range(count)}
    assert own.keys() == wanted
    shapes = {name: tuple(tensor.shape) for name, tensor in own.items()}
    assert shapes["patch_embedding.weight"] == (5120, 16, 1, 2, 2)
    assert shapes["cond_encoder.weight"] == (5120, 16, 1, 2, 2)
    assert shapes["trainable_cond_mask.weight"] == (3, 5120)
    assert shapes["casual_audio_encoder.weights"] == (1, 25, 1, 1)
    assert shapes["casual_audio_encoder.encoder.conv1_local.conv.weight"] == (5120, 1024, 3)
    assert shapes["frame_packer.proj_4x.weight"] == (5120, 16, 4, 8, 8)
    assert shapes["audio_injector.injector.11.k.weight"] == (5120, 5120)
    assert shapes["audio_injector.injector_adain_layers.0.linear.weight"] == (10240, 5120)
    assert shapes["blocks.39.ffn.0.weight"] == (13824, 5120)


def test_the_published_folders_are_found(folder_of: FolderOf) -> None:
    folder = folder_of("live-avatar")
    files = locate(PRESET, [str(folder)])
    base = folder / S2V
    assert files.weights == base / "diffusion_pytorch_model.safetensors.index.json"
    assert files.more[ENCODER] == base / VOICE / "model.safetensors"
    assert files.adapter == folder / LIVE_AVATAR / "liveavatar.safetensors"
    assert files.config == base / "config.json"
    assert student_config(PRESET, files.config) == tiny_config(PRESET)
    assert served_from(folder)["live-avatar"].lacks == ""


def test_a_check_says_what_each_file_is(folder_of: FolderOf) -> None:
    folder = folder_of("live-avatar")
    files = locate(PRESET, [str(folder)])
    paths = {
        "student": files.weights,
        "adapter": files.adapter,
        "VAE": files.vae,
        "text encoder": files.text_encoder,
        "speech encoder": files.more[ENCODER],
    }
    for kind, path in paths.items():
        assert path is not None
        found = inspect_file(path, files.config)
        assert found.kind == kind
        if kind == "student":
            assert set(found.fits) == {"live-avatar", "live-avatar-3-step"}


def test_both_may_lie_in_several_places_and_in_the_hubs_cache(
    folder_of: FolderOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of("live-avatar")
    apart = locate(PRESET, [str(folder / S2V), str(folder / LIVE_AVATAR)])
    assert apart == locate(PRESET, [str(folder)])
    for repository, part in (
        ("Wan-AI/Wan2.2-S2V-14B", S2V),
        ("Quark-Vision/Live-Avatar", LIVE_AVATAR),
    ):
        kept = tmp_path / f"models--{repository.replace('/', '--')}"
        shutil.copytree(folder / part, kept / "snapshots" / "abc")
        (kept / "refs").mkdir()
        (kept / "refs" / "main").write_text("abc")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    found = locate(PRESET, [])
    assert found.weights.parent == hub.snapshot_folder("Wan-AI/Wan2.2-S2V-14B", tmp_path)
    assert found.adapter is not None and found.more[ENCODER].parent.name == VOICE


def test_the_adapter_is_folded_into_every_layer_that_it_names(folder_of: FolderOf) -> None:
    """Also into the attention to a voice, which its names end like."""
    folder = folder_of("live-avatar")
    loaded = load(folder)._calls.student.state_dict()
    base = tiny_student(PRESET).state_dict()
    halves = load_file(folder / LIVE_AVATAR / "liveavatar.safetensors")
    changed = 0
    for name, tensor in loaded.items():
        layer, wanted = f"base_model.model.{name.removesuffix('.weight')}", base[name]
        if f"{layer}.lora_A.weight" in halves:
            product = halves[f"{layer}.lora_B.weight"] @ halves[f"{layer}.lora_A.weight"]
            wanted, changed = wanted + product * (64.0 / 4), changed + 1
        torch.testing.assert_close(tensor, wanted)
    # 8 of attention and 2 of the network in each of 2 blocks, 4 of the injector
    assert changed == 24


def test_what_is_missing_is_named_with_a_command(folder_of: FolderOf, tmp_path: Path) -> None:
    shutil.copytree(folder_of("live-avatar") / S2V, tmp_path / S2V)
    with pytest.raises(FilesMissing) as caught:
        locate(PRESET, [str(tmp_path)])
    assert caught.value.hint == (
        "Download with: hf download Quark-Vision/Live-Avatar liveavatar.safetensors"
    )
    with pytest.raises(FilesMissing) as caught:
        locate(PRESET, [str(folder_of("live-avatar") / LIVE_AVATAR)])
    assert "lacks diffusion_pytorch_model.safetensors.index.json, Wan2.1_VAE.pth" in str(
        caught.value
    )
    index = "diffusion_pytorch_model.safetensors.index.json"
    shards = f'--include "{index}" "diffusion_pytorch_model-*.safetensors"'
    assert f"hf download Wan-AI/Wan2.2-S2V-14B {shards}" in caught.value.hint
    assert f'"{VOICE}/model.safetensors" "{VOICE}/config.json"' in caught.value.hint


@pytest.mark.parametrize(
    ("source", "patterns"),
    [
        (Source("a/b", "folder/model.pt"), ("folder/model.pt",)),
        (Source("a/b", "google/umt5-xxl"), ("google/umt5-xxl/*",)),
        (
            Source("a/b", "x/model.safetensors.index.json"),
            ("x/model.safetensors.index.json", "x/model-*.safetensors"),
        ),
        (Source("a/b", "v/m.bin", beside=("config.json",)), ("v/m.bin", "v/config.json")),
    ],
)
def test_a_source_says_what_has_to_be_downloaded(source: Source, patterns: tuple[str, ...]) -> None:
    assert source.patterns == patterns


def test_a_voice_of_another_size_is_told(folder_of: FolderOf, tmp_path: Path) -> None:
    folder = tmp_path / "all"
    shutil.copytree(folder_of("live-avatar"), folder)
    file = folder / S2V / "config.json"
    config = json.loads(file.read_text())
    config["audio_dim"] = 2 * AVATAR["audio_dim"]
    file.write_text(json.dumps(config))
    with pytest.raises(ValueError, match="casual_audio_encoder"):
        load(folder)
    voice = folder / S2V / VOICE
    file.write_text(json.dumps(config | {"audio_dim": AVATAR["audio_dim"]}))
    settings = json.loads((voice / "config.json").read_text())
    (voice / "config.json").write_text(json.dumps(settings | {"num_hidden_layers": 23}))
    read_here("live-avatar", folder)
    with pytest.raises(ValueError, match="left over"):
        load(folder)
    weights = load_file(voice / "model.safetensors")
    kept = {name: t for name, t in weights.items() if ".layers.23." not in name}
    torch.save(kept, voice / "less.bin")
    (voice / "model.safetensors").unlink()
    (voice / "less.bin").rename(voice / "pytorch_model.bin")
    with pytest.raises(FilesMissing, match=VOICE):
        load(folder)
