"""A program of its own that looks at pictures of strangers, for `PictureReader`.

A decoder may take minutes or gigabytes for half a megabyte, or crash, so it runs where it can be
killed (`killable_process`).
"""

from __future__ import annotations

import base64
import binascii

import msgspec

from ...models.contract import PictureGuide
from ...models.picture import PictureRefused, fitted, placed
from .killable_process import run

MOST_MEMORY_BYTES = 768 << 20
"""Of the process; a picture of the largest size takes 370 MB."""
MOST_CPU_S = 4.0
"""Of one picture; one of the largest size takes 1 s."""


class Task(msgspec.Struct, frozen=True):
    """A picture in base64, the size in pixels that is wanted of it, and in what time; of a face,
    also where it is to lie."""

    picture: str
    width: int
    height: int
    most_cpu_s: float = MOST_CPU_S
    guide: PictureGuide | None = None


class Answer(msgspec.Struct, frozen=True):
    """A JPEG of it, or why there is none: it is refused, or there is too little memory for it."""

    jpeg: bytes = b""
    message: str = ""
    hint: str = ""
    memory_short: bool = False


def look_at(task: Task) -> Answer:
    """What `placed` makes of a picture of a face, and `fitted` of any other."""
    try:
        data = _decoded(task.picture)
        if task.guide is not None:
            return Answer(jpeg=placed(data, task.guide)[0])
        return Answer(jpeg=fitted(data, task.width, task.height))
    except PictureRefused as refused:
        return Answer(message=refused.message, hint=refused.hint)
    except MemoryError:
        return Answer(memory_short=True)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise PictureRefused(
            "the picture is not base64", "Send the bytes of the file in standard base64."
        ) from error


if __name__ == "__main__":
    run(Task, look_at, MOST_MEMORY_BYTES)
