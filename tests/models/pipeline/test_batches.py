"""A stage makes chunks of several streams as one batch: what comes out, and what if one fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from rollcast.models.batch_shape import batch_shape, places_do_not_matter
from rollcast.models.contract import Controls, StreamRequest
from rollcast.models.pipeline.messages import Refused, Working
from rollcast.models.pipeline.stage_plan import StagePlan
from rollcast.models.sampling.batches import call_rows
from rollcast.models.staged_model import ChunkPlan, Row, step_as_row
from rollcast.models.student.cache_pool import CachePool
from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.student.student_cache import StudentCache

from .one_stage import OneStage
from .tiny_causal import STUDENT, TinyCausal, _filled

ALONE = StagePlan((tuple(range(5)),), 0)
# float32 sums of a few hundred products in another order
CLOSE = 1.5e-6
WIDE = replace(STUDENT, dim=64, ffn_dim=96, freq_dim=64)


class Pooled(TinyCausal):
    """A model that makes batches; `refused` is the words of which no step can be made."""

    batches = True

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.student = _filled(CausalStudent(WIDE), 0.15)
        assert places_do_not_matter(WIDE)
        self.pool = CachePool()
        self.sizes: list[int] = []
        self.refused: Tensor | None = None

    def new_cache(self) -> StudentCache:
        return self.pool.seat(super().new_cache())

    @torch.inference_mode()
    def denoise(self, rows: Sequence[Row], *, fill: int = 1) -> list[Tensor]:
        self.sizes.append(max(fill, len(rows)))
        made = call_rows(self.student, [self._row(row) for row in rows], fill=fill)
        if rows[0].call == 2 and self.refused is not None:
            for row in rows:
                if torch.equal(row.plan.tensors["words"], self.refused):
                    raise ValueError("these words have no meaning")
        return made


def running() -> OneStage[Pooled]:
    return OneStage(Pooled(), ALONE)


@pytest.fixture
def inference() -> Iterator[None]:
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("inference")
def test_a_batch_is_what_its_rows_are_alone() -> None:
    """Streams of any age and in any place of their rings, with prompts and new starts between."""
    together, alone, names = running(), running(), "abcde"
    together.open(*names)
    alone.open(*names)
    worst, rows = 0.0, list[int]()
    for chunk in range(9):
        told = dict.fromkeys(names, Controls())
        told["b"] = Controls(prompt=f"word {chunk % 2}")
        if chunk == 4:
            told["c"] = Controls(reset=True)
        rows += [done.rows for done in together.batch(told)]
        for name, controls in told.items():
            alone.alone(name, controls)
        ones, others = ([latents for latents, _ in r.model.kept[-5:]] for r in (together, alone))
        worst = max(worst, *_apart(ones, others))
    assert worst < CLOSE
    assert rows[:5] == [1] * 5 and rows[-5:] in ([5] * 5, [4, 4, 4, 4, 1], [1, 4, 4, 4, 4])


def _apart(ones: list[Tensor], others: list[Tensor]) -> list[float]:
    """How far each is from the one of the others that is nearest."""
    scale = max(float(each.abs().max()) for each in others)
    return [min(float((a - b).abs().max()) for b in others) / scale for a in ones]


@pytest.mark.usefixtures("inference")
@pytest.mark.parametrize("size", [2, 3])
def test_bits_depend_on_how_many_rows_there_are_and_on_nothing_else(size: int) -> None:
    """In a batch, at another place of one with others, and alone filled up with copies."""
    latents: list[Tensor] = []
    for names in ("a" + "xyz"[: size - 1], "vwu"[: size - 1] + "a"):
        stage = running()
        stage.open(*names)
        for _ in range(3):
            stage.batch(dict.fromkeys(names, Controls()))
        latents.append(stage.model.kept[-size:][names.index("a")][0])
    lone = running()
    lone.open("a")
    lone.alone("a", Controls())
    for _ in range(2):
        assert lone.alone("a", Controls(), rows=size).rows == size
    latents.append(lone.model.kept[-1][0])
    assert all(torch.equal(each, latents[0]) for each in latents)


@pytest.mark.usefixtures("inference")
def test_who_replays_makes_the_same_frames() -> None:
    stage, model = running(), Pooled()
    stage.open("a", "b")
    state = model.start(StreamRequest(seed=ord("a"), prompt="a"))
    for _ in range(4):
        told = stage.batch({"a": Controls(), "b": Controls()})
        done = next(each for each in told if each.stream == "a")
        again = step_as_row(model, state, Controls(), done.rows)
        assert done.chunk is not None and done.chunk.frames is not None
        assert np.array_equal(done.chunk.frames, again.frames)
    assert model.sizes[-1] == 2


@pytest.mark.usefixtures("inference")
def test_a_row_that_fails_is_refused_and_no_other_one_is_lost() -> None:
    stage, quiet = running(), running()
    stage.open(*"abc")
    quiet.open(*"ac")
    for _ in range(2):
        stage.batch(dict.fromkeys("abc", Controls()))
        quiet.batch(dict.fromkeys("ac", Controls()))
    stage.model.refused = stage.streams["b"].state.conditioning.words
    done = stage.batch(dict.fromkeys("abc", Controls()))
    assert [(each.stream, each.rows) for each in done] == [("a", 1), ("c", 1)]
    refused = [each for each in stage.heart.sent if isinstance(each, Refused)]
    assert [each.stream for each in refused] == ["b"]
    # made again from the beginning of the chunk: nothing of the batch is left in their caches
    expected = [quiet.alone(name, Controls()) for name in "ac"]
    for made, wanted in zip(done, expected, strict=True):
        assert made.chunk is not None and wanted.chunk is not None
        assert made.chunk.frames is not None and wanted.chunk.frames is not None
        # the chunks before were of batches of 3 and of 2
        difference = np.abs(made.chunk.frames.astype(int) - wanted.chunk.frames)
        assert difference.max() <= 1


@pytest.mark.usefixtures("inference")
def test_of_a_batch_that_dies_nobody_is_to_blame() -> None:
    stage = running()
    stage.open("a", "b")
    stage.batch(dict.fromkeys("ab", Controls()))
    blamed: list[Working] = []

    def denoise(rows: Sequence[Row], *, fill: int = 1) -> list[Tensor]:
        del fill
        blamed.append(stage.heart.working)
        return Pooled.denoise(stage.model, rows)

    stage.model.denoise = denoise
    stage.batch(dict.fromkeys("ab", Controls()))
    assert blamed[0] == Working()


def test_a_chunk_that_begins_anew_is_made_alone() -> None:
    cache = Pooled().new_cache()
    words = {"words": torch.zeros(3)}
    assert batch_shape(ChunkPlan(0, 1, True, {}, words), [cache]) is None
    assert batch_shape(ChunkPlan(1, 1, False, {}, words), []) is None
    shape = batch_shape(ChunkPlan(1, 1, False, {}, words), [cache])
    assert shape == batch_shape(ChunkPlan(7, 2, False, {}, words), [Pooled().new_cache()])
    assert shape != batch_shape(ChunkPlan(1, 1, False, {}, {"words": torch.zeros(4)}), [cache])
