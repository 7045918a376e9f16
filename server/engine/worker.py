"""The one thread that touches models: it loads them, warms them up, then steps whom it is told.

asyncio to thread: `submit`, a bounded queue. Thread to asyncio: the `report` callback, which the
caller makes safe to call from here. torch is imported in this thread only.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ...models import picture
from ...models.contract import (
    Chunk,
    Controls,
    ModelInfo,
    Stepper,
    TrackEvent,
)
from ...models.pipeline.events import Restarted, Restarting

TIMED_STEPS = 5
MAX_JOBS = 1024
JOIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Open:
    """Start a stream's state."""

    session_id: str
    model: str
    seed: int
    scene: str
    prompt: str | None
    picture: bytes | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """Advance a stream by one chunk."""

    session_id: str
    controls: Controls


@dataclass(frozen=True, slots=True)
class Drop:
    """Show nothing of the steps of a stream that are under way."""

    session_id: str


@dataclass(frozen=True, slots=True)
class Close:
    """Free a stream's state."""

    session_id: str


@dataclass(frozen=True, slots=True)
class Ready:
    """Loaded and warm; `step_s` is the median step time by model name."""

    models: tuple[ModelInfo, ...]
    step_s: dict[str, float]
    latency_s: dict[str, float] = field(default_factory=dict)
    """How much longer a chunk takes than that, for models with several chunks under way."""


@dataclass(frozen=True, slots=True)
class Stepped:
    """A chunk is there."""

    session_id: str
    chunk: Chunk
    step_s: float
    latency_s: float | None = None
    """From its admission to its frames, where that is not `step_s`."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A step has come to its end and is not shown."""

    session_id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The model refused what one stream asked of it; that stream is gone, the others go on."""

    session_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The thread has ended; `reason` is one line, `detail` the traceback."""

    reason: str
    detail: str


Job = Open | Step | Drop | Close
Report = Ready | Stepped | Dropped | Refused | Failed | Restarting | Restarted


class Runner(Protocol):
    """What the engine needs of whoever steps the models; called on the event loop."""

    @property
    def depth(self) -> int:
        """Steps that may be under way at once."""
        ...

    @property
    def behind(self) -> bool:
        """Whether so many jobs wait that no new stream should be opened."""
        ...

    def start(self, report: Callable[[Report], None]) -> None:
        """Start loading; `report` may be called from another thread."""
        ...

    def next_step_s(self, now_s: float, under_way: int) -> float | None:
        """When one more step may be submitted; None: something has to be reported first."""
        ...

    def submit(self, job: Job) -> None:
        """Queue a job."""
        ...

    def stop(self) -> None:
        """End, and wait for it."""
        ...


