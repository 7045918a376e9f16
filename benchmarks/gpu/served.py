"""Step 6: the real server on loopback with random weights, and real clients that watch."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .bench import Bench
from .random_model import SERVED
from .step_process import NotHere

_SECONDS = 10.0
_LOADS_S = 40.0


def run(bench: Bench) -> None:
    """One session, then two: what viewers get, and how long the server works on it."""
    for package in ("av", "simplejpeg", "uvicorn", "fastapi", "prometheus_client"):
        if find_spec(package) is None:
            raise NotHere(f"needs {package}")
    from ..stream.server_process import ServerProcess
    from ..stream.stream import watch_server

    device = "cuda" if bench.on_gpu else "cpu"
    seconds = 1.0 if bench.rehearse else _SECONDS
    with as_another_distribution():
        server = ServerProcess(
            SERVED,
            max_sessions=2,
            threads=1 if bench.rehearse else None,
            options=("--device", device),
            start_timeout_s=_LOADS_S,
        )
        with server:
            server.wait_ready()
            bench.note("ready_s", time.monotonic() - server.started_s)
            for count in (1,) if bench.rehearse else (1, 2):
                viewers, span = watch_server(server, count, seconds)
                bench.note(f"{count} sessions", _row(viewers, span))
            bench.note("host_memory_mb", server.memory_mb())


def _row(viewers: list[dict[str, Any]], span: Any) -> dict[str, Any]:
    return {
        "fps": [each["frames"] / each["seconds"] for each in viewers],
        "ttff_s": [each["ttff_s"] for each in viewers],
        "control_chunks": [each["control_chunks"] for each in viewers],
        "step_s": {"p50": span.step_percentile_s(0.5), "p95": span.step_percentile_s(0.95)},
        "overhead_ratio": span.overhead_ratio(),
    }


@contextmanager
def as_another_distribution() -> Iterator[None]:
    """The random model under the name `SERVED`, for processes that are started meanwhile.

    It is found as every model of another distribution is: by an entry point.
    """
    before = os.environ.get("PYTHONPATH")
    with tempfile.TemporaryDirectory(prefix="rollcast-random-") as place:
        about = Path(place, "rollcast_random_wan-0.dist-info")
        about.mkdir()
        module = f"{__package__}.random_model:load"
        (about / "entry_points.txt").write_text(f"[rollcast.models]\n{SERVED} = {module}\n")
        (about / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: rollcast-random-wan\nVersion: 0\n"
            "Summary: Wan 1.3B with random weights, for benchmarks\n"
        )
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (place, before)))
        try:
            yield
        finally:
            if before is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = before
