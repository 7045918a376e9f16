"""Controls that wait for a media time."""

from __future__ import annotations

from typing import Any

import pytest

from rollcast.server.protocol.client_messages import (
    Prompt,
    Reset,
    SceneChange,
    SeedChange,
    SessionQuery,
    TrackPoint,
    Tracks,
)
from rollcast.server.protocol.errors import NotSupported, RateLimited
from rollcast.server.protocol.limits import MAX_SCHEDULED
from rollcast.server.protocol.server_messages import Applied, Rejected, SessionInfo

from .session_bench import SPEECH, Bench


def answers(bench: Bench) -> dict[str, Any]:
    return {each.event_id: each for each in bench.messages(Applied) + bench.messages(Rejected)}


@pytest.mark.parametrize(
    ("at_us", "chunk"), [(0, 1), (160_000, 1), (160_001, 2), (480_000, 3), (500_000, 4)]
)
def test_a_control_waits_for_the_first_chunk_at_or_after_its_time(at_us: float, chunk: int) -> None:
    bench = Bench()
    bench.step()
    bench.say(Prompt(event_id="p", text="a blue wall", at_us=at_us))
    for _ in range(5):
        bench.step()
    bench.drain()
    assert (answers(bench)["p"].chunk, answers(bench)["p"].pts_us) == (chunk, 160_000 * chunk)
    assert [each.prompt for each in bench.controls] == [
        "a blue wall" if number == chunk else None for number in range(6)
    ]


def test_controls_are_taken_by_their_time_then_by_their_arrival() -> None:
    bench = Bench()
    bench.say(SeedChange(event_id="late", seed=3, at_us=320_000))
    bench.say(SeedChange(event_id="first", seed=1, at_us=160_000))
    bench.say(SeedChange(event_id="second", seed=2, at_us=160_000))
    for _ in range(3):
        bench.step()
    bench.drain()
    assert [each.seed for each in bench.controls] == [None, 2, 3]
    assert {key: each.chunk for key, each in answers(bench).items()} == {
        **{"first": 1, "second": 1, "late": 2}
    }


def test_what_cannot_be_done_at_its_time_is_rejected_then() -> None:
    bench = Bench()
    bench.say(SceneChange(event_id="s", scene="moon", at_us=160_000))
    points = [TrackPoint(id=number, phase="down", x=0, y=0) for number in range(17)]
    bench.say(Tracks(event_id="t", points=points, at_us=160_000))
    bench.step()
    bench.drain()
    assert not answers(bench)
    bench.step()
    bench.drain()
    assert {key: each.code for key, each in answers(bench).items()} == {
        **{"s": "unknown_scene", "t": "invalid_field"}
    }


def test_what_the_model_does_not_take_is_refused_at_once() -> None:
    info = Bench().session.info
    bench = Bench(
        type(info)(
            **{
                **{n: getattr(info, n) for n in info.__slots__},
                "inputs": type(info.inputs)(seed=False),
            }
        )
    )
    with pytest.raises(NotSupported):
        bench.say(SeedChange(event_id="s", seed=3, at_us=1e6))


def test_a_reset_at_its_time_drops_speech_only_then() -> None:
    bench = Bench()
    bench.say(Reset(event_id="r", at_us=320_000))
    bench.speak(SPEECH)
    bench.speak(SPEECH)
    bench.step()
    assert len(bench.controls[-1].audio) == len(SPEECH)
    bench.step()
    bench.speak(SPEECH)
    bench.step()
    assert bench.controls[-1].reset and not len(bench.controls[-1].audio)


def test_those_that_wait_are_bounded_and_named() -> None:
    bench = Bench()
    for number in range(MAX_SCHEDULED):
        bench.say(Prompt(event_id=str(number), text="x", at_us=1e9))
    with pytest.raises(RateLimited) as caught:
        bench.say(Prompt(event_id="one more", text="x", at_us=1e9))
    assert caught.value.event_id == "one more"
    bench.say(Prompt(event_id="now", text="x"))
    bench.say(SessionQuery(event_id="q"))
    bench.drain()
    (info,) = bench.messages(SessionInfo)
    assert info.event_id == "q"
    assert info.waiting == ["now", *map(str, range(MAX_SCHEDULED))]


def test_a_time_survives_the_loss_of_a_connection() -> None:
    bench = Bench()
    bench.say(Prompt(event_id="p", text="a blue wall", at_us=160_000))
    bench.step()
    bench.session.detach(bench.now_s)
    bench.session.resume(-1, audio=True, now_s=bench.now_s)
    bench.step()
    bench.drain()
    assert answers(bench)["p"].chunk == 1
