"""Prompts with their times as people type them: "10s:a red fox", or "10s+4:a red fox" to blend."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import ValidationError

from ...client.track_file import TimedPrompt, TrackScript

_FORM = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min)\s*(?:\+\s*(\d+))?\s*:(.*)", re.DOTALL)
_MS = {"ms": 1.0, "s": 1e3, "min": 60e3}


def parse_prompt(text: str) -> TimedPrompt:
    """A prompt and when it is given, in media time. Raises ValueError for what is none."""
    found = _FORM.fullmatch(text)
    if found is None or not found[4].strip():
        raise ValueError(
            f"--prompt-at {text!r}: write a time, a colon and the prompt, like '10s:a red fox', or "
            "'10s+4:a red fox' to blend over 4 chunks"
        )
    amount, unit, chunks, prompt = found.groups()
    try:
        return TimedPrompt(
            t_ms=float(amount) * _MS[unit],
            text=prompt.strip(),
            transition_chunks=int(chunks or 0),
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"--prompt-at {text!r}: {first['loc'][0]}: {first['msg']}") from error


def with_prompts(script: TrackScript, given: Sequence[str]) -> TrackScript:
    """A script with more prompts, as they were typed. Raises ValueError for what is none."""
    prompts = [*script.prompts, *map(parse_prompt, given)]
    return TrackScript(points=script.points, prompts=sorted(prompts, key=lambda each: each.t_ms))
