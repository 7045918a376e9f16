"""Refuses what a machine has no memory for, before anything is allocated."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from ...models.registry import foreign_models, own_models, takes_steps
from ...models.wan.type_names import INSTALL, can_quantise
from ..config import ServerConfig
from .failure import EXIT_USAGE, Failure


def check_room(config: ServerConfig) -> dict[str, dict[str, Any]]:
    """The figures of `rollcast models plan` for each model of `config` that has some.

    Raises Failure with them if one does not fit. The plan is made by a process of its own: the
    server's has no torch. Of models of other distributions nobody knows what they need.
    """
    on_gpu = config.device not in (None, "auto", "cpu")
    steps = config.steps and not any(map(takes_steps, config.models))
    asked = (
        config.weights
        or config.size
        or config.dtype
        or config.quantize
        or config.attention
        or steps
        or config.decoder
        or config.tiny_decoder
        or config.encoder
        or on_gpu
        or config.lookahead_ms
    )
    if asked and set(config.models) <= set(own_models()):
        raise Failure(
            f"{', '.join(config.models)} comes with its weights and size, and its types of numbers",
            hint="Leave --weights, --size, --dtype, --quantize, --attention, --steps, --decoder, "
            "--tiny-decoder, --encoder, --lookahead and --device away, or name another --model.",
            exit_code=EXIT_USAGE,
        )
    if config.quantize and not can_quantise(config.quantize):
        raise Failure(
            f"--quantize {config.quantize} needs torchao, which is not installed",
            hint=INSTALL,
            exit_code=EXIT_USAGE,
        )
    options = [*model_options(config), "--sessions", str(config.max_sessions or 1)]
    plans: dict[str, dict[str, Any]] = {}
    for name in config.models:
        if name in own_models() or name in foreign_models():
            continue
        command = [sys.executable, "-P", "-m", f"{__package__}", "models", "plan", name, "--json"]
        done = subprocess.run(
            [*command, *options],
            capture_output=True,
            text=True,
            check=False,
        )
        if not done.stdout.startswith("{"):
            # behind whatever libraries have to say
            said = done.stderr[max(0, f"\n{done.stderr}".rfind("\nerror: ")) :]
            message, _, hint = said.removeprefix("error: ").strip().partition("\n")
            raise Failure(message or "the plan could not be made", hint=hint, exit_code=EXIT_USAGE)
        report = json.loads(done.stdout)
        if report["fits"] is False:
            raise Failure(report["message"], hint=report["hint"], exit_code=EXIT_USAGE)
        plans[name] = report
    return plans


def model_options(config: ServerConfig) -> list[str]:
    """What of `config` is about a model's loading, as options of serve and of models plan."""
    options: list[str] = []
    for place in config.weights:
        options += ["--weights", place]
    if config.size is not None:
        options += ["--size", f"{config.size[0]}x{config.size[1]}"]
    if config.steps is not None:
        options += ["--steps", ",".join(f"{step:g}" for step in config.steps)]
    for name in ("device", "dtype", "quantize", "attention", "decoder", "encoder", "stages"):
        value = getattr(config, name)
        if value is not None:
            options += [f"--{name}", str(value)]
    if config.tiny_decoder is not None:
        options += ["--tiny-decoder", str(config.tiny_decoder)]
    if config.lookahead_ms is not None:
        options += ["--lookahead", str(config.lookahead_ms)]
    return options
