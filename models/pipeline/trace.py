"""Where the time of chunks went, as Chrome trace JSON: open it in Perfetto or chrome://tracing."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .events import Finished


def chrome_trace(chunks: Iterable[Finished]) -> dict[str, Any]:
    """The trace of some chunks; a row for each stage, with the links as arrows between them."""
    events: list[dict[str, Any]] = []
    for finished in chunks:
        name, spans = f"{finished.stream} chunk {finished.chunk.index}", finished.spans
        for span in spans:
            events.append(
                {
                    "name": f"{span.name} of {name}",
                    "cat": span.name.split()[0],
                    "ph": "X",
                    "pid": 0,
                    "tid": span.stage,
                    "ts": span.begin_s * 1e6,
                    "dur": (span.end_s - span.begin_s) * 1e6,
                    "args": {"chunk": finished.chunk.index},
                }
            )
        for a, b in itertools.pairwise(spans):
            if a.stage != b.stage:
                link = {"name": "link", "cat": "link", "pid": 0, "id": f"{name} to {b.name}"}
                events.append({**link, "ph": "s", "tid": a.stage, "ts": a.end_s * 1e6})
                end = {**link, "ph": "f", "bp": "e", "tid": b.stage, "ts": b.begin_s * 1e6}
                events.append(end)
    rows = sorted({event["tid"] for event in events})
    names = [
        {
            "name": "thread_name",
            "ph": "M",
            "pid": 0,
            "tid": rank,
            "args": {"name": f"stage {rank}"},
        }
        for rank in rows
    ]
    return {"traceEvents": names + events, "displayTimeUnit": "ms"}


def write_trace(path: Path, chunks: Iterable[Finished]) -> None:
    """Write `chrome_trace` into a file."""
    path.write_text(json.dumps(chrome_trace(chunks), indent=1) + "\n")
