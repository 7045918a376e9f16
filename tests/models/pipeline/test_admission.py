"""Admission to a single stage on a GPU: it never idles, and controls are hardly older for it."""

from __future__ import annotations

import pytest

from rollcast.models.pipeline.admission import Admission


class Device:
    """A GPU that takes `chunk_s` a chunk, and whoever asks it for them; in seconds of its own.

    Frames are told of `tell_s` behind the device's work, and a chunk that was admitted is there
    `tell_s` later.
    """

    def __init__(self, admission: Admission, chunk_s: float, tell_s: float) -> None:
        self.admission, self.chunk_s, self.tell_s = admission, chunk_s, tell_s
        self.begun_s: list[float] = []
        self.free_s = self.busy_s = 0.0
        self.waits_s: list[float] = []
        """How long each chunk, and its controls, waited in front of the device."""

    def run(self, chunks: int, rows: int = 1) -> float:
        """The share of the time in which the device works, but for a first third of the chunks."""
        now_s, coming = self.free_s, list[tuple[float, float]]()
        measured_s = busy_s = None
        for number in range(chunks):
            if number == chunks // 3:
                measured_s, busy_s = self.free_s, self.busy_s
            while (at_s := self.admission.next_s(now_s, len(coming))) is None or at_s > now_s:
                told_s = coming[0][1] if coming else float("inf")
                if at_s is None or told_s <= at_s:
                    self.admission.left(*coming.pop(0))
                    now_s = max(now_s, told_s)
                else:
                    now_s = at_s
            self.admission.admitted(now_s, rows)
            begin_s = max(now_s + self.tell_s, self.free_s)
            self.waits_s.append(begin_s - now_s)
            self.free_s = begin_s + self.chunk_s
            self.busy_s += self.chunk_s
            coming.append((now_s, self.free_s + self.tell_s))
            now_s += 1e-6
        assert measured_s is not None and busy_s is not None
        return (self.busy_s - busy_s) / (self.free_s - measured_s)


@pytest.mark.parametrize("guess", [0.2, 0.3, 0.5])
def test_a_device_that_runs_ahead_never_idles(guess: float) -> None:
    """Whatever was measured at first; a batch takes twice as long as a chunk."""
    ahead = Device(Admission(1, 0.0, guess, ahead=True), 0.3, 0.02)
    assert ahead.run(60) > 0.999
    assert max(ahead.waits_s[20:]) < 0.3 / 4
    alone = Device(Admission(1, 0.0, guess), 0.3, 0.02)
    assert alone.run(60) == pytest.approx(0.3 / 0.34, rel=0.01)
    batches = Device(Admission(1, 0.0, guess, ahead=True), 0.6, 0.02)
    assert batches.run(60, rows=4) > 0.999


def test_no_third_turn_is_admitted_and_none_without_frames_to_come() -> None:
    ahead = Admission(1, 0.0, 1.0, ahead=True)
    assert ahead.most_turns == 2
    ahead.admitted(5.0)
    assert ahead.next_s(5.1, 1) == pytest.approx(5.8)
    assert ahead.next_s(5.9, 1) == 5.9 and ahead.next_s(5.9, 2) is None
    alone = Admission(1, 0.0, 1.0)
    alone.admitted(5.0)
    assert alone.most_turns == 1 and alone.next_s(9.0, 1) is None
    # several stages have a device each
    assert Admission(2, 0.1, 0.2, ahead=True).most_turns == 3


def test_who_left_early_is_not_waited_for() -> None:
    ahead = Admission(1, 0.0, 1.0, ahead=True)
    ahead.admitted(5.0)
    ahead.admitted(5.8)
    ahead.keep({5.8})
    assert ahead.next_s(5.9, 1) == pytest.approx(6.6)
    # a turn that nobody waits for any more tells nothing of the device
    ahead.left(5.0, 9.0)
    assert ahead.next_s(5.9, 1) == pytest.approx(6.6)