class JobThread(ABC):
    """A thread that is handed jobs and reports what became of them, to its end or its failure."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.Queue[Job | None] = queue.Queue(MAX_JOBS)
        self._thread: threading.Thread | None = None

    def start(self, report: Callable[[Report], None]) -> None:
        """Start loading; `report` is called from the thread with everything that happens."""
        assert self._thread is None, "a worker starts once"
        self._thread = threading.Thread(
            target=self._run, args=(report,), name=self._name, daemon=True
        )
        self._thread.start()

    @property
    def behind(self) -> bool:
        """Whether so many jobs wait that no new stream should be opened."""
        return self._jobs.qsize() > MAX_JOBS // 2

    def submit(self, job: Job) -> None:
        """Queue a job. While `behind` is heeded it fits: an `Open` leaves room for its `Close`."""
        self._jobs.put_nowait(job)
        self._queued()

    def stop(self) -> None:
        """End the thread after the jobs before this call and wait for it."""
        if self._thread is not None and self._thread.is_alive():
            self._jobs.put(None, timeout=JOIN_S)
            self._queued()
            self._thread.join(JOIN_S)

    @abstractmethod
    def _work(self, report: Callable[[Report], None]) -> None:
        """Load, report `Ready`, and do jobs until there is a None among them."""

    def _queued(self) -> None:
        """There is something in the queue, for a thread that waits for more than that."""
        return

    def _ended(self) -> None:
        """The last thing in the thread, after a failure was reported too."""
        return

    def _run(self, report: Callable[[Report], None]) -> None:
        # Whatever goes wrong in here must reach the viewers: no silent dead thread.
        try:
            self._work(report)
        except Exception as error:
            report(Failed(f"{type(error).__name__}: {error}", traceback.format_exc()))
        finally:
            self._ended()


class Worker(JobThread):
    """Owns the thread "torch-0" and every model and stream state in it."""

    def __init__(self, load: Callable[[], Sequence[Stepper]]) -> None:
        super().__init__("torch-0")
        self._load = load

    @property
    def depth(self) -> int:
        """One step at a time."""
        return 1

    def next_step_s(self, now_s: float, under_way: int) -> float | None:
        """When one more step may be submitted."""
        return None if under_way else now_s

    def _work(self, report: Callable[[Report], None]) -> None:
        models = {model.info.name: model for model in self._load()}
        with _inference_mode():
            report(Ready(tuple(m.info for m in models.values()), _warm_up(models)))
            self._serve(models, report)

    def _serve(self, models: dict[str, Stepper], report: Callable[[Report], None]) -> None:
        streams: dict[str, tuple[Stepper, object]] = {}
        while (job := self._jobs.get()) is not None:
            # A ValueError is the caller's mistake, so only this stream's; anything else is ours.
            try:
                self._do(job, models, streams, report)
            except ValueError as error:
                streams.pop(job.session_id, None)
                report(Refused(job.session_id, str(error)))

    def _do(
        self,
        job: Job,
        models: dict[str, Stepper],
        streams: dict[str, tuple[Stepper, object]],
        report: Callable[[Report], None],
    ) -> None:
        match job:
            case Open():
                model = models[job.model]
                state = model.start(
                    seed=job.seed, scene=job.scene, prompt=job.prompt, picture=job.picture
                )
                streams[job.session_id] = model, state
            case Step() if job.session_id in streams:
                model, state = streams[job.session_id]
                start_s = time.perf_counter()
                chunk = model.step(state, job.controls)
                report(Stepped(job.session_id, chunk, time.perf_counter() - start_s))
            case Step():
                report(Refused(job.session_id, "the stream was not opened"))
            case Drop():
                pass  # no step is under way while jobs are done
            case Close():
                streams.pop(job.session_id, None)


def load_models(names: Sequence[str], threads: int | None) -> list[Stepper]:
    """Load models by name, torch only if one needs it; call it in the worker's thread."""
    from ...models.registry import load_model

    return [load_model(name, threads=threads) for name in names]


def _inference_mode() -> AbstractContextManager[object]:
    """torch's inference mode in this thread, if a model brought torch in."""
    torch = sys.modules.get("torch")
    return nullcontext() if torch is None else torch.inference_mode()


def _warm_up(models: dict[str, Stepper]) -> dict[str, float]:
    """Run every kind of control through each model; returns the median step time by name."""
    step_s: dict[str, float] = {}
    for name, model in models.items():
        info = model.info
        state = model.start(seed=0, scene=info.scenes[0].name)
        for controls in every_control(info):
            model.step(state, controls)
        speech = Controls(audio=_speech(info))
        times_s: list[float] = []
        for _ in range(TIMED_STEPS):
            start_s = time.perf_counter()
            model.step(state, speech)
            times_s.append(time.perf_counter() - start_s)
        step_s[name] = float(np.median(times_s))
    return step_s


def every_control(info: ModelInfo) -> Iterator[Controls]:
    """One step's controls of each kind that the model obeys."""
    yield Controls()
    if "prompt" in info.controls and info.prompts:
        yield Controls(prompt=info.prompts[0], transition_chunks=1)
    if "tracks" in info.controls:
        yield Controls(tracks=(TrackEvent(0, "down", 0.5, 0.5), TrackEvent(1, "anchor", 0.2, 0.2)))
        yield Controls(clear_tracks=None)
    if info.picture is not None:
        yield Controls(picture=picture.sample(info.picture.size))
    if "scene" in info.controls:
        # One of each kind: the others take the same paths, and a start should not wait for them.
        first_of_kind = {scene.kind: scene.name for scene in reversed(info.scenes)}
        yield from (Controls(scene=name) for name in first_of_kind.values())
    if "audio" in info.controls:
        yield Controls(audio=_speech(info))
        yield Controls(clear_audio=True)
    yield Controls(reset=True)


def _speech(info: ModelInfo) -> np.ndarray:
    return np.full(info.chunk_samples if "audio" in info.controls else 0, 1000, np.int16)
