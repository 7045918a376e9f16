"""Rendering of a whole data set with several processes; finished clips are kept."""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training.data.clips import is_valid, render_clip, save_clip
from training.data.index import write_index
from training.data.plan import Job, Preset, plan
from training.data.rasteriser import library
from training.data.voices import speak

_Work = TypeVar("_Work")


def render_dataset(folder: Path, preset: Preset, jobs: int, console: Console) -> None:
    """Render all missing clips of a preset into a folder.

    Raises MissingAssetError before any work when a system package is missing.
    """
    started = time.monotonic()
    library()
    for engine, voice in (("flite", "slt"), ("espeak", "en")):
        speak(engine, voice, "hello")
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob("*.part"):
        leftover.unlink()
    write_index(folder, preset)
    todo = [job for job in plan(preset) if not is_valid(folder / f"{job.name}.npz", job.kind)]
    with _progress(console) as bar:
        task = bar.add_task("clips", total=len(todo))
        for _ in in_processes(_render_one, [(folder, job) for job in todo], jobs):
            bar.advance(task)
    size_mb = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6
    console.print(
        f"{len(todo)} clips rendered in {time.monotonic() - started:.0f} s; "
        f"{folder} holds {size_mb:.0f} MB"
    )


def in_processes(make: Callable[[_Work], None], todo: Sequence[_Work], jobs: int) -> Iterator[None]:
    """Call `make` with each piece of work in so many processes; yields as they are done."""
    if jobs <= 1:
        yield from map(make, todo)
        return
    # Fork would share numpy's and espeak's state; spawned workers start clean.
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(make, todo, chunksize=2)


def _render_one(work: tuple[Path, Job]) -> None:
    folder, job = work
    save_clip(folder / f"{job.name}.npz", render_clip(job))


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )
