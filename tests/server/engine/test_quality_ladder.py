"""What streams give up on a busy machine: a table of its rules, and simulated loads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from rollcast.models.contract import FULL, Economy, ModelInfo, ModelInputs
from rollcast.server.engine.quality_ladder import (
    CALM_S,
    CHANGE_S,
    QualityLadder,
    rungs_of,
)
from rollcast.server.engine.scheduler import LONGER

CHUNK_S = 0.16
LEAD_CHUNKS = 1.7


# a long simulation is not worth a shorter one that fails as well
PHASES = (Phase.explicit, Phase.generate)
BOTH = Economy(steps=1, frame_every=2)


def info(economy: Economy = BOTH) -> ModelInfo:
    return ModelInfo(
        name="m", title="M", width=64, height=64, fps=25, chunk_frames=4,
        inputs=ModelInputs(), economy=economy,
    )  # fmt: skip


def feed(
    ladder: QualityLadder, begin_s: float, end_s: float, margin_s: float, step_s: float = 0.1
) -> list[tuple[float, int]]:
    """A stream's chunks, each with this margin and time; when the level changed, and to what."""
    changes, now_s, next_s = [], begin_s, begin_s
    while now_s < end_s:
        if now_s >= next_s:
            ladder.made(margin_s, step_s, now_s)
            next_s += CHUNK_S
        if ladder.look(now_s) is not None:
            changes.append((round(now_s - begin_s, 1), ladder.level))
        now_s += 0.1
    return changes


@pytest.mark.parametrize(("width", "height", "share"), [(64, 64, 1.0), (832, 480, 0.75)])
def test_large_pictures_become_smaller_with_their_bits(
    width: int, height: int, share: float
) -> None:
    ladder = QualityLadder(replace(info(), width=width, height=height))
    shares: list[float] = []
    for ladder.level in range(4):
        shares.append(ladder.quality.size_share)
    assert shares == [1.0, 1.0, share, share]
    ladder.level = 2
    why = ladder.quality.why
    assert why is not None and ("smaller" in why) == (share < 1)


@pytest.mark.parametrize(
    ("economy", "rungs"),
    [
        (BOTH, ("lead", "bitrate", "steps", "half_rate", "park")),
        (Economy(steps=2), ("lead", "bitrate", "steps", "park")),
        (
            Economy(tiny_decoder=True, steps=2),
            ("lead", "bitrate", "tiny_decoder", "steps", "park"),
        ),
        (FULL, ("lead", "bitrate", "closed", "park")),
    ],
)
def test_a_model_gives_up_what_it_can(economy: Economy, rungs: tuple[str, ...]) -> None:
    assert rungs_of(info(economy)) == rungs


def test_each_level_says_what_it_takes_and_nobody_is_let_in_from_the_third() -> None:
    ladder, seen = QualityLadder(info()), []
    for level in range(len(ladder.rungs) + 1):
        ladder.level = level
        each = ladder.quality
        assert (each.level, bool(each.why)) == (level, level > 0)
        more = each.more_lead_chunks, each.bitrate_share, each.economy
        seen.append((*more, ladder.takes_new))
        assert ladder.parks == (level == len(ladder.rungs)), "the last thing of all"
    one = Economy(steps=1)
    assert seen == [
        (0.0, 1.0, FULL, True),
        (0.3, 1.0, FULL, True),
        (0.3, 0.6, FULL, True),
        (0.3, 0.6, one, False),
        (0.3, 0.6, BOTH, False),
        (0.3, 0.6, BOTH, False),
    ]


@pytest.mark.parametrize(
    ("margin_s", "when"),
    [(-0.02, None), (-0.015, 3.0), (0.01, 0.2)],
    ids=["in time", "tight for three seconds", "late"],
)
def test_a_rung_is_taken_when_chunks_are_late_or_tight(margin_s: float, when: float | None) -> None:
    changes = feed(QualityLadder(info()), 0.0, 4.0, margin_s)
    if when is None:
        assert changes == []
    else:
        assert changes[0] == (pytest.approx(when, abs=0.15), 1)


def test_one_late_chunk_is_none_and_levels_are_apart() -> None:
    ladder = QualityLadder(info())
    ladder.made(0.05, 0.1, 0.0)
    assert feed(ladder, 0.1, 20.0, -0.1) == []
    changes = feed(ladder, 20.0, 60.0, 0.05)
    assert [level for _, level in changes] == [1, 2, 3, 4, 5]
    times = [at for at, _ in changes]
    assert all(b - a >= CHANGE_S - 0.01 for a, b in pairwise(times))


@pytest.mark.parametrize(("every", "level"), [(16, 3), (3, 5)])
def test_a_few_late_chunks_are_less_than_half_of_the_frames(every: int, level: int) -> None:
    """One chunk of so many is late."""
    ladder, highest = QualityLadder(info()), 0
    for k in range(375):
        ladder.made(0.01 if k % every == 0 else -0.1, 0.1, k * CHUNK_S)
        ladder.look(k * CHUNK_S)
        highest = max(highest, ladder.level)
    assert highest == level


def test_what_was_late_while_the_server_stood_still_does_not_count() -> None:
    ladder = QualityLadder(info())
    for k in range(5):
        ladder.made(0.5, 0.1, 0.1 * k)
    ladder.excuse(0.5)
    assert feed(ladder, 0.5, 1.5, 0.5) == [], "they make up for what was missed"
    assert feed(ladder, 1.5, 20.0, -0.1) == []


