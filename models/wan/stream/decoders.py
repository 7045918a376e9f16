"""The decoders of a model's streams: its VAE's, and a tiny one for when there is no time for that.

A causal decoder cannot begin in the middle of a stream: of its first latent it makes one frame in
place of four, and the frames behind that know no past. So the one that takes over is shown the
latents of some chunks beside the other, whose frames are seen meanwhile. Chunks have as many frames
as ever, and none takes longer than both need for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ...past_calls import DECODER_LATENTS
from ...upload import uploaded
from ..tiny_decoder import TinyDecoderConfig
from ..vae_files import Decoder, DecoderConfig
from .conditioning.conditioner import LeadIn

DecoderName = Literal["vae", "tiny"]

_TINY = "tiny."
"""What the names of a tiny decoder's memory begin with, where both are in one."""


@dataclass(slots=True)
class DecoderTurn:
    """Whose frames a stream shows, and how many latents the other one has seen to take over."""

    shown: DecoderName = "vae"
    seen: int = 0

    def next(self, wanted: DecoderName, frames: int, *, restart: bool) -> tuple[DecoderName, ...]:
        """Which decoders see the next chunk of so many latent `frames`; the first one's are shown.

        With `restart` neither has a past, and the `wanted` one begins.
        """
        if restart or self.seen >= DECODER_LATENTS:
            self.shown, self.seen = wanted, 0
        if wanted == self.shown:
            self.seen = 0
            return (wanted,)
        self.seen += frames
        return self.shown, wanted


class Decoders:
    """Those of a model, `tiny` where it has one. They take a student's latents."""

    def __init__(self, vae: Decoder, tiny: Decoder | None = None) -> None:
        self._named: dict[DecoderName, Decoder] = {"vae": vae}
        if tiny is not None:
            self._named["tiny"] = tiny

    @property
    def has_tiny(self) -> bool:
        """Whether there is a choice."""
        return "tiny" in self._named

    def frames(
        self,
        used: Sequence[DecoderName],
        latents: Sequence[Tensor],
        leads: Sequence[LeadIn],
        memory: dict[str, Tensor],
        levels: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """What `levels` makes of the frames of `latents` [1, F, C, h, w], behind `leads`.

        They are those of the first decoder `used`. The others see the same, and one that is not
        used forgets the stream. `memory` is all that any of them keeps between calls.
        """
        weight = next(self._named["vae"].parameters())
        # taken out, so that what a decoder replaces is free at once; a snapshot is restored on the
        # CPU
        memories: dict[DecoderName, dict[str, Tensor]] = {"vae": {}, "tiny": {}}
        for name in list(memory):
            whose: DecoderName = "tiny" if name.startswith(_TINY) else "vae"
            own = memories[whose]
            own[name.removeprefix(_TINY)] = uploaded(memory.pop(name), weight.device)
        for whose in memories.keys() - set(used):
            memories[whose].clear()
        before = [lead.latents for lead in leads]
        for whose in used[1:]:
            self._see(whose, [*before, *latents], memories[whose], weight)
        self._see(used[0], before, memories[used[0]], weight)
        decoder = self._named[used[0]]
        pieces = [
            piece
            for each in latents
            for piece in decoded(
                decoder,
                uploaded(each, weight.device, weight.dtype),
                memories[used[0]],
                levels,
            )
        ]
        memory |= memories["vae"]
        memory |= {f"{_TINY}{name}": tensor for name, tensor in memories["tiny"].items()}
        whole = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
        return whole[sum(lead.left_out for lead in leads) :]

    def _see(
        self,
        whose: DecoderName,
        latents: Sequence[Tensor],
        memory: dict[str, Tensor],
        weight: Tensor,
    ) -> None:
        """Nothing is shown of what it makes."""
        decoder = self._named[whose]
        for each in latents:
            for piece in each.split(decoder.at_once, dim=1):
                decoder.decode(uploaded(piece, weight.device, weight.dtype), memory)


def decoded(
    decoder: Decoder,
    latents: Tensor,
    memory: dict[str, Tensor],
    levels: Callable[[Tensor], Tensor],
) -> Iterator[Tensor]:
    """What `levels` makes of the next frames of latents [1, F, C, h, w], piece by piece.

    As many latents at a time as suit the decoder, so that long chunks need no more memory than
    short ones.
    """
    for piece in latents.split(decoder.at_once, dim=1):
        yield levels(decoder.decode(piece, memory)[0])


def check_tiny(tiny: DecoderConfig, decoder: DecoderConfig) -> None:
    """Raise ValueError for a `--tiny-decoder` that is none, or that is of no use beside one."""
    if not isinstance(tiny, TinyDecoderConfig):
        raise ValueError(
            "--tiny-decoder is the decoder of a VAE; name one in TAEHV's format, such as "
            "taew2_1.pth, or leave it out"
        )
    if isinstance(decoder, TinyDecoderConfig):
        raise ValueError("--decoder is a tiny one already: leave --tiny-decoder out")
