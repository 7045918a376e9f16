"""A stream that a tiny decoder takes over while it has to be made sooner, and gives back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rollcast.models.contract import Chunk, Controls, Economy, StreamRequest
from rollcast.models.past_calls import DECODER_LATENTS
from rollcast.models.pipeline.stage_plan import StagePlan
from rollcast.models.registry import load_model
from rollcast.models.staged_model import all_calls, decode_chunk
from rollcast.models.wan.stream.decoders import DecoderName, DecoderTurn
from rollcast.models.wan.stream.model import WanModel, rgb_levels
from rollcast.models.wan.stream.plan_parts import decoders_of
from rollcast.models.wan.stream.stream_state import WanState
from rollcast.models.wan.tiny_decoder import TinyDecoder
from rollcast.models.wan.vae_files import Decoder

from ..conftest import PROMPTS, SIZE, FolderOf
from ..running import REQUEST, beside, frames, through_a_kill
from ..test_tiny_decoder import CONFIG, tiny_decoder

NAME = "longlive"
TINY = Controls(economy=Economy(tiny_decoder=True))
LOG = [Controls(), Controls(), TINY, TINY, TINY, TINY, *(Controls() for _ in range(4))]
"""The tiny one takes over behind two chunks of 3 latents beside the VAE's, and so does that."""
BOTH: tuple[tuple[DecoderName, ...], ...] = (("vae", "tiny"), ("tiny", "vae"))
VAE: tuple[DecoderName, ...] = ("vae",)
ONLY_TINY: tuple[DecoderName, ...] = ("tiny",)
USED = [VAE, VAE, BOTH[0], BOTH[0], ONLY_TINY, ONLY_TINY, BOTH[1], BOTH[1], VAE, VAE]


def used(
    wanted: str, frames: int, *, restart_at: int = 0, turn: DecoderTurn | None = None
) -> list[tuple[DecoderName, ...]]:
    """Of chunks of so many latents, each letter of `wanted` one: v or t."""
    turn = turn or DecoderTurn()
    return [
        turn.next("tiny" if each == "t" else "vae", frames, restart=k == restart_at)
        for k, each in enumerate(wanted)
    ]


def test_one_takes_over_when_it_has_seen_enough() -> None:
    assert used("vvttttvvvv", 3) == USED
    both = [each == BOTH[0] for each in used("v" + "t" * 12, 1)]
    assert both == [False] + [True] * DECODER_LATENTS + [False] * 6


def test_who_is_not_wanted_any_more_begins_again() -> None:
    both = BOTH[0]
    assert used("vtvttt", 3) == [VAE, both, VAE, both, both, ONLY_TINY]
    assert used("vttvtt", 3) == [VAE, both, both, VAE, both, both]


def test_a_stream_that_starts_anew_starts_with_whom_it_wants() -> None:
    assert used("ttv", 3) == [ONLY_TINY, ONLY_TINY, BOTH[1]]
    assert used("vvtt", 3, restart_at=3)[2:] == [BOTH[0], ONLY_TINY]
    going = DecoderTurn("tiny", 3)
    assert used("v", 3, turn=going) == [VAE] and going == DecoderTurn()


@dataclass(frozen=True)
class Made:
    """A stream as it was made, and its whole and its small snapshot behind every chunk."""

    model: WanModel
    chunks: list[Chunk]
    latents: list[Tensor]
    used: list[tuple[str, ...]]
    whole: list[bytes]
    small: list[bytes]


