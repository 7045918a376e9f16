"""Options that several commands have, with the same limits in each."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ...models.devices import check_device_name
from ...models.registry import model_names
from ...models.student.config import AttentionKind
from ...models.wan.type_names import DTypeName, Quantization
from ..protocol.limits import MAX_PROMPT_CHARS, MAX_SEED
from .failure import EXIT_USAGE, Failure

MAX_SECONDS = 86_400.0


def check_model(name: str) -> None:
    """Raise a Failure for a model that there is not."""
    if name not in model_names():
        known = ", ".join(model_names())
        raise Failure(f"unknown model {name!r}; known: {known}", exit_code=EXIT_USAGE)


def warn(text: str) -> None:
    """Say what is odd and hinders nothing."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"warning: {text}", style="yellow", markup=False)


def warn_ignored(words: list[str] | tuple[str, ...]) -> None:
    """Say which words of a prompt mean nothing to the model, if any."""
    if words:
        warn(f"the model does not know {', '.join(words)}; the rest of the prompt is used")


def _finite(seconds: float | None) -> float | None:
    if seconds is not None and not isfinite(seconds):
        raise typer.BadParameter(f"it has to be a number of seconds, got {seconds}")
    return seconds


def _short(prompt: str | None) -> str | None:
    if prompt is not None and len(prompt) > MAX_PROMPT_CHARS:
        raise typer.BadParameter(
            f"a prompt has at most {MAX_PROMPT_CHARS} characters, got {len(prompt)}"
        )
    return prompt


def _device(name: str | None) -> str | None:
    try:
        return None if name is None else check_device_name(name)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _moving(camera: str | None) -> str | None:
    # here, so that a server starts without the client
    from ...client.camera_move import camera_move

    try:
        if camera is not None:
            camera_move(camera)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return camera


Scene = Annotated[str | None, typer.Option(help="Avatar or scene to show.")]
Picture = Annotated[Path | None, typer.Option(help="A picture of a face to show as the avatar.")]
Image = Annotated[Path | None, typer.Option(help="A picture to start from or to refer to.")]
Camera = Annotated[
    str | None,
    typer.Option(
        callback=_moving,
        help="How the camera moves, like forward=0.2,yaw=15: in widths of the picture and degrees "
        "a second, of right, down, forward, pitch, yaw, roll.",
    ),
]
VideoIn = Annotated[
    Path | None, typer.Option("--video", help="A video that the model looks at while it plays.")
]
Prompt = Annotated[str | None, typer.Option(callback=_short, help="What to show, in words.")]
PromptAt = Annotated[
    list[str] | None,
    typer.Option(
        help="A prompt at a time of the video, like '10s:a red fox', or '10s+4:a red fox' to blend "
        "over 4 chunks; may be repeated."
    ),
]
Audio = Annotated[Path | None, typer.Option(help="Speech: any audio file, - for what is piped in.")]
Tracks = Annotated[Path | None, typer.Option(help="JSON of pointer tracks and timed prompts.")]
Seconds = Annotated[
    float, typer.Option(min=0.04, max=MAX_SECONDS, callback=_finite, help="How long.")
]
SecondsOrSpeech = Annotated[
    float | None,
    typer.Option(
        min=0.04,
        max=MAX_SECONDS,
        callback=_finite,
        help="Length; by default that of the speech, else 10.",
    ),
]
Weights = Annotated[
    list[str] | None,
    typer.Option(help="A file, folder or owner/name with a model's files; may be repeated."),
]
Size = Annotated[str | None, typer.Option(help="Width and height of its frames, like 832x480.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads of the model.")]
Stages = Annotated[
    int | None,
    typer.Option(min=1, help="Processes that share the model's steps, see docs/tpp.md."),
]
Device = Annotated[
    str | None,
    typer.Option(
        metavar="auto|cuda|cuda:N|cpu|mps",
        callback=_device,
        help="Where a published model computes; by default on a GPU if there is one.",
    ),
]
DType = Annotated[
    DTypeName | None,
    typer.Option(help="Type of a published model's numbers; by default bf16 on a GPU, else fp32."),
]
Quantize = Annotated[
    Quantization | None,
    typer.Option(help="Matrices of its blocks in 8 bits; fp8 and int8 need rollcast[quantize]."),
]
Attention = Annotated[
    AttentionKind | None,
    typer.Option(help="Scores of attention to the past in 8 bits, on a GPU; by default exact."),
]
Steps = Annotated[
    str | None,
    typer.Option(help="Denoising steps instead of the model's own: how many, or like 1000,500."),
]
Decoder = Annotated[
    Path | None,
    typer.Option(help="A file whose decoder takes the place of the VAE's, such as taew2_1.pth."),
]
TinyDecoder = Annotated[
    Path | None,
    typer.Option(
        help="A tiny decoder, such as taew2_1.pth, that takes over while the machine is too slow."
    ),
]
Encoder = Annotated[
    Path | None,
    typer.Option(help="A file whose encoder takes the place of the VAE's, such as taew2_1.pth."),
]
Lookahead = Annotated[
    int | None,
    typer.Option(
        min=20,
        max=2000,
        metavar="MS",
        help="How far ahead speech is heard: nearer to whole files, and shown so much later.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Same seed, same video.")]
SeedOrAny = Annotated[int | None, typer.Option(min=0, max=MAX_SEED, help="Seed of the stream.")]
