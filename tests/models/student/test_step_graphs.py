"""Replayed calls against calls as they come, bit for bit, and that a key says all of a call."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

pytest.importorskip("triton")

from rollcast.benchmarks.kernels.chunk_operations import HALF, HOPPER, MetaStream
from rollcast.benchmarks.kernels.operation_count import counted
from rollcast.kernels.launch import Launch, watch_launches
from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.student.conditioning import TextContext
from rollcast.models.student.config import CacheConfig, StudentConfig
from rollcast.models.student.step_graphs import (
    MOST_GRAPHS,
    StepGraphs,
    StepInputs,
    Work,
    taken_apart,
    why_without,
)
from rollcast.models.student.student_cache import StudentCache
from rollcast.models.wan.number_types import NumberTypes, settle_all
from rollcast.models.wan.presets.catalogue import preset_named, presets

from ...variants import some_of
from .tape import Tape

SHAPE = StudentConfig(
    dim=24, ffn_dim=40, num_heads=2, num_layers=2, in_channels=3, out_channels=3, text_dim=8,
    text_len=4,
)  # fmt: skip
REWARD = CacheConfig(window_frames=4, sink_frames=2, sink="ema", alpha=0.5)
KINDS = {
    "EMA sink": (replace(SHAPE, rope="slot"), REWARD),
    "EMA sink as published": (
        replace(SHAPE, rope="slot"), replace(REWARD, precision="in_place", ragged="overwrite"),
    ),
    "static sink": (SHAPE, CacheConfig(window_frames=6, sink_frames=2)),
    "bounded sink": (SHAPE, CacheConfig(window_frames=4, sink_frames=2, bounded_sink=True)),
    "top aligned": (
        replace(SHAPE, rope="top_aligned", trained_frames=9),
        CacheConfig(window_frames=4, sink_frames=2),
    ),
}  # fmt: skip
TIMES = (1000.0, 500.0, 500.0, 0.0)
FRAMES = 2


EIGHT_BITS = NumberTypes(torch.float32, "fp8-dynamic", "int8")
"""Products of float8 values, and scores of int8 ones."""


def student_of(shape: StudentConfig, types: NumberTypes | None = None) -> CausalStudent:
    torch.manual_seed(0)
    student = CausalStudent(shape).eval().requires_grad_(False)
    for parameter in student.parameters():
        nn.init.normal_(parameter, std=0.3)
    if types is not None:
        settle_all(student, types)
    student.pack()
    return student


def text(student: CausalStudent, seed: int = 0) -> TextContext:
    drawn = torch.Generator().manual_seed(seed)
    return student.encode_text(torch.randn(1, 3, SHAPE.text_dim, generator=drawn))


class Stream:
    """Chunks of a stream by `forward_rows`, each call with latents of its own."""

    def __init__(self, student: CausalStudent, cache: CacheConfig, *, size: int = 4) -> None:
        self._student, self._size = student, size
        self.cache = student.new_cache(cache, height=size, width=6)

    def chunk(self, context: TextContext) -> list[Tensor]:
        made: list[Tensor] = []
        for k, time in enumerate(TIMES):
            drawn = torch.Generator().manual_seed(self.cache.position * len(TIMES) + k)
            latents = torch.randn(1, FRAMES, 3, self._size, 6, generator=drawn)
            times = torch.full((1, FRAMES), time)
            made.append(self._student.forward_rows(latents, times, [context], [self.cache]))
        self.cache.advance(FRAMES)
        return made


def both(
    kind: str, types: NumberTypes | None = None
) -> tuple[CausalStudent, CausalStudent, CacheConfig, StepGraphs]:
    """The same student without and with graphs."""
    shape, cache = KINDS[kind]
    plain, recorded = (student_of(shape, types) for _ in range(2))
    graphs = recorded.graphs = StepGraphs(Tape)
    return plain, recorded, cache, graphs


def assert_same(made: Sequence[Tensor], wanted: Sequence[Tensor]) -> None:
    assert len(made) == len(wanted)
    for one, other in zip(made, wanted, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("kind", KINDS)
def test_replays_are_the_calls_bit_for_bit(kind: str) -> None:
    """Through new prompts, a reset and a snapshot; nothing is captured twice."""
    assert_replays(*both(kind))


@pytest.mark.slow
@pytest.mark.parametrize("kind", some_of(["EMA sink", "top aligned"], "top aligned"))
def test_replays_in_eight_bits_are_the_calls_bit_for_bit(kind: str) -> None:
    """What quantises tokens and scores as they come is recorded with the rest."""
    exact, *_ = both(kind)
    plain, recorded, config, graphs = both(kind, EIGHT_BITS)
    others = (Stream(exact, config), Stream(plain, config))
    made = [stream.chunk(text(exact)) for stream in others]
    assert not any(torch.equal(one, other) for one, other in zip(*made, strict=True))
    assert_replays(plain, recorded, config, graphs)


def assert_replays(
    plain: CausalStudent, recorded: CausalStudent, config: CacheConfig, graphs: StepGraphs
) -> None:
    """Against `plain`, `recorded` makes a stream's chunks by `graphs`."""
    texts = [[text(student, seed) for seed in range(2)] for student in (plain, recorded)]
    one, other = Stream(plain, config), Stream(recorded, config)
    captured = 0
    for chunk in range(16):
        if chunk == 11:
            one.cache.reset()
            other.cache.reset()
        if chunk == 9:
            # a snapshot, taken over by the same cache after another chunk
            saved = {name: kept.clone() for name, kept in other.cache.tensors().items()}
            place = other.cache.metadata()
            other.chunk(texts[1][0])
            other.cache.load(saved, place)
        prompt = chunk // 3 % 2
        assert_same(other.chunk(texts[1][prompt]), one.chunk(texts[0][prompt]))
        if chunk == 7:
            captured = graphs.counts["captured"]
            assert captured
    assert graphs.counts["captured"] == captured
    assert graphs.counts["replayed"] > 20 and not graphs.counts["enough"]
    kept = other.cache.tensors()
    assert all(torch.equal(kept[name], each) for name, each in one.cache.tensors().items())


