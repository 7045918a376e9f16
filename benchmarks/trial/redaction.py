"""A report without what is private: nobody's home, user name or places of files are in it."""

from __future__ import annotations

import getpass
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def redacted(value: Any, places: Sequence[str]) -> Any:
    """`value`, JSON-able, with these places, the home folder and the user's name replaced.

    `places` are files and folders that were named; a hub's `owner/name` is public and stays.
    """
    changes = _changes(places)

    def clean(part: Any) -> Any:
        if isinstance(part, str):
            for pattern, instead in changes:
                part = pattern.sub(lambda _, to=instead: to, part)
            return part
        if isinstance(part, dict):
            return {clean(key): clean(each) for key, each in part.items()}
        if isinstance(part, list | tuple):
            return [clean(each) for each in part]
        return part

    return clean(value)


def _changes(places: Sequence[str]) -> list[tuple[re.Pattern[str], str]]:
    """What is replaced, the longest first: a place may lie in the home folder."""
    found: dict[str, str] = {}
    for place in places:
        path = Path(place).expanduser()
        if path.exists():
            for written in (place, str(path), str(path.absolute()), str(path.resolve())):
                found[written] = f"<weights>/{path.name}" if path.is_file() else "<weights>"
    found[str(Path.cwd())] = "<here>"
    home = Path.home()
    for written in {str(home), str(home.resolve())} - {"/"}:
        found[written] = "~"
    ordered = sorted(found.items(), key=lambda pair: -len(pair[0]))
    # a whole path or the beginning of one, never a part of a word
    changes = [(re.compile(rf"{re.escape(text)}(?![\w.-])"), to) for text, to in ordered]
    with_name = _user_name()
    if with_name:
        changes.append((re.compile(rf"\b{re.escape(with_name)}\b"), "<user>"))
    return changes


def _user_name() -> str:
    """Empty where there is none, and for names that are words of everybody."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        return ""
    return "" if len(name) < 3 or name in ("root", "user", "ubuntu") else name
