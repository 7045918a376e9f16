"""A pocket model with seeded random weights: everything but the pictures' meaning is real."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from rollcast.models.pocket.audio import VisemeNet
from rollcast.models.pocket.autoencoder import (
    LATENT_CHANNELS,
    PICTURE_SIZE,
    FrameEncoder,
    WarpDecoder,
)
from rollcast.models.pocket.conditions import EXPRESSIONS
from rollcast.models.pocket.config import STUDENT
from rollcast.models.pocket.manifest import FORMAT
from rollcast.models.pocket.model import PocketModel
from rollcast.models.pocket.opening import Opening
from rollcast.models.pocket.prompt import TokenEmbedding
from rollcast.models.student.causal_student import CausalStudent

LOOKS = [
    {
        "name": "ann-red",
        "title": "Ann",
        "kind": "avatar",
        "tokens": ["woman", "ann"],
        "scale": 6.0,
        "objects": [],
    },
    {
        "name": "toys",
        "title": "Toys",
        "kind": "scene",
        "tokens": ["toys"],
        "scale": 24.0,
        "objects": [{"name": "ball", "home": [60.0, 60.0], "radius": 18.0}],
    },
    {
        "name": "hills",
        "title": "Hills",
        "kind": "scene",
        "tokens": [],
        "scale": 24.0,
        "objects": [
            {"name": "kite", "home": [60.0, 60.0], "radius": 18.0},
            {"name": "view", "home": [96.0, 96.0], "radius": 18.0, "pan": [24.0, 10.0]},
        ],
    },
]
VOCABULARY = [
    {"name": "woman", "group": "identity", "words": ["woman"]},
    {"name": "ann", "group": "identity", "words": ["ann"]},
    {"name": "toys", "group": "scene", "words": ["toys"]},
    *({"name": name, "group": "expression", "words": [name]} for name in EXPRESSIONS),
]


def _weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    modules = {
        "student": CausalStudent(STUDENT),
        "words": TokenEmbedding(len(VOCABULARY), STUDENT.text_len, STUDENT.text_dim),
        "decoder": WarpDecoder(),
        "encoder": FrameEncoder(),
        "visemes": VisemeNet(),
    }
    tensors = {}
    for name, module in modules.items():
        for key, value in module.state_dict().items():
            # zero-initialised layers would hide what the conditions do
            tensors[f"{name}.{key}"] = value + 0.02 * torch.randn_like(value)
    opening = Opening(0.3 * torch.randn(1, 2, 96, 96), torch.zeros(1, 4, 384, 384), 186, 273)
    tensors |= {f"opening.{key}": t.contiguous() for key, t in opening.tensors().items()}
    tensors["latent.mean"] = torch.zeros(LATENT_CHANNELS, 1, 1)
    tensors["latent.spread"] = torch.ones(LATENT_CHANNELS, 1, 1)
    return tensors


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pocket")
    rng = np.random.default_rng(0)
    for look in LOOKS:
        for key in ("reference", "opened", "plate"):
            look[key] = f"{look['name']}-{key}.png"
            small = Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8))
            small.resize((PICTURE_SIZE, PICTURE_SIZE)).save(path / str(look[key]))
    manifest = {
        "format": FORMAT,
        "title": "Test",
        "looks": LOOKS,
        "vocabulary": VOCABULARY,
        "fillers": ["a"],
        "presets": ["smiling"],
        "drag_gain": [33.0, 27.0],
    }
    (path / "manifest.json").write_text(json.dumps(manifest))
    save_file(_weights(), path / "pocket.safetensors")
    return path


@pytest.fixture(scope="session")
def model(folder: Path) -> PocketModel:
    return PocketModel(folder)