@pytest.mark.slow
def test_streams_share_buffers_and_batches_come_as_they_are() -> None:
    """Two streams in turn, a batch of both, and a stream of another size."""
    plain, recorded, config, graphs = both("EMA sink")
    texts = [[text(student, seed) for seed in range(2)] for student in (plain, recorded)]
    made: list[list[Tensor]] = []
    for student, prompts in zip((plain, recorded), texts, strict=True):
        streams = [
            Stream(student, config),
            Stream(student, config),
            Stream(student, config, size=8),
        ]
        all_made: list[Tensor] = []
        for _ in range(7):
            for k, stream in enumerate(streams):
                all_made += stream.chunk(prompts[k % 2])
        caches = [stream.cache for stream in streams[:2]]
        latents, times = torch.ones(2, FRAMES, 3, 4, 6), torch.full((2, FRAMES), 500.0)
        all_made.append(student.forward_rows(latents, times, prompts, caches))
        for cache in caches:
            cache.advance(FRAMES)
        for stream in streams:
            all_made += stream.chunk(prompts[0])
        made.append(all_made)
    assert_same(made[1], made[0])
    assert graphs.counts["batch"] == 1
    # two halves of the window, the first call and the others, of each stream
    assert graphs.counts["captured"] == 3 * 4


def test_graphs_end_with_their_stream() -> None:
    _, recorded, config, graphs = both("EMA sink")
    context, stream = text(recorded), Stream(recorded, config)
    for _ in range(7):
        stream.chunk(context)
    assert len(graphs) == 4
    del stream
    assert len(graphs) == 0


def test_what_cannot_be_captured_runs_as_ever() -> None:
    class Broken(Tape):
        def capture(self, work: Callable[[], None]) -> None:
            raise RuntimeError("operation not permitted when stream is capturing")

    plain, recorded, config, _ = both("EMA sink")
    graphs = recorded.graphs = StepGraphs(Broken)
    one, other = Stream(plain, config), Stream(recorded, config)
    with pytest.warns(UserWarning, match="not permitted when stream is capturing"):
        for _ in range(7):
            assert_same(other.chunk(text(recorded)), one.chunk(text(plain)))
    assert graphs.counts["off"] and not graphs.counts["captured"]