def test_a_rung_is_given_back_when_its_time_says_so() -> None:
    """One step takes .06 s in place of .1: two streams' worth of .1 would be too much."""
    ladder = QualityLadder(info())
    assert [level for _, level in feed(ladder, 0.0, 11.0, 0.05, 0.15)] == [1, 2, 3]
    assert feed(ladder, 11.0, 50.0, -0.1, 0.09) == [], "15/9 of .56 are .94"
    changes = feed(ladder, 50.0, 150.0, -0.1, 0.05)
    assert [level for _, level in changes] == [2, 1, 0]
    assert changes[0][0] == pytest.approx(CALM_S + 2.0, abs=3.0)
    assert all(b - a >= CALM_S - 0.2 for (a, _), (b, _) in pairwise(changes))


def test_a_rung_that_is_needed_again_at_once_is_kept_for_longer() -> None:
    ladder, now_s, kept = QualityLadder(info()), 0.0, list[float]()
    for _ in range(4):
        while ladder.level == 0:
            feed(ladder, now_s, now_s + 1.0, 0.05)
            now_s += 1.0
        begin_s = now_s
        while ladder.level == 1:
            feed(ladder, now_s, now_s + 1.0, -0.1)
            now_s += 1.0
        kept.append(now_s - begin_s)
    assert kept == pytest.approx([20, 40, 80, 160], abs=4)


# A machine that makes chunks one after the other, the most urgent first.


@dataclass
class Stream:
    """A viewer: until when he can be shown something, and where his next chunk ends."""

    dry_s: float
    chunks: int = 0


@dataclass
class Machine:
    """Streams of one model; a whole chunk takes `slowness(now)` chunks' time alone."""

    slowness: Callable[[float], float]
    ladder: QualityLadder = field(default_factory=lambda: QualityLadder(info()))
    streams: list[Stream] = field(default_factory=list)
    now_s: float = 0.0
    looked_s: float = 0.0
    levels: list[tuple[float, int]] = field(default_factory=list)

    def step_s(self) -> float:
        economy = self.ladder.quality.economy
        share = 0.2 + (0.4 if economy.steps is None else 0.2)
        share += 0.4 if economy.frame_every == 1 else 0.2
        return share * self.slowness(self.now_s) * CHUNK_S

    def join(self) -> None:
        """A newcomer is let in as the server does: while the door is open and there is time."""
        load = (len(self.streams) + 1) * self.step_s() / CHUNK_S
        if not self.streams or (LONGER * load <= 1 and self.ladder.admits(load)):
            self.streams.append(Stream(self.now_s))

    def run(self, until_s: float) -> None:
        while self.now_s < until_s:
            lead_s = (LEAD_CHUNKS - 1 + self.ladder.quality.more_lead_chunks) * CHUNK_S
            due = [each for each in self.streams if each.dry_s - self.now_s <= lead_s]
            if not due:
                self.now_s += 0.01
            else:
                chosen = min(due, key=lambda each: each.dry_s)
                step_s = self.step_s()
                self.now_s += step_s
                if chosen.chunks:
                    self.ladder.made(self.now_s - chosen.dry_s, step_s, self.now_s)
                chosen.chunks += 1
                chosen.dry_s = max(chosen.dry_s, self.now_s) + CHUNK_S
            if self.now_s >= self.looked_s + 0.1:
                self.looked_s = self.now_s
                if self.ladder.look(self.now_s) is not None:
                    self.levels.append((self.now_s, self.ladder.level))


def settled(slowness: float, streams: int = 1, for_s: float = 150.0) -> Machine:
    machine = Machine(lambda _: slowness)
    machine.streams = [Stream(0.001 * k) for k in range(streams)]
    machine.run(for_s)
    return machine


def test_a_slow_machine_finds_the_rung_that_it_needs() -> None:
    # .8 of a chunk's time remain with one step, .6 with half of the frames as well
    found = {slow: settled(slow).ladder.level for slow in (0.5, 0.75, 1.0, 1.35, 3.0)}
    assert found == {0.5: 0, 0.75: 1, 1.0: 3, 1.35: 4, 3.0: 5}


@settings(max_examples=12, deadline=None, phases=PHASES)
@given(st.lists(st.floats(0.2, 2.0), min_size=2, max_size=4, unique=True))
def test_a_slower_machine_is_never_given_a_lower_level(speeds: list[float]) -> None:
    levels = [settled(slow, for_s=60.0).ladder.level for slow in sorted(speeds)]
    assert levels == sorted(levels)


@settings(max_examples=12, deadline=None, phases=PHASES)
@given(st.floats(0.2, 2.0), st.integers(1, 3))
def test_a_steady_machine_does_not_flap(slow: float, streams: int) -> None:
    """It finds its level; what is given back and taken again comes rarer and rarer."""
    machine = settled(slow / streams, streams, 200.0)
    assert len([at for at, _ in machine.levels if at > 60.0]) <= 4
    changes = [level for _, level in machine.levels]
    assert all(abs(b - a) == 1 for a, b in pairwise([0, *changes]))


@settings(max_examples=12, deadline=None, phases=PHASES)
@given(st.floats(0.1, 0.7), st.lists(st.floats(0.0, 20.0), min_size=1, max_size=12))
def test_streams_lose_no_more_than_bits_to_newcomers(slow: float, waits: list[float]) -> None:
    """However many come and when, on a machine that was fast enough."""
    machine = Machine(lambda _: slow)
    for wait_s in waits:
        machine.join()
        machine.run(machine.now_s + wait_s)
    machine.run(machine.now_s + 30.0)
    assert machine.ladder.takes_new and machine.ladder.quality.economy == FULL


def test_when_the_load_goes_everything_comes_back() -> None:
    machine = Machine(lambda now_s: 3.0 if now_s < 60 else 0.4)
    machine.streams = [Stream(0.0)]
    machine.run(60.0)
    assert machine.ladder.level >= 4
    machine.run(200.0)
    assert machine.ladder.level == 0
    assert len(machine.levels) <= 12
