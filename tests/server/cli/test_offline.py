"""A script without a server: how long it takes, and which chunk is told what."""

from __future__ import annotations

import numpy as np
import pytest

from rollcast.client.track_file import TimedPoint, TimedPrompt, TrackScript
from rollcast.models.contract import StreamRequest, TrackEvent
from rollcast.models.test_pattern import CHUNK_SAMPLES, TestPattern
from rollcast.server.cli.offline import chunk_controls, chunk_count, generate

INFO = TestPattern().info
SPEECH = np.arange(6000, dtype=np.int16)
SCRIPT = TrackScript(
    points=[TimedPoint(t_ms=320, id=3, phase="down", x=0.25, y=0.5)],
    prompts=[TimedPrompt(t_ms=170, text="a blue wall", transition_chunks=3)],
)


@pytest.mark.parametrize(
    ("seconds", "samples", "chunks"),
    [(None, 0, 63), (None, 16_000, 11), (0.16, 0, 1), (0.17, 0, 2), (3.2, 16_000, 20)],
)
def test_length(seconds: float | None, samples: int, chunks: int) -> None:
    assert chunk_count(INFO, seconds, np.zeros(samples, np.int16)) == chunks


def test_each_chunk_is_told_what_falls_into_it() -> None:
    first, second, third = (chunk_controls(INFO, n, SPEECH, SCRIPT) for n in range(3))
    assert np.array_equal(np.concatenate([first.audio, second.audio, third.audio]), SPEECH)
    assert len(first.audio) == CHUNK_SAMPLES
    assert (first.prompt, first.tracks) == (None, ())
    assert (second.prompt, second.transition_chunks) == ("a blue wall", 3)
    assert third.prompt is None
    assert third.tracks == (TrackEvent(3, "down", 0.25, 0.5),)


def test_chunks_come_in_order() -> None:
    model = TestPattern()
    chunks = generate(model, model.start(StreamRequest(seed=0)), 3, SPEECH, SCRIPT)
    assert [chunk.index for chunk in chunks] == [0, 1, 2]
