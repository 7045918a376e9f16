"""Rolling Forcing: what each call attends to, against lists of frames; levels, noise, state."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from rollcast.kernels.dense_attention.reference import attention_ref
from rollcast.models.sampling.flow_schedule import FlowSchedule
from rollcast.models.sampling.joint_window import JointWindow, roll_window
from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.student.config import CacheConfig
from rollcast.models.student.kv_cache import KVCache
from rollcast.models.student.rope import RopeTable, rotate
from rollcast.models.student.student_cache import StudentCache

StudentMaker = Callable[..., CausalStudent]
HEADS, DIM, ROWS, COLUMNS = 2, 12, 1, 2
TOKENS = ROWS * COLUMNS
ROPE = RopeTable(DIM, ROWS, COLUMNS)
SCHEDULE = FlowSchedule()
Frames = list[tuple[int, Tensor, Tensor]]


def turned(frame: int, key: Tensor) -> Tensor:
    return rotate(key, ROPE.rotations([frame]))


class Published:
    """The published cache of one layer: frame, raw key and value, in lists."""

    def __init__(self, block: int, capacity: int, reach: int) -> None:
        self.block, self.capacity, self.reach = block, capacity, reach
        self.anchor: Frames = []
        self.others: Frames = []

    def joint(self, start: int, frames: Frames) -> tuple[list[Tensor], list[Tensor]]:
        """Keys and values that a window beginning with frame `start` attends to."""
        own = [turned(frame, key) for frame, key, _ in frames], [value for *_, value in frames]
        if start == 0:
            return own
        room = self.reach - len(frames) - self.block
        working = self.others[len(self.others) - min(room, len(self.others)) :]
        first = start - len(working) - self.block
        keys = [turned(first + place, key) for place, (_, key, _) in enumerate(self.anchor)]
        keys += [turned(frame, key) for frame, key, _ in working]
        values = [value for *_, value in (*self.anchor, *working)]
        return keys + own[0], values + own[1]

    def clean(self, frames: Frames) -> tuple[list[Tensor], list[Tensor]]:
        """Those that a clean block attends to, which it is stored among."""
        if frames[0][0] == 0:
            self.anchor = frames
        else:
            self.others += frames
            del self.others[: max(0, len(self.others) + self.block - self.capacity)]
        held = [*self.anchor, *self.others][-self.reach :]
        # The anchor's own frames are the first ones.
        return [turned(frame, key) for frame, key, _ in held], [value for *_, value in held]


@pytest.mark.parametrize(
    ("block", "steps", "capacity", "reach"),
    [(3, 5, 24, 21), (3, 3, 24, 21), (1, 4, 8, 7), (2, 2, 12, 10), (2, 3, 10, 10), (3, 1, 9, 6)],
)
def test_attention_equals_lists_of_frames(
    block: int, steps: int, capacity: int, reach: int
) -> None:
    torch.manual_seed(0)
    config = CacheConfig(
        window_frames=capacity - block, sink_frames=block, bounded_sink=True, reach_frames=reach
    )
    layers = [KVCache(config, 1, HEADS, TOKENS, DIM, dtype=torch.float64)]
    cache = StudentCache(config, layers, ROPE, "absolute")
    cache.poison()
    plain = Published(block, capacity, reach)

    def call(frames: int, *, store: bool) -> tuple[Tensor, Tensor, Frames]:
        query, key, value = torch.randn(3, 1, HEADS, frames * TOKENS, DIM).double().unbind(0)
        opened = cache.begin(frames, store=store)
        keys, values = layers[0].update(opened, key, value)
        assert opened.query is not None
        made = attention_ref(rotate(query, opened.query), keys, values)
        numbers = range(cache.position, cache.position + frames)
        parts = zip(numbers, key.split(TOKENS, 2), value.split(TOKENS, 2), strict=True)
        return query, made, list(parts)

    for window in range(3 * capacity // block):
        start = max(0, window - steps + 1) * block
        assert cache.position == start
        blocks = min(window + 1, steps)
        for store in (False, True):
            query, made, frames = call(block if store else blocks * block, store=store)
            seen = plain.clean(frames) if store else plain.joint(start, frames)
            rotated = rotate(query, ROPE.rotations([frame for frame, *_ in frames]))
            wanted = attention_ref(rotated, torch.cat(seen[0], 2), torch.cat(seen[1], 2))
            torch.testing.assert_close(made, wanted, atol=2e-6, rtol=1e-5)
            if store and window < steps:
                plain.others.clear()
        if window >= steps - 1:
            cache.advance(block)


class Recorder:
    """Stands in for a student, writes its calls down and predicts what it is asked to."""

    def __init__(self, student: CausalStudent) -> None:
        self.student, self.config = student, student.config
        self.times: list[list[float]] = []
        self.latents: list[Tensor] = []

    def __call__(self, latents: Tensor, times: Tensor, *rest: Any, **more: Any) -> Tensor:
        self.times.append(times[0].tolist())
        self.latents.append(latents)
        return self.student(latents, times, *rest, **more)

    def forward_rows(self, latents: Tensor, times: Tensor, *rest: Any) -> Tensor:
        self.times.append(times[0].tolist())
        self.latents.append(latents)
        return self.student.forward_rows(latents, times, *rest)


CONFIG = CacheConfig(window_frames=8, sink_frames=2, bounded_sink=True, reach_frames=10)
STEPS = (1000.0, 800.0, 400.0)


def rolled(
    student: Any, blocks: int, window: JointWindow | None = None, *, tail: bool = True
) -> Iterator[Tensor | None]:
    """What leaves the window, call by call."""
    context = student.student.encode_text(torch.ones(1, 5, 10))
    cache = student.student.new_cache(CONFIG, height=4, width=4)
    window = JointWindow() if window is None else window
    torch.manual_seed(9)
    fresh: list[Tensor | None] = list(torch.randn(blocks, 1, 2, 4, 4, 4).unbind(0))
    for noise in fresh + [None] * (len(STEPS) - 1 if tail else 0):
        yield roll_window(
            student, cache, window, noise, STEPS, context, block_frames=2, schedule=SCHEDULE
        )


def test_blocks_go_down_together(make_student: StudentMaker) -> None:
    student = Recorder(make_student())
    made = list(rolled(student, 4))
    assert [block is None for block in made] == [True, True, False, False, False, False]
    joint = [[1000.0], [800.0, 1000.0], [400.0, 800.0, 1000.0]]
    joint += [joint[-1], [400.0, 800.0], [400.0]]
    wanted: list[list[float]] = []
    for levels in joint:
        wanted += [[level for level in levels for _ in range(2)], [0.0, 0.0]]
    assert student.times == wanted
    # What leaves is what was passed clean.
    for call, block in enumerate(made):
        if block is not None:
            assert torch.equal(student.latents[2 * call + 1], block)


def test_noise_is_drawn_for_the_whole_window_by_every_block(make_student: StudentMaker) -> None:
    """As published: a fresh draw for each block that stays, of which it uses its own part."""
    student = make_student(prediction="sample", num_layers=1)
    for parameter in student.head.head.parameters():
        parameter.zero_()
    context = student.encode_text(torch.ones(1, 5, 10))
    cache = student.new_cache(CONFIG, height=4, width=4)
    window, drawn = JointWindow(), []

    def renoise(like: Tensor) -> Tensor:
        drawn.append(torch.full_like(like, len(drawn) + 1.0))
        return drawn[-1]

    for _ in range(3):
        roll_window(
            student, cache, window, torch.randn(1, 2, 4, 4, 4), STEPS, context,
            block_frames=2, schedule=SCHEDULE, renoise=renoise,
        )  # fmt: skip
    assert [noise.shape[1] for noise in drawn] == [2, 4, 4, 6, 6]
    assert window.levels == (2, 1) and window.latents is not None
    # x0 is nothing here: what remains is the draw that a block got, at its noise level.
    wanted = [4 * SCHEDULE.sigma(400.0)] * 2 + [5 * SCHEDULE.sigma(800.0)] * 2
    torch.testing.assert_close(window.latents[0, :, 0, 0, 0], torch.tensor(wanted))


def test_an_interrupted_stream_goes_on_alike(make_student: StudentMaker) -> None:
    """Cache, window and generator are all that it is."""
    student = make_student()
    context = student.encode_text(torch.ones(1, 5, 10))
    outputs: list[list[Tensor]] = []
    for cut in (None, 1, 4):
        cache, window = student.new_cache(CONFIG, height=4, width=4), JointWindow()
        torch.manual_seed(4)
        made: list[Tensor] = []
        for call in range(7):
            if call == cut:
                plain = json.loads(json.dumps([cache.metadata(), window.metadata()]))
                tensors = {name: tensor.clone() for name, tensor in cache.tensors().items()}
                cache = student.new_cache(CONFIG, height=4, width=4)
                cache.load(tensors, plain[0])
                window = JointWindow.of(window.tensors(), plain[1])
            block = roll_window(
                student, cache, window, torch.randn(1, 2, 4, 4, 4), STEPS, context,
                block_frames=2, schedule=SCHEDULE,
            )  # fmt: skip
            made += [] if block is None else [block]
        outputs.append(made)
    for other in outputs[1:]:
        assert all(torch.equal(*pair) for pair in zip(outputs[0], other, strict=True))


def test_misuse_is_told(make_student: StudentMaker) -> None:
    student = make_student()
    context = student.encode_text(torch.ones(1, 5, 10))
    cache = student.new_cache(CONFIG, height=4, width=4)

    def roll(noise: Tensor | None, cache: StudentCache = cache) -> None:
        roll_window(
            student, cache, JointWindow(), noise, STEPS, context, block_frames=2, schedule=SCHEDULE
        )

    with pytest.raises(ValueError, match="window is empty"):
        roll(None)
    with pytest.raises(ValueError, match="noise of 3 frames for a block of 2"):
        roll(torch.randn(1, 3, 4, 4, 4))
    other = student.new_cache(CacheConfig(window_frames=4), height=4, width=4)
    with pytest.raises(ValueError, match="reach_frames"):
        roll(torch.randn(1, 2, 4, 4, 4), other)
    for wrong in ({"reach_frames": 2}, {"reach_frames": 11}, {"bounded_sink": False}):
        fields = {
            "window_frames": 8, "sink_frames": 2, "bounded_sink": True, "reach_frames": 10
        } | wrong  # fmt: skip
        with pytest.raises(ValueError, match="reach_frames"):
            CacheConfig(**fields)  # pyright: ignore[reportArgumentType]
