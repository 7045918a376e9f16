"""Prompts with times, as they are typed."""

from __future__ import annotations

import pytest

from rollcast.client.track_file import TimedPrompt, TrackScript
from rollcast.server.cli.prompt_times import parse_prompt, with_prompts


@pytest.mark.parametrize(
    ("text", "t_ms", "prompt", "chunks"),
    [
        ("10s:a red fox", 10_000, "a red fox", 0),
        ("1.5s+4: a fox: red", 1500, "a fox: red", 4),
        ("250ms:x", 250, "x", 0),
        ("2min:x", 120_000, "x", 0),
    ],
)
def test_times_and_blends_are_read(text: str, t_ms: float, prompt: str, chunks: int) -> None:
    assert parse_prompt(text) == TimedPrompt(t_ms=t_ms, text=prompt, transition_chunks=chunks)


@pytest.mark.parametrize("text", ["a red fox", "10:a", "10s:", "10s a", "-1s:a", "s:a", "1s+:a"])
def test_others_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="like '10s:a red fox'"):
        parse_prompt(text)


def test_limits_are_named() -> None:
    with pytest.raises(ValueError, match="transition_chunks: Input should be less than"):
        parse_prompt("1s+65:a")
    with pytest.raises(ValueError, match="text: String should have at most 500"):
        parse_prompt(f"1s:{'a' * 501}")


def test_they_join_those_of_a_file_in_order() -> None:
    script = TrackScript(prompts=[TimedPrompt(t_ms=2000, text="b")])
    joined = with_prompts(script, ["3s:c", "1s:a"])
    assert [each.text for each in joined.prompts] == ["a", "b", "c"]
    assert with_prompts(script, []) == script
