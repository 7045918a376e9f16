"""The embedded model's stream goes on in another process bit for bit, from what others are told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from rollcast.models.contract import Controls, StreamRequest, TrackEvent
from rollcast.models.pipeline.events import Finished, Saved
from rollcast.models.pipeline.executor import make_chunk, make_rest
from rollcast.models.pipeline.messages import ModelSpec
from rollcast.models.pipeline.past import Past
from rollcast.models.pipeline.pipeline import MOST_TOLD_BYTES, WHOLE_CHUNKS, Pipeline
from rollcast.models.registry import MODEL_FACTORY

from .running import OFTEN, PATIENT

pytestmark = [pytest.mark.processes, pytest.mark.long]

REQUEST = StreamRequest(seed=5)
CHUNKS = 22
SHOWN = 19
"""From here on the chunks come from the other process."""


def log() -> list[Controls]:
    speech = np.random.default_rng(2).integers(-9000, 9000, (CHUNKS, 2560)).astype(np.int16)
    drags = [TrackEvent(1, "down" if k == 0 else "move", 0.3 + k / 50, 0.5) for k in range(CHUNKS)]
    return [Controls(audio=a, tracks=(d,)) for a, d in zip(speech, drags, strict=True)]


@contextmanager
def started(most_told_bytes: int) -> Iterator[Pipeline]:
    pipeline = Pipeline(
        ModelSpec(MODEL_FACTORY, {"name": "pocket", "threads": 1}),
        patience=PATIENT,
        snapshot_share=OFTEN,
        tells_snapshots=True,
        most_told_bytes=most_told_bytes,
    )
    try:
        pipeline.start()
        yield pipeline
    finally:
        pipeline.stop()


@pytest.mark.parametrize("whole", [True, False])
def test_what_is_made_again_is_equal_where_snapshots_are_whole(whole: bool) -> None:
    """A control: from small ones it is not, and that is why they are not told."""
    controls, events = log(), list[object]()
    with started(MOST_TOLD_BYTES if whole else 0) as one:
        one.open("s", REQUEST)
        for each in controls:
            one.submit("s", each)
            events += one.finish()
        wanted = {e.chunk.index: e.chunk.frames for e in events if isinstance(e, Finished)}
        told = [e for e in events if isinstance(e, Saved)]
        assert {each.small for each in told} == {not whole}
        saved = [each for each in told if each.shown_from <= SHOWN][-1]
        assert SHOWN - saved.shown_from < (WHOLE_CHUNKS if whole else 2)
    with started(0) as other:
        other.open("another", StreamRequest())
        make_chunk(other, "another", Controls())
        make_rest(other)
        rest = controls[saved.index + 1 :]
        other.adopt("s", Past(REQUEST, saved.parts, saved.index, rest, SHOWN, small=saved.small))
        made = [e for e in other.finish() if isinstance(e, Finished)]
    assert [each.chunk.index for each in made] == list(range(SHOWN, CHUNKS))
    equal = [np.array_equal(each.chunk.frames, wanted[each.chunk.index]) for each in made]
    assert all(equal) if whole else not any(equal)
