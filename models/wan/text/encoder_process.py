"""The process of the text encoder: one JSON line in and one out for each prompt, until its input
ends.

Started by `reader`. It gives way to whatever generates: its priority is low.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .store import TextStore

_NICE = 10


def run(arguments: Sequence[str]) -> None:
    """Encode what comes."""
    parser = argparse.ArgumentParser(prog="text-encoder")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--text-len", type=int, required=True)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--max-bytes", type=int, required=True)
    given = parser.parse_args(arguments)
    os.nice(_NICE)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    # what libraries print is for the log
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    store = TextStore(given.store, given.model, given.max_bytes)
    encoder = None
    for line in sys.stdin:
        try:
            text = json.loads(line)
            if not store.has(text):
                from .embedding_bytes import to_bytes
                from .encoder import TextEncoder

                if encoder is None:
                    encoder = TextEncoder(given.weights, given.tokenizer, given.text_len)
                store.put(text, to_bytes(encoder.encode(text)))
            answer: dict[str, str] = {}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    run(sys.argv[1:])
