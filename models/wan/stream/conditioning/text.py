"""The prompt: embeddings to attend to, a past that is written anew under a new one, and shots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ....contract import Controls, StreamRequest
from ....sampling.denoising import recache
from ....student.student_cache import StudentCache
from ...presets.text_prompt import TextPrompt
from ...text.blend import toward
from ...text.embedding_bytes import from_bytes
from ...text.reader import TextFailed
from .conditioner import (
    CallInputs,
    Change,
    ChunkPlace,
    Conditioner,
    Entry,
    Parts,
    PlanPart,
    no_change,
)

_LATENTS = "latents"


@dataclass(slots=True)
class TextState:
    """A stream's `prompt`, its embeddings [L, text_dim], and whether no chunk has obeyed it yet.

    While it is blended in, `embeddings` are on their way to those of `target`, where they are
    behind `chunks_to_target` more chunks.
    """

    prompt: str
    embeddings: Tensor
    is_new: bool = False
    target: Tensor | None = None
    chunks_to_target: int = 0

    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors to save."""
        target = {} if self.target is None else {"target": self.target}
        return {"embeddings": self.embeddings, **target}

    def metadata(self) -> dict[str, Any]:
        """The rest."""
        return {
            "prompt": self.prompt,
            "is_new": self.is_new,
            "chunks_to_target": self.chunks_to_target,
        }


class TextConditioner(Conditioner[TextState]):
    """A preset's prompts, read by `reader`; one that was not read before is waited for."""

    kind = TextPrompt.kind

    def __init__(self, stated: TextPrompt, parts: Parts) -> None:
        self._stated = stated
        self._reader = parts.reader
        if parts.reader is not None:
            for example in stated.examples:
                self.read(example)

    def read(self, prompt: str) -> Tensor:
        """Embeddings [L, text_dim] of a prompt. Raises ValueError if it cannot be read."""
        assert self._reader is not None, "made for a plan alone"
        try:
            return from_bytes(self._reader.get(prompt))
        except TextFailed as error:
            raise ValueError(f"the prompt could not be read: {error}") from error

    def start(self, request: StreamRequest) -> TextState:
        """Under the request's prompt, or the first example."""
        prompt = self._stated.examples[0] if request.prompt is None else request.prompt
        return TextState(prompt, self.read(prompt))

    def restore(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> TextState:
        """The state that was saved."""
        return TextState(**metadata, embeddings=tensors["embeddings"], target=tensors.get("target"))

    def asked(self, state: TextState, controls: Controls) -> Change:
        """Change over to a new prompt, at once or over `transition_chunks` chunks."""
        prompt = controls.prompt
        if prompt is None or prompt == state.prompt:
            return no_change
        target = self.read(prompt)

        def change() -> bool:
            state.target, state.prompt, state.is_new = target, prompt, True
            restarts = self._stated.switch == "restart"
            state.chunks_to_target = controls.transition_chunks + 1
            if restarts or self._opens_shot(state):
                state.chunks_to_target = 1
            return restarts

        return change

    def plan(self, state: TextState, place: ChunkPlace, returned: Tensor | None) -> PlanPart:
        """The embeddings, and what a new prompt does to the past, if there is any."""
        del returned
        if place.chunk == 0:
            # there is nothing before it that it could come from
            state.chunks_to_target = min(state.chunks_to_target, 1)
        changes = self._advance(state) and place.chunk > 0
        opens_shot = state.is_new and place.chunk > 0 and self._opens_shot(state)
        state.is_new = False
        plain = {
            "recaches": changes and self._stated.switch == "recache",
            "opens_shot": opens_shot,
        }
        return PlanPart({"embeddings": state.embeddings}, plain)

    def _advance(self, state: TextState) -> bool:
        """One chunk further on the way to a new prompt; whether there is one."""
        if state.target is None:
            return False
        share = 1 / state.chunks_to_target
        state.embeddings = toward(state.embeddings, state.target, share, self._stated.blend)
        state.chunks_to_target -= 1
        if not state.chunks_to_target:
            state.target = None
        return True

    def _opens_shot(self, state: TextState) -> bool:
        prefix = self._stated.shot_prefix
        return bool(prefix) and state.prompt.startswith(prefix)

    def room(self, cache: StudentCache, shape: Sequence[int]) -> None:
        """For the clean latents that a new prompt needs, as many as the cache holds."""
        if self._stated.switch == "recache":
            frames = (shape[0], cache.config.capacity_frames, *shape[2:])
            # never inference tensors, as the cache's own
            with torch.inference_mode(False):
                cache.kept[_LATENTS] = cache.layers[0].key.new_zeros(frames)

    def arrive(self, part: PlanPart, entry: Entry) -> None:
        """Write the past anew, or open a shot."""
        cache = entry.cache
        if part.plain["recaches"]:
            _recache(entry)
        if part.plain["opens_shot"]:
            cache.begin_shot(self._stated.shot_offset)

    def inputs(self, part: PlanPart, place: ChunkPlace) -> CallInputs:
        """The text."""
        del place
        return CallInputs(text=part.tensors["embeddings"])

    def leave(self, part: PlanPart, cache: StudentCache, latents: Tensor) -> None:
        """Keep clean latents behind those before them."""
        del part
        kept = cache.kept.get(_LATENTS)
        if kept is not None:
            kept.copy_(torch.cat((kept[:, latents.shape[1] :], latents), dim=1))

    def rewritten(self, parts: Sequence[PlanPart]) -> Sequence[PlanPart]:
        """Those before a chunk that wrote the past anew under its own text."""
        anew = max((k for k, each in enumerate(parts) if each.plain["recaches"]), default=0)
        return [
            PlanPart(parts[max(k, anew)].tensors, {**each.plain, "recaches": False})
            for k, each in enumerate(parts)
        ]

    def rehearse(self, entry: Entry) -> Iterable[Tensor]:
        """A switch of the prompt, where it writes the past anew."""
        if self._stated.switch == "recache":
            _recache(entry)
        return ()


def _recache(entry: Entry) -> None:
    """Write all that the cache holds anew, under the entry's context."""
    cache = entry.cache
    held = min(cache.config.capacity_frames, cache.position)
    recache(entry.student, cache, cache.kept[_LATENTS][:, -held:], entry.context)
