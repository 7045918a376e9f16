"""Refuses what a machine has no memory for, before anything is allocated."""

from __future__ import annotations

import json
import subprocess
import sys

from ...models.registry import own_models
from ..config import ServerConfig
from .failure import EXIT_USAGE, Failure


def check_room(config: ServerConfig) -> None:
    """Raise Failure with the figures of `rollcast models plan` if a model of `config` does not fit.

    The plan is made by a process of its own: the server's has no torch.
    """
    given = config.weights or config.size or config.decoder
    if given and set(config.models) <= set(own_models()):
        raise Failure(
            f"{', '.join(config.models)} comes with its weights and size",
            hint="Leave --weights, --size and --decoder away, or name another --model.",
            exit_code=EXIT_USAGE,
        )
    for name in config.models:
        if name in own_models():
            continue
        arguments = ["models", "plan", name, "--json", "--sessions", str(config.max_sessions or 1)]
        for place in config.weights:
            arguments += ["--weights", place]
        if config.decoder is not None:
            arguments += ["--decoder", str(config.decoder)]
        if config.size is not None:
            arguments += ["--size", f"{config.size[0]}x{config.size[1]}"]
        done = subprocess.run(
            [sys.executable, "-P", "-m", f"{__package__}", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        if not done.stdout.startswith("{"):
            message, _, hint = done.stderr.removeprefix("error: ").strip().partition("\n")
            raise Failure(message or "the plan could not be made", hint=hint, exit_code=EXIT_USAGE)
        report = json.loads(done.stdout)
        if report["fits"] is False:
            raise Failure(report["message"], hint=report["hint"], exit_code=EXIT_USAGE)
