"""CLIP's features of a picture, against transformers' own model and preprocessing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

from rollcast.models.wan.image_encoder import (
    PUBLISHED,
    ImageEncoder,
    _wan_config,
    _WanClip,
    clip_pixels,
    is_wan_image_encoder,
)
from rollcast.models.wan.weight_files import BadCheckpoint

CPU = torch.device("cpu")


@pytest.fixture
def model() -> CLIPVisionModel:
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=4,
        num_attention_heads=2,
        patch_size=14,
        image_size=56,
        hidden_act="gelu",
    )
    made = CLIPVisionModel(config).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("prefixed", [True, False])
def test_features_are_those_of_the_layer_before_the_last(
    model: CLIPVisionModel, tmp_path: Path, prefixed: bool
) -> None:
    """Whether names begin as older transformers wrote them, which is how they are published."""
    model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    plain = {name.removeprefix("vision_model."): t for name, t in load_file(file).items()}
    save_file({f"vision_model.{k}" if prefixed else k: t for k, t in plain.items()}, file)
    encoder = ImageEncoder.load(file, device=CPU, dtype=torch.float32)
    given = picture(48, 80)
    with torch.inference_mode():
        seen = clip_pixels(given, 56)[None]
        wanted = model(pixel_values=seen, output_hidden_states=True).hidden_states[-2][0]
    made = encoder.encode(given)
    assert made.shape == (17, 16) and made.dtype == torch.float32
    # the same layers on the same processor
    torch.testing.assert_close(made, wanted, rtol=0, atol=1e-6)
    assert sum(w.numel() for w in encoder.weights) < sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("size", [(48, 80), (80, 48), (480, 832), (224, 224), (33, 47)])
def test_a_picture_is_cut_as_clip_cuts_it(size: tuple[int, int]) -> None:
    given = picture(*size)
    wanted = CLIPImageProcessor()(images=given, return_tensors="pt")["pixel_values"][0]
    torch.testing.assert_close(clip_pixels(given, 224), wanted, rtol=0, atol=1e-5)


def test_the_published_one_is_a_vit_h() -> None:
    with torch.device("meta"):
        whole = CLIPVisionModel(PUBLISHED)
    assert sum(p.numel() for p in whole.parameters()) == 630_766_080
    last = whole.get_submodule("encoder.layers.31")
    less = sum(weight.numel() for weight in ImageEncoder.empty(None, dtype=torch.bfloat16).weights)
    assert 630_766_080 - less == sum(p.numel() for p in last.parameters())


def test_other_files_are_named(model: CLIPVisionModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    file, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    less = {k: t for k, t in load_file(file).items() if "k_proj.bias" not in k}
    save_file(less, file)
    with pytest.raises(BadCheckpoint, match=r"no image encoder.*k_proj\.bias"):
        ImageEncoder.load(file, device=CPU, dtype=torch.float32)
    config.write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(BadCheckpoint, match="no configuration of CLIP"):
        ImageEncoder.load(file, device=CPU, dtype=torch.float32)
    config.unlink()
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        ImageEncoder.load(file, device=CPU, dtype=torch.float32)


def wans(model: CLIPVisionModel) -> dict[str, Tensor]:
    """A model's weights by the names and in the shapes of Wan's own file, with a text half."""
    own = {name.removeprefix("vision_model."): t for name, t in model.state_dict().items()}
    made = {
        "visual.cls_embedding": own["embeddings.class_embedding"][None, None],
        "visual.pos_embedding": own["embeddings.position_embedding.weight"][None],
        "visual.patch_embedding.weight": own["embeddings.patch_embedding.weight"],
        "visual.head": torch.zeros(160, 3),
        "textual.token_embedding.weight": torch.zeros(5, 4),
        "log_scale": torch.zeros(()),
    }
    for leaf in ("weight", "bias"):
        made[f"visual.pre_norm.{leaf}"] = own[f"pre_layrnorm.{leaf}"]
        made[f"visual.post_norm.{leaf}"] = own[f"post_layernorm.{leaf}"]
        for k in range(model.config.num_hidden_layers):
            theirs, ours = f"visual.transformer.{k}", f"encoder.layers.{k}"
            qkv = [own[f"{ours}.self_attn.{kind}_proj.{leaf}"] for kind in "qkv"]
            made[f"{theirs}.attn.to_qkv.{leaf}"] = torch.cat(qkv)
            made[f"{theirs}.attn.proj.{leaf}"] = own[f"{ours}.self_attn.out_proj.{leaf}"]
            for number, part in ((0, "fc1"), (2, "fc2")):
                made[f"{theirs}.mlp.{number}.{leaf}"] = own[f"{ours}.mlp.{part}.{leaf}"]
            for number in (1, 2):
                made[f"{theirs}.norm{number}.{leaf}"] = own[f"{ours}.layer_norm{number}.{leaf}"]
    return made


def test_wans_own_file_is_the_same_encoder(tmp_path: Path) -> None:
    """`models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth`, whose heads are 80 wide."""
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=160,
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=2,
        patch_size=14,
        image_size=56,
        hidden_act="gelu",
    )
    model = CLIPVisionModel(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(tmp_path)
    file = tmp_path / "models_clip.pth"
    torch.save(wans(model), file)
    plain = ImageEncoder.load(tmp_path / "model.safetensors", device=CPU, dtype=torch.float32)
    (tmp_path / "config.json").unlink()
    own = ImageEncoder.load(file, device=CPU, dtype=torch.float32)
    given = picture(48, 80)
    assert torch.equal(own.encode(given), plain.encode(given))
    shapes = [weight.shape for weight in ImageEncoder.empty(file, dtype=torch.bfloat16).weights]
    assert shapes == [weight.shape for weight in own.weights]
    less = {name: t for name, t in wans(model).items() if "1.mlp.0.bias" not in name}
    torch.save(less, file)
    with pytest.raises(BadCheckpoint, match=r"no image encoder of CLIP.*layers\.1\.mlp\.fc1\.bias"):
        ImageEncoder.load(file, device=CPU, dtype=torch.float32)


def test_wans_own_file_is_a_vit_h_at_full_size() -> None:
    with torch.device("meta"):
        theirs = wans(CLIPVisionModel(PUBLISHED))
    assert theirs["visual.transformer.31.attn.to_qkv.weight"].shape == (3840, 1280)
    assert is_wan_image_encoder(theirs)
    found = _wan_config(_WanClip(theirs)).to_dict()
    assert {k: v for k, v in found.items() if v != PUBLISHED.to_dict()[k]} == {}
