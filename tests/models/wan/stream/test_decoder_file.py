"""Streams whose frames come from a tiny decoder in a file of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rollcast.models.contract import Chunk, Controls, StreamRequest
from rollcast.models.pipeline.events import Finished
from rollcast.models.pipeline.stage_plan import StagePlan
from rollcast.models.registry import load_model
from rollcast.models.staged_model import all_calls, decode_chunk
from rollcast.models.wan.presets.catalogue import preset_named
from rollcast.models.wan.stream.model import WanModel
from rollcast.models.wan.tiny_decoder import TinyDecoder, TinyDecoderConfig

from ....variants import some_of
from ..conftest import PROMPTS, SIZE, FolderOf
from ..running import frames, staged

pytestmark = pytest.mark.slow

NAMES = ("longlive", "longlive-2")
"""One with the latents of Wan 2.1, and one with those of 2.2."""
LOG = [Controls(prompt=PROMPTS[0] if k == 1 else None, reset=k == 3) for k in range(5)]


def written(name: str, folder: Path) -> Path:
    """A tiny decoder in its published format, for the latents of a preset."""
    latents = preset_named(name).latents
    config = TinyDecoderConfig(latents.channels, (12, 8, 6, 5), patch=latents.pixels // 8)
    torch.manual_seed(5)
    decoder = TinyDecoder(config)
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    encoder = {"encoder.0.weight": torch.zeros(64, 3 * config.patch**2, 3, 3)}
    torch.save(decoder.state_dict() | encoder, folder / "taew.pth")
    return folder / "taew.pth"


def arguments(name: str, folder_of: FolderOf, decoder: Path) -> dict[str, object]:
    return {
        "name": name,
        "weights": [str(folder_of(name))],
        "size": SIZE,
        "threads": 1,
        "decoder": str(decoder),
    }


def loaded(name: str, folder_of: FolderOf, decoder: Path) -> WanModel:
    model = load_model(**arguments(name, folder_of, decoder))  # type: ignore[arg-type]
    assert isinstance(model, WanModel) and isinstance(model._decoder, TinyDecoder)
    return model


@pytest.mark.parametrize("name", some_of(NAMES, "longlive-2"))
def test_frames_are_its_own_of_the_same_latents(
    name: str, folder_of: FolderOf, tmp_path: Path
) -> None:
    model = loaded(name, folder_of, written(name, tmp_path))
    state = model.start(StreamRequest(seed=1))
    made: list[Chunk] = []
    latents: list[torch.Tensor] = []
    for controls in LOG[:3]:
        plan = model.prepare(state, controls)
        latents += all_calls(model, [(plan, state.caches)])
        chunk = decode_chunk(model, plan, latents[-1], state.decoder)
        assert chunk is not None
        made.append(chunk)
    with torch.inference_mode():
        whole = model._decoder.decode(torch.cat(latents, dim=1), {})[0]
    wanted = whole.add(1).mul(127.5).round().clamp(0, 255).permute(0, 2, 3, 1).numpy()
    shown = frames(made)
    assert shown.shape == wanted.shape and 5 < shown.std() < 120
    # a decoder in pieces adds in another order: at an edge between two levels it may differ by one
    assert np.abs(shown.astype(int) - wanted).max() <= 1
    own = load_model(name, threads=1, weights=[str(folder_of(name))], size=SIZE)
    first = own.step(own.start(StreamRequest(seed=1)), LOG[0])
    assert not np.array_equal(first.frames, made[0].frames)


@pytest.mark.parametrize("name", some_of(NAMES, "longlive"))
def test_a_restored_stream_goes_on_bit_for_bit(
    name: str, folder_of: FolderOf, tmp_path: Path
) -> None:
    model = loaded(name, folder_of, written(name, tmp_path))
    state = model.start(StreamRequest(seed=1))
    made = [model.step(state, controls) for controls in LOG[:2]]
    data = model.snapshot(state)
    made += [model.step(state, controls) for controls in LOG[2:]]
    restored = model.restore(data)
    assert np.array_equal(frames([model.step(restored, c) for c in LOG[2:]]), frames(made[2:]))


@pytest.mark.long
@pytest.mark.processes
@pytest.mark.parametrize("name", NAMES)
def test_a_stage_of_its_own_decodes_the_same_bit_for_bit(
    name: str, folder_of: FolderOf, tmp_path: Path
) -> None:
    """[student | decoder]: the next chunk is denoised while this one is decoded."""
    decoder = written(name, tmp_path)
    model = loaded(name, folder_of, decoder)
    calls = tuple(range(len(model.chunk_steps.calls)))
    plan, made = StagePlan((calls, ()), 1), list[Chunk]()
    with staged(name, folder_of(name), 2, decoder=decoder, plan=plan) as pipeline:
        for controls in LOG:
            pipeline.submit("a", controls)
        while len(made) < len(LOG):
            made += [each.chunk for each in pipeline.poll(1.0) if isinstance(each, Finished)]
    state = model.start(StreamRequest(seed=1))
    assert np.array_equal(frames(made), frames([model.step(state, each) for each in LOG]))
