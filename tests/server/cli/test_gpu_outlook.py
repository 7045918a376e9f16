"""What is expected of a GPU: counts, and plans of memory."""

from __future__ import annotations

import pytest

from rollcast.models.wan.presets.catalogue import preset_named
from rollcast.server.cli import gpu_outlook
from rollcast.server.cli.gpu_outlook import (
    Outlook,
    decoder_operations,
    outlooks,
    sizes_of_students,
    student_operations,
)

H100 = {"clock_hz": 1.83e9, "multiprocessors": 132}


def test_operations_are_those_of_the_budget() -> None:
    """docs/kernels.md: 60.6, 58.5 and 2.2 TFLOP; the VAE's 40.7 were counted on their own."""
    preset = preset_named("reward-forcing")
    assert student_operations(preset) == pytest.approx(121.3e12, rel=1e-3)
    assert decoder_operations(preset) == pytest.approx(40.7e12, rel=2e-3)


@pytest.mark.slow
def test_an_h100_is_expected_to_do_what_it_was_measured_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """300 ms for the student and 226 for the VAE (docs/kernels.md), 12 frames: 23 a second."""
    monkeypatch.setattr(gpu_outlook, "sizes_of_students", lambda: [preset_named("reward-forcing")])
    (found,) = outlooks(78 * 10**9, (9, 0), **H100)
    assert found.sessions > 1 and found.fps == pytest.approx(23, abs=2)
    (small,) = outlooks(4 * 10**9, (9, 0), **H100)
    assert small.sessions == 0 and str(small).startswith("reward-forcing needs ")
    (unknown,) = outlooks(78 * 10**9, (9, 0), clock_hz=None, multiprocessors=132)
    assert unknown.fps is None


def test_each_size_once() -> None:
    found = [(each.student.dim, each.student.num_layers) for each in sizes_of_students()]
    assert found == sorted(set(found)) and len(found) >= 3


def test_it_is_told_in_words() -> None:
    assert (
        str(Outlook("a", (64, 32), 10**9, 1, 12.4)) == "a 64x32, 1 stream by memory, about 12 fps"
    )
    assert str(Outlook("a", (64, 32), 10**9, 2, None)) == "a 64x32, 2 streams by memory"
