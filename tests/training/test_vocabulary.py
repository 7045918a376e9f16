"""The words of prompts: which looks they name, and that known words keep their places."""

import json
from typing import Any

import pytest

from rollcast.models.pocket.model import ASSETS
from training.data.behaviour import EXPRESSIONS
from training.data.index import scene_entry
from training.data.scenes import MEADOW, SCENES
from training.vocabulary import build_vocabulary


def _index() -> dict[str, Any]:
    return {"looks": [scene_entry(spec) for spec in SCENES], "expressions": EXPRESSIONS}


@pytest.mark.slow
def test_the_meadow_is_found_by_what_is_in_it() -> None:
    vocabulary, looks = build_vocabulary(_index())
    for text in ("a sheep in the meadow", "butterflies", "green hills", "a hot air balloon"):
        asked = vocabulary.parse(text)
        assert vocabulary.choose(asked.weights, looks, "toys") == "meadow", text
    # to look at something is not to ask for the camera
    assert not vocabulary.parse("a view").weights


def test_added_words_come_after_all_others() -> None:
    names = [token.name for token in build_vocabulary(_index())[0].tokens]
    assert names[-5:] == ["meadow", *(thing.word for thing in MEADOW.things)]
    known = json.loads((ASSETS / "manifest.json").read_text(encoding="utf-8"))["vocabulary"]
    shipped = [token["name"] for token in known if token["group"] != "identity"]
    assert names[: len(shipped)] == shipped
