"""A chunk before it is made: all that its calls and its decoder are told, wherever they run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class ChunkPlan:
    """All that the calls and the decoder need to know of one chunk, beside its latents.

    `noise_seed` is what every step draws its noise from, wherever it runs. With `restart` each
    cache starts anew when this chunk reaches it, and so does the decoder: a new sink needs no
    drain. `plain` is JSON-able, `tensors` are small; both are the model's own affair. `needed_by`
    is the chunk whose `prepare` needs this one's clean latents, if any: it finds them in
    `state.returns`. At least as many chunks lie between them as a chunk has calls, so that nobody
    waits (Live Avatar's sink is the stream's own first latent, arXiv 2512.04677, section 4.3, for
    which its pipeline drains).
    """

    index: int
    noise_seed: int
    restart: bool
    plain: dict[str, Any]
    tensors: dict[str, Tensor]
    needed_by: int | None = None

    def check(self, calls: int) -> None:
        """Raise ValueError if its latents are needed before they are there in every executor."""
        if self.needed_by is not None and self.needed_by < self.index + calls:
            raise ValueError(
                f"chunk {self.index} is needed by {self.needed_by}; with {calls} calls its latents "
                f"are there for chunk {self.index + calls}"
            )
