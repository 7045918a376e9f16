"""The causal model as on a GPU: work is only asked for, and frames come when a device is done.

The device is a thread that sleeps. Stage processes import it by name, as `tiny_causal`.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import replace

import numpy as np
from tiny_causal import INFO, CausalState, TinyCausal
from torch import Tensor

from rollcast.models.contract import Chunk, Controls, StreamRequest
from rollcast.models.staged_model import ChunkPlan
from rollcast.models.state import DecoderState
from rollcast.models.yuv_frames import YuvFrames, pixels_of


class Late:
    """Planes that the device has not made yet."""

    def __init__(self, planes: np.ndarray) -> None:
        self.done = threading.Event()
        self._planes = planes

    @property
    def ready(self) -> bool:
        return self.done.is_set()

    def wait(self) -> np.ndarray:
        self.done.wait()
        return self._planes


class TinyLate(TinyCausal):
    """A chunk says in `ignored_words` how many were not done when it was prepared."""

    runs_ahead = True

    def __init__(self, chunk_s: float) -> None:
        super().__init__(yuv=True)
        self._chunk_s = chunk_s
        self._asked: queue.SimpleQueue[Late] = queue.SimpleQueue()
        self._late: list[Late] = []
        self._beside: dict[int, int] = {}
        threading.Thread(target=self._work, daemon=True).start()

    def start(self, request: StreamRequest) -> CausalState:
        # what the warm-up asked for is no chunk of this stream
        for late in self._late:
            late.wait()
        self._late.clear()
        return super().start(request)

    def prepare(self, state: CausalState, controls: Controls) -> ChunkPlan:
        plan = super().prepare(state, controls)
        self._late = [late for late in self._late if not late.ready]
        self._beside[plan.index] = len(self._late)
        return plan

    def decode(self, plan: ChunkPlan, latents: Tensor, state: DecoderState) -> Chunk:
        chunk = super().decode(plan, latents, state)
        planes = pixels_of(chunk.pictures)
        self._late.append(late := Late(planes))
        self._asked.put(late)
        pictures = YuvFrames(late, len(planes), INFO.height, INFO.width)
        beside = self._beside.pop(plan.index)
        return replace(chunk, pictures=pictures, ignored_words=(str(beside),))

    def _work(self) -> None:
        while True:
            late = self._asked.get()
            time.sleep(self._chunk_s)
            late.done.set()