class Trace(TorchDispatchMode):
    """Every operation with all its numbers, and its tensors by where they come from.

    A tensor is one of the call's inputs, something that was there before, or the n-th that the call
    made.
    """

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._kept = list(inputs)
        self._names = {self._place(each): f"in{k}" for k, each in enumerate(inputs)}
        self._made = 0

    def note(self, launch: Launch) -> None:
        told = {name: self._seen(value) for name, value in launch.arguments.items()}
        self.lines.append(f"{launch.kernel.__name__}{launch.grid} {told} {launch.options}")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        told = tree_map(self._seen, (args, kwargs or {}))
        given = {self._place(each) for each in self._tensors((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for each in self._tensors(result):
            if self._place(each) not in given:
                self._names[self._place(each)] = f"made{self._made}"
                self._made += 1
                # or its memory would be that of another one later
                self._kept.append(each)
        self.lines.append(f"{func} {told}")
        return result

    def _seen(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        assert value.is_meta, "nothing is uploaded inside of a call"
        name = self._names.get(self._place(value), f"before {self._place(value)}")
        return f"{name}+{value.storage_offset()} {list(value.shape)} {value.stride()} {value.dtype}"

    @staticmethod
    def _place(tensor: Tensor) -> int:
        return tensor.untyped_storage()._cdata

    @staticmethod
    def _tensors(values: Any) -> Iterator[Tensor]:
        return (leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor))


class Compared(StepGraphs):
    """Runs every call as ever, and compares it to the call before that had its key."""

    def __init__(self) -> None:
        super().__init__(Tape)
        self.traces: dict[Any, list[str]] = {}
        self.compared = 0
        self.new_keys = 0

    def run(self, work: Work, inputs: StepInputs, caches: Sequence[StudentCache]) -> Tensor:
        (cache,) = caches
        if not cache.comes_round:
            return work(inputs)
        key, tensors = taken_apart(inputs)
        trace = Trace(tensors)
        with trace, watch_launches(trace.note):
            made = work(inputs)
        key = id(cache), key
        if key in self.traces:
            assert trace.lines == self.traces[key]
            self.compared += 1
        else:
            self.traces[key] = trace.lines
            self.new_keys += 1
        return made


def steady(name: str, rounds: int, types: NumberTypes = HALF) -> tuple[Compared, int]:
    """A preset's stream on `meta` for so many rounds of its window; new keys of the last one."""
    preset = preset_named(name)
    stream = MetaStream(preset, layers=1, types=types)
    graphs = stream.student.graphs = Compared()
    chunk, window = preset.recipe.chunk_frames, preset.cache.window_frames
    filled = -(-preset.cache.capacity_frames // chunk)
    in_round = math.lcm(window, chunk) // chunk
    before = 0
    with counted(HOPPER):
        context = stream.context()
        for k in range(filled + (rounds + 1) * in_round):
            if k == filled + rounds * in_round:
                before = graphs.new_keys
            stream.make_chunk(context)
    return graphs, graphs.new_keys - before


RECORDED = [
    name
    for name, preset in presets().items()
    if why_without(preset.cache, joint=preset.recipe.sampler == "joint") is None
]


def different(names: Sequence[str]) -> list[str]:
    """One name of each kind of call."""
    found: dict[object, str] = {}
    for name in names:
        preset = preset_named(name)
        found.setdefault((preset.student, preset.cache, preset.recipe.chunk_frames), name)
    return list(found.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    some_of(different(RECORDED), "live-avatar", "reward-forcing"),
)
def test_a_key_says_all_of_a_call(name: str) -> None:
    """Calls with one key are the same operations on the same memory with the same numbers.

    After a round of the window every key is known.
    """
    graphs, new_later = steady(name, 1)
    assert graphs.compared and not new_later
    assert graphs.new_keys <= MOST_GRAPHS


def test_a_preset_says_why_it_has_no_graphs() -> None:
    left_out = {
        name: why_without(preset.cache, joint=preset.recipe.sampler == "joint")
        for name, preset in presets().items()
        if name not in RECORDED
    }
    assert set(left_out) == {"stream-diffusion-v2", "stream-diffusion-v2-14b", "rolling-forcing"}


@pytest.mark.slow
def test_reward_forcing_has_four_graphs() -> None:
    assert steady("reward-forcing", 2)[0].new_keys == 4


def test_eight_bits_make_no_further_graphs() -> None:
    """Products of float8 values and int8 scores at once, as a GPU would launch them."""
    graphs, new_later = steady("reward-forcing", 1, replace(EIGHT_BITS, dtype=torch.bfloat16))
    assert graphs.compared and not new_later and graphs.new_keys == 4
    told = "".join(line for lines in graphs.traces.values() for line in lines)
    assert "int8_attention" in told and "_scaled_mm" in told


@pytest.mark.long
@pytest.mark.slow
def test_torch_compile_sees_no_break_and_no_time() -> None:
    """A call is one graph for it, and one graph serves every chunk of a phase of the ring."""
    shape, config = KINDS["EMA sink"]
    student = student_of(replace(shape, num_layers=1))
    cache, context = student.new_cache(config, height=4, width=6), text(student)
    made = 0

    def counting(module: Any, _: Any) -> Any:
        nonlocal made
        made += 1
        return module

    step = torch.compile(student.step, backend=counting, fullgraph=True)
    after_two_rounds = 0
    with torch.no_grad():
        for chunk in range(14):
            for time in TIMES[:2]:
                times = torch.full((1, FRAMES), time)
                latents = torch.zeros(1, FRAMES, 3, 4, 6)
                step(student.told(latents, times, [context], [cache]), [cache])
            cache.advance(FRAMES)
            if chunk == 6:
                after_two_rounds = made
    assert made == after_two_rounds <= 8
