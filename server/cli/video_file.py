"""The MP4 that `record` and `render` write: claimed before the work, kept however it ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ...client.mp4 import Mp4Writer
from ...client.output_file import OutputFile
from ...models.yuv_frames import Picture, YuvFrame
from .failure import EXIT_INTERRUPTED, EXIT_USAGE, Failure, as_failure

VOICE_RATE = 48_000
"""Samples per second of the speech in a video, whatever the model hears: no file sounds better."""

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the video if it is there.")]


@dataclass
class Video:
    """The file, and once it is being written its writer."""

    file: OutputFile
    writer: Mp4Writer | None = None

    @property
    def kept(self) -> str:
        """A sentence on what is in the file; empty if that is nothing."""
        if self.writer is None or self.writer.seconds == 0:
            return ""
        return f"What came is kept: {self.writer.seconds:.1f} s in {self.file.path}."


def write_picture(writer: Mp4Writer, picture: Picture, pts_us: float) -> None:
    """Add a picture of a model, shown from `pts_us` on."""
    if isinstance(picture, YuvFrame):
        writer.write_planes(picture.parts(), pts_us)
    else:
        writer.write_frame(picture, pts_us)


@contextmanager
def video_file(
    out: Path, *, overwrite: bool, inputs: Iterable[Path | None], url: str = ""
) -> Iterator[Video]:
    """The file of a block that makes a video from these files, from the server at `url` if any.

    Raises Failure before the block for a file that cannot be written, that is there already or is
    one of the inputs; and for what goes wrong in the block, with a word on what was kept. Who
    interrupts the block is told that, too.
    """
    _check(out, inputs)
    with as_failure():
        file = _claimed(out, overwrite)
    video = Video(file)
    try:
        with file, as_failure(url):
            yield video
    except Failure as failure:
        hint = " ".join(part for part in (failure.hint, video.kept) if part)
        raise Failure(str(failure), hint=hint, exit_code=failure.exit_code) from failure
    except (KeyboardInterrupt, SystemExit) as stop:
        code = stop.code if isinstance(stop, SystemExit) else EXIT_INTERRUPTED
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(f"stopped. {video.kept}".rstrip(), markup=False)
        raise typer.Exit(code if isinstance(code, int) else EXIT_INTERRUPTED) from stop


def _check(out: Path, inputs: Iterable[Path | None]) -> None:
    if out.suffix.lower() != ".mp4":
        raise Failure(f"{out} is not an .mp4", hint="Name it like out.mp4.", exit_code=EXIT_USAGE)
    for path in inputs:
        if path is not None and _same(out, path):
            raise Failure(
                f"{out} is what is read, so it cannot be written",
                hint="Give the video another name.",
                exit_code=EXIT_USAGE,
            )


def _same(out: Path, path: Path) -> bool:
    try:
        return out.samefile(path)
    except (OSError, ValueError):
        return False


def _claimed(out: Path, overwrite: bool) -> OutputFile:
    if not overwrite and out.exists():
        raise Failure(
            f"{out} is there already",
            hint="Name another file, or add --overwrite.",
            exit_code=EXIT_USAGE,
        )
    return OutputFile(out, overwrite=overwrite)
