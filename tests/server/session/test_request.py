"""From the first message to what the model is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rollcast.models.contract import PICTURE, ModelInputs, PromptInput, StreamRequest
from rollcast.models.test_pattern import TestPattern
from rollcast.server.protocol.client_messages import SessionCreate
from rollcast.server.protocol.errors import NotSupported, StreamError, UnknownScene
from rollcast.server.session.request import stream_request

INFO = TestPattern().info
BARE = replace(INFO, inputs=ModelInputs(prompt=PromptInput(), seed=False))


def test_what_the_client_leaves_out_is_chosen() -> None:
    request = stream_request(SessionCreate(), INFO, 5)
    assert request == StreamRequest(seed=5, scene="bars")


def test_what_the_client_asks_for_is_passed_on() -> None:
    message = SessionCreate(scene="grid", prompt="a wall", seed=0)
    assert stream_request(message, INFO, 5) == StreamRequest(seed=0, scene="grid", prompt="a wall")


@pytest.mark.parametrize(
    ("scene", "shown"), [(None, PICTURE), ("grid", "grid"), (PICTURE, PICTURE)]
)
def test_a_picture_is_shown_unless_a_scene_is_asked_for(scene: str | None, shown: str) -> None:
    message = SessionCreate(picture="cGlj", scene=scene)
    request = stream_request(message, INFO, 5, picture=b"square")
    assert (request.scene, request.picture) == (shown, b"square")


def test_an_unknown_scene_is_refused() -> None:
    for scene in ("moon", PICTURE):
        with pytest.raises(UnknownScene):
            stream_request(SessionCreate(scene=scene), INFO, 5)


def test_a_model_without_scenes_shows_none() -> None:
    assert stream_request(SessionCreate(prompt="x"), BARE, 5).scene is None


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (SessionCreate(scene="bars"), "scene"),
        (SessionCreate(seed=1), "seed"),
        (SessionCreate(picture="cGlj"), "picture"),
    ],
)
def test_what_the_model_does_not_take_is_refused_by_name(
    message: SessionCreate, field: str
) -> None:
    with pytest.raises(NotSupported) as caught:
        stream_request(message, BARE, 5)
    assert caught.value.field == field
    assert caught.value.message == f"{INFO.name} takes no {field}, only prompt"


def test_a_model_that_takes_nothing_says_so() -> None:
    with pytest.raises(StreamError) as caught:
        stream_request(SessionCreate(prompt="x"), replace(INFO, inputs=ModelInputs(seed=False)), 5)
    assert caught.value.message == f"{INFO.name} takes no prompt, nor anything else"
