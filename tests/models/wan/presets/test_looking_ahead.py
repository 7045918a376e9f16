"""How far ahead a voice is heard is an operator's choice."""

from __future__ import annotations

import pytest

from rollcast.models.wan.presets.catalogue import preset_named
from rollcast.models.wan.presets.speech import Speech, looking_ahead


def test_a_voice_is_heard_further_ahead_and_shown_later() -> None:
    preset = preset_named("live-avatar")
    assert looking_ahead(preset, None) is preset
    later = looking_ahead(preset, 1280)
    speech, heard = later.stated(Speech), later.info().inputs.speech
    assert speech is not None and heard is not None
    assert (speech.lookahead, heard.lookahead_ms) == (64, 1280)
    usual = preset.info().inputs.speech
    assert usual is not None and usual.lookahead_ms == 200


def test_what_is_no_look_ahead_is_named() -> None:
    for wrong in (0, 10, 30):
        with pytest.raises(ValueError, match=f"look-ahead {wrong} ms; expected a multiple of 20"):
            looking_ahead(preset_named("live-avatar"), wrong)
    with pytest.raises(ValueError, match="longlive hears no speech"):
        looking_ahead(preset_named("longlive"), 200)