@pytest.fixture(scope="module")
def tiny_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of weights that look at the past, and show it within what can be shown."""
    weights = tiny_decoder(CONFIG).state_dict()
    weights["decoder.22.weight"] *= 0.2
    weights["decoder.22.bias"].fill_(0.5)
    file = tmp_path_factory.mktemp("tiny") / "taew.pth"
    torch.save(weights, file)
    return file


@pytest.fixture(scope="module")
def made(folder_of: FolderOf, tiny_file: Path) -> Made:
    model = loaded(folder_of, tiny_file)
    state = model.start(REQUEST)
    it = Made(model, [], [], [], [], [])
    for controls in LOG:
        plan = model.prepare(state, controls)
        it.latents.extend(all_calls(model, [(plan, state.caches)]))
        chunk = decode_chunk(model, plan, it.latents[-1], state.decoder)
        assert chunk is not None
        it.chunks.append(chunk)
        it.used.append(tuple(decoders_of(plan)))
        it.whole.append(model.snapshot(state))
        it.small.append(model.small_snapshot(state))
    return it


def loaded(folder_of: FolderOf, tiny: Path | None, **more: Any) -> WanModel:
    model = load_model(
        NAME,
        threads=1,
        weights=[str(folder_of(NAME))],
        size=SIZE,
        tiny_decoder=None if tiny is None else str(tiny),
        **more,
    )
    assert isinstance(model, WanModel)
    return model


def alone(decoder: Decoder, latents: list[Tensor]) -> np.ndarray:
    """What a decoder shows of a stream that begins with these latents."""
    with torch.inference_mode():
        return rgb_levels(decoder.decode(torch.cat(latents, dim=1), {})[0]).numpy()


def tiny_of(model: WanModel) -> Decoder:
    return model._decoders._named["tiny"]


def apart(one: np.ndarray, other: np.ndarray) -> int:
    """A decoder in pieces adds in another order: at an edge between two levels, by one."""
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other).max())


@pytest.mark.slow
def test_chunks_keep_their_frames_and_are_as_of_one_that_saw_the_past(made: Made) -> None:
    assert made.model.info.economy.tiny_decoder and made.used == USED
    assert [len(chunk.frames) for chunk in made.chunks] == [9] + [12] * (len(LOG) - 1)
    vae, tiny = made.model._decoder, tiny_of(made.model)
    assert isinstance(tiny, TinyDecoder)
    assert apart(frames(made.chunks[:4]), alone(vae, made.latents[:4])) <= 1
    # it began at chunk 2, whose frames and those of chunk 3 were not shown
    assert apart(frames(made.chunks[4:8]), alone(tiny, made.latents[2:8])[9 + 12 :]) <= 1
    assert apart(frames(made.chunks[8:]), alone(vae, made.latents[6:])[9 + 12 :]) <= 1
    # a control: without the past that it was shown it has other frames, and fewer
    cold = alone(tiny, made.latents[4:8])
    assert len(cold) == 4 * 12 - 3
    assert apart(cold[: 12 - 3], made.chunks[4].frames[3:]) > 10


def test_a_snapshot_knows_who_has_the_stream(made: Made) -> None:
    """Whole it goes on bit for bit wherever it is taken; small, it looks the same."""
    model = made.model
    for behind in (2, 3, 5, 7):
        again, small = model.restore(made.whole[behind]), model.restore(made.small[behind])
        for state in (again, small):
            turn = state.conditioning.decoder
            assert turn.shown == USED[behind][0]
            assert turn.seen == (0 if len(USED[behind]) == 1 else 3 * (1 + behind % 2))
        wanted = made.chunks[behind + 1]
        assert np.array_equal(model.step(again, LOG[behind + 1]).frames, wanted.frames)
        near = model.step(small, LOG[behind + 1]).frames
        assert rms(near, wanted.frames) < 0.2 * rms(made.chunks[behind].frames, wanted.frames)


def rms(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(np.mean((one.astype(float) - other) ** 2)))


def test_memory_is_that_of_those_who_are_used(made: Made) -> None:
    states = [made.model.restore(data) for data in made.whole]
    of = [names(state) for state in states]
    assert of[1] == of[9] == names_of(made, "vae") and of[5] == names_of(made, "tiny")
    assert of[2] == of[3] == of[6] == of[7] == of[1] | of[5]


def names(state: WanState) -> set[str]:
    return set(state.decoder.memory)


def names_of(made: Made, whose: str) -> set[str]:
    memory: dict[str, Tensor] = {}
    decoder = made.model._decoder if whose == "vae" else tiny_of(made.model)
    with torch.inference_mode():
        decoder.decode(made.latents[0], memory)
    return set(memory) if whose == "vae" else {f"tiny.{name}" for name in memory}


def test_a_model_without_one_is_as_it_was_and_takes_over_no_stream_of_one(
    made: Made, folder_of: FolderOf
) -> None:
    model = loaded(folder_of, None)
    assert not model.info.economy.tiny_decoder
    state = model.start(REQUEST)
    asked = [model.step(state, controls) for controls in LOG[:4]]
    assert np.array_equal(frames(asked), frames(made.chunks[:4]))
    with pytest.raises(ValueError, match=r"a tiny decoder shows this stream: .* --tiny-decoder"):
        model.restore(made.whole[5])
    # what has not been taken over yet stays where it is
    assert len(model.step(model.restore(made.whole[3]), LOG[4]).frames) == 12


@pytest.mark.long
def test_streams_of_one_batch_have_each_their_own(made: Made) -> None:
    other = StreamRequest(seed=2, prompt=PROMPTS[0])
    log, plain = LOG[:6], [Controls()] * 6
    mine, theirs = (beside(made.model, log, other, each) for each in (plain, LOG[1:7]))
    assert np.array_equal(mine, theirs)
    assert not np.array_equal(mine[-12:], beside(made.model, plain, other, plain)[-12:])


@pytest.mark.long
@pytest.mark.processes
@pytest.mark.parametrize("killed", [0, 1], ids=["the student's stage", "the decoder's"])
def test_a_stage_that_is_lost_is_a_pause(
    killed: int, made: Made, folder_of: FolderOf, tiny_file: Path
) -> None:
    """[student | decoder], while the tiny one is about to take over, bit for bit."""
    calls = tuple(range(len(made.model.chunk_steps.calls)))
    chunks = through_a_kill(
        NAME,
        folder_of(NAME),
        LOG[:6],
        killed=killed,
        plan=StagePlan((calls, ()), 1),
        tiny_decoder=tiny_file,
    )
    assert np.array_equal(frames(chunks), frames(made.chunks[:6]))


def test_files_that_are_no_choice_are_refused(folder_of: FolderOf, tiny_file: Path) -> None:
    with pytest.raises(ValueError, match="--decoder is a tiny one already: leave --tiny-decoder"):
        loaded(folder_of, tiny_file, decoder=str(tiny_file))
    vae = next(folder_of(NAME).rglob("Wan2.1_VAE*"))
    with pytest.raises(ValueError, match="--tiny-decoder is the decoder of a VAE; name one in"):
        loaded(folder_of, vae)
