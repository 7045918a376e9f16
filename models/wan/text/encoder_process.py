"""The process of the text encoder: a JSON line in and one out for each text, until nobody can ask.

Started by `reader`, with a socket.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .store import TextStore

if TYPE_CHECKING:
    from .encoder import TextEncoder


def run(arguments: Sequence[str]) -> None:
    """Encode what comes."""
    parser = argparse.ArgumentParser(prog="text-encoder")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--text-len", type=int, required=True)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--max-bytes", type=int, required=True)
    given = parser.parse_args(arguments)
    os.set_inheritable(given.fd, False)
    # what libraries print is for the log
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    reading = _Reading(given, TextStore(given.store, given.model, given.max_bytes))
    # whoever asked may be gone
    with (
        suppress(BrokenPipeError, ConnectionResetError),
        socket.socket(fileno=given.fd) as link,
        link.makefile("rw", encoding="utf-8") as lines,
    ):
        for line in lines:
            try:
                reading.read(json.loads(line))
                answer: dict[str, str] = {}
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            lines.write(json.dumps(answer) + "\n")
            lines.flush()


class _Reading:
    """The encoder, once there is something to encode."""

    def __init__(self, given: argparse.Namespace, store: TextStore) -> None:
        self._given = given
        self._store = store
        self._encoder: TextEncoder | None = None

    def read(self, text: str | None) -> None:
        """See to it that the store has `text`; None: only be ready."""
        if text is not None and self._store.has(text):
            return
        from .embedding_bytes import to_bytes
        from .encoder import TextEncoder

        if self._encoder is None:
            given = self._given
            self._encoder = TextEncoder(given.weights, given.tokenizer, given.text_len)
        if text is not None:
            self._store.put(text, to_bytes(self._encoder.encode(text)))


if __name__ == "__main__":
    # where it is not forked: see `encoders`
    os.nice(int(sys.argv[1]))
    run(sys.argv[2:])
