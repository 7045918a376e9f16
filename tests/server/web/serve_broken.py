"""A server with something that hangs in it, as a process for tests: `python serve_broken.py WHAT`.

It prints its port once it is ready.
"""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from typing import Any

from rollcast.models.pipeline.messages import ModelSpec
from rollcast.models.pipeline.pipeline import Pipeline
from rollcast.server.cli.serve import listen
from rollcast.server.config import ServerConfig
from rollcast.server.engine.model_host import ModelHost
from rollcast.server.media.encoder import JpegEncoder
from rollcast.server.session.session import Session
from rollcast.server.web import app

FACTORY = "rollcast.models.test_pattern:TestPattern"


def say(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def hang(*_: Any, **__: Any) -> Any:
    threading.Event().wait()


def main(what: str) -> None:
    config = ServerConfig(port=0, models=("test-pattern",), drain_s=1.0)
    spec = ModelSpec(FACTORY)
    match what:
        case "encoders":
            JpegEncoder.encode = hang
        case "loop":
            Session.tick = hang
        case "loading":
            spec = ModelSpec("signal:sigwait", {"sigset": [1]})
    app.build_hosts = lambda _: [ModelHost("test-pattern", lambda: Pipeline(spec))]
    with listen(config) as listener, suppress(KeyboardInterrupt):
        port = listener.getsockname()[1]
        if what == "loading":
            say(port)
        app.serve(
            config,
            listener,
            on_ready=lambda: say(port),
            on_failed=say,
            end_s=4.0,
        )


if __name__ == "__main__":
    main(sys.argv[1])
