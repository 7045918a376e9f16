"""Every step of a chunk after the other, on one device: the reference for the other executors."""

from __future__ import annotations

from typing import Any

from ..contract import Controls, ModelInfo
from .events import Finished
from .executor import StagedModel, run_chunk


class Sequential:
    """An `Executor` that finishes each chunk before it returns."""

    def __init__(self, model: StagedModel[Any]) -> None:
        self._model = model
        self._states: dict[str, Any] = {}

    @property
    def info(self) -> ModelInfo:
        """What the model makes."""
        return self._model.info

    def open(
        self,
        stream: str,
        *,
        seed: int,
        scene: str | None = None,
        prompt: str | None = None,
        picture: bytes | None = None,
    ) -> None:
        """Begin a stream. Raises ValueError for what the model's `start` refuses."""
        self._states[stream] = self._model.start(
            seed=seed, scene=scene, prompt=prompt, picture=picture
        )

    def step(self, stream: str, controls: Controls) -> list[Finished]:
        """Make one chunk."""
        return [Finished(stream, run_chunk(self._model, self._states[stream], controls))]

    def finish(self) -> list[Finished]:
        """Nothing is ever under way."""
        return []

    def close(self, stream: str) -> None:
        """Free a stream."""
        self._states.pop(stream, None)
