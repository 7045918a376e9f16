"""Tiny published checkpoints, written once, and a store of embeddings that is the tests' own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rollcast.models.registry import load_model
from rollcast.models.wan.locate import locate
from rollcast.models.wan.presets.catalogue import preset_named
from rollcast.models.wan.presets.text_prompt import TextPrompt
from rollcast.models.wan.stream.model import WanModel
from rollcast.models.wan.text.embedding_bytes import to_bytes
from rollcast.models.wan.text.encoder import TextEncoder
from rollcast.models.wan.text.preset_reader import text_reader

from ...tiny_checkpoints import VAE_DIM, WEIGHED_VAE_DIM, write_checkpoint

SIZE = (64, 32)
"""Width and height of the frames that a tiny model makes."""
CUT = "The scene transitions. a green dune"
"""A prompt that opens a new shot, for a model that has them."""
PROMPTS = ("a red fox", "a green sea", "snow in the street", CUT)

FolderOf = Callable[[str], Path]
ModelOf = Callable[..., WanModel]
"""Of a preset's name, and a size of frames."""
Size = tuple[int, int]
Loaded = dict[tuple[Path, Size, int], WanModel]
"""By folder, size, and how many of these a test had already asked for."""


@pytest.fixture(scope="session", autouse=True)
def _own_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Processes that tests start inherit it: nothing is written to the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("HF_HUB_CACHE", raising=False)
        patch.delenv("HF_HOME", raising=False)
        yield


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory, _own_store: None) -> FolderOf:
    """The folder with a preset's files, to be read only.

    Its prompts were read already: starting the encoder's process takes longer than most tests.
    """
    return _written(tmp_path_factory, VAE_DIM)


@pytest.fixture(scope="session")
def weighed_folder_of(tmp_path_factory: pytest.TempPathFactory, _own_store: None) -> FolderOf:
    """As `folder_of`, for tests that hold plans of memory against what lives."""
    return _written(tmp_path_factory, WEIGHED_VAE_DIM)


def _written(tmp_path_factory: pytest.TempPathFactory, vae_dim: int) -> FolderOf:
    folders: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp(name)
            write_checkpoint(name, folders[name], vae_dim=vae_dim)
            read_here(name, folders[name])
        return folders[name]

    return folder


@pytest.fixture(scope="session")
def _loaded() -> Loaded:
    """Those that tests were given so far: a model is weights and functions, and nothing else."""
    return {}


@pytest.fixture
def model_of(folder_of: FolderOf, _loaded: Loaded) -> ModelOf:
    """A preset's tiny model, loaded as `rollcast serve` does: each time another one in a test."""
    asked: Counter[tuple[str, Size]] = Counter()

    def load(name: str, size: Size = SIZE) -> WanModel:
        folder = folder_of(name)
        key = folder, size, asked[name, size]
        asked[name, size] += 1
        if key not in _loaded:
            model = load_model(name, threads=1, weights=[str(folder)], size=size)
            assert isinstance(model, WanModel)
            _loaded[key] = model
        return _loaded[key]

    return load


def read_here(name: str, folder: Path) -> None:
    """Read the prompts of tests into the store, in this process."""
    preset = preset_named(name)
    reader = text_reader(preset, locate(preset, [str(folder)]))
    files, stated = reader.files, preset.stated(TextPrompt)
    texts = (*(stated.examples if stated else ()), *PROMPTS)
    if not all(map(reader.has, texts)):
        encoder = TextEncoder(files.weights, files.tokenizer, files.text_len)
        for text in texts:
            reader.store.put(text, to_bytes(encoder.encode(text)))
