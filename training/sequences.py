"""Sequences of latent chunks with their conditions: the student's training batches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rollcast.models.pocket.audio import CHUNK_FRAMES
from rollcast.models.pocket.autoencoder import FLOW_SIZE, ReferenceFeatures, at_rest
from rollcast.models.pocket.conditions import (
    EXPRESSIONS,
    frame_conditions,
    frame_features,
    grouped,
    moved_base,
    pack_latents,
    pack_tracks,
    reference_base,
    reference_channels,
)
from rollcast.models.pocket.evaluation.signals import to_signed
from rollcast.models.pocket.motion import camera_way, motion_draft, object_tracks
from rollcast.models.pocket.prompt import Vocabulary

from .autoencoder import Autoencoder
from .clips import Clips, Look, centres, pictures_of

# share of prompts with no words at all, and of words left out of the others
_NO_PROMPT = 0.1
# share of avatars that are seen without their plate
_FLAT = 0.2
_DROP_WORD = 0.3


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Mean and spread of the frame latents' channels, [28, 1, 1]."""

    mean: Tensor
    spread: Tensor


class References:
    """What never changes of each look: features, its own latent, its motion scale.

    Rows are as in `pictures_of`: all looks, then all of them without a plate.
    """

    def __init__(self, model: Autoencoder, looks: list[Look]) -> None:
        pictures = pictures_of(looks)
        self.count = len(looks)
        self.scale = torch.tensor([look.scale for look in looks]).repeat(2)
        self.is_avatar = torch.tensor([look.is_avatar for look in looks]).repeat(2)
        self.brought = torch.tensor([look.brought for look in looks]).repeat(2)
        with torch.no_grad():
            self.features = model.decoder.encode_reference(pictures)
            raw = at_rest(model.encoder, pictures.reference, self.features, self.scale)
        self.raw_latent = raw

    def normalise(self, norm: Normalisation) -> None:
        """Add what the student sees, whose latents are normalised."""
        self.spread = norm.spread
        self.latent = (self.raw_latent - norm.mean) / norm.spread
        self.base = reference_base(self.latent)
        self.channels = reference_channels(self.features, self.latent)

    def moved_base(self, batch: Batch) -> Tensor:
        """The base of each chunk [B, F, 112, 8, 8]: the picture, its things where tracks say."""
        look = batch.look
        return moved_base(self.base[look], batch.flow, batch.pan, self.scale[look], self.spread)

    def of(self, look: Tensor) -> ReferenceFeatures:
        """Features of these looks."""
        return self.features.select(look)


@torch.no_grad()
def encode_clips(
    model: Autoencoder, clips: Clips, references: References, *, flat: bool = False
) -> Tensor:
    """Raw latents of all clips [N, T, 28, 8, 8]; `flat`: of looks without a plate."""
    latents = []
    for n in range(len(clips)):
        look = int(clips.look[n]) + flat * references.count
        reference = references.features.select(slice(look, look + 1)).expand(clips.length)
        scale = references.scale[look].expand(clips.length)
        truth = clips.motion(torch.full((clips.length,), n), torch.arange(clips.length))
        # the encoder was trained in this precision
        with torch.autocast("cpu", torch.bfloat16):
            made = model.encoder(
                to_signed(clips.frames[n]), reference, truth.flow, truth.open_flow, scale
            )
        latents.append(made.float())
    return torch.stack(latents).contiguous()


def measure(latents: Tensor, clips: Clips, references: References) -> Normalisation:
    """Channel statistics of the latents' differences from their references."""
    mean = references.raw_latent[: references.count].mean((0, 2, 3))[:, None, None]
    moved = latents - references.raw_latent[clips.look][:, None]
    return Normalisation(mean, moved.std((0, 1, 3, 4))[:, None, None].clamp(min=1e-3))


@dataclass(frozen=True, slots=True)
class Batch:
    """B sequences of F chunks. `groups` are grouped frame features [B, F, 5, 29]."""

    latents: Tensor  # [B, F, 112, 8, 8]
    groups: Tensor
    tracks: Tensor  # [B, 4F, 20, 8, 8]
    flow: Tensor  # drafted motion, px [B, 4F, 2, 16, 16]
    pan: Tensor  # the camera's way back to the plate, px [B, 4F, 2]
    look: Tensor  # rows of `References`
    words: Tensor  # [B, tokens]
    clip: Tensor
    start: Tensor

    @property
    def frame(self) -> Tensor:
        """Frame conditions [B, F, 145]."""
        return frame_conditions(self.groups)[0]

    @property
    def speech(self) -> Tensor:
        """Speech tokens [B, F, 5, 16]."""
        return frame_conditions(self.groups)[1]


class Sequences:
    """Cuts training sequences out of encoded clips."""

    def __init__(
        self,
        clips: Clips,
        looks: list[Look],
        references: References,
        norm: Normalisation,
        latents: tuple[Tensor, Tensor],
        vocabulary: Vocabulary,
        expressions: list[str],
        visemes: Tensor | None = None,
    ) -> None:
        self.clips, self.looks, self.references = clips, looks, references
        self.vocabulary, self.expressions = vocabulary, expressions
        # of all clips as they are, and of looks without a plate
        self.latents = [(one - norm.mean) / norm.spread for one in latents]
        motion = torch.cat([clips.pose, clips.blink[..., None], clips.brow[..., None]], -1)
        seen = clips.visemes if visemes is None else visemes
        features = frame_features(seen, motion, self._expression_levels())
        self.features = features * references.is_avatar[clips.look][:, None, None]
        self.avatars = references.is_avatar[clips.look].nonzero()[:, 0]
        self.scenes = (~references.is_avatar[clips.look]).nonzero()[:, 0]

    def _expression_levels(self) -> Tensor:
        """How much of each expression each frame shows [N, T, 5]."""
        levels = torch.zeros(*self.clips.level.shape, len(EXPRESSIONS))
        for n, k in enumerate(self.clips.expression):
            if self.expressions[k] in EXPRESSIONS:
                levels[n, :, EXPRESSIONS.index(self.expressions[k])] = self.clips.level[n]
        return levels

    def draw(self, avatars: int, scenes: int, chunks: int) -> Batch:
        """A random batch of `avatars` + `scenes` sequences of `chunks` chunks."""
        picks = []
        for rows, count in ((self.avatars, avatars), (self.scenes, scenes)):
            if len(rows) and count:
                picks.append(rows[torch.randint(len(rows), (count,))])
        clip = torch.cat(picks)
        last = self.clips.length - CHUNK_FRAMES * chunks
        flat = torch.rand(len(clip)) < _FLAT
        flat &= self.references.is_avatar[self.clips.look[clip]]
        return self.cut(clip, torch.randint(last + 1, (len(clip),)), chunks, flat=flat)

    def cut(
        self,
        clip: Tensor,
        start: Tensor,
        chunks: int,
        *,
        drop: bool = True,
        flat: Tensor | None = None,
    ) -> Batch:
        """The sequences of these clips from these frames on; `drop` leaves out words.

        The `flat` ones and photographs have no plate, and no words that describe them.
        """
        bare = self.references.brought[self.clips.look[clip]]
        if flat is not None:
            bare = bare | flat
        length = CHUNK_FRAMES * chunks
        rows = [slice(s, s + length) for s in start.tolist()]
        pairs = list(zip(clip.tolist(), rows, strict=True))
        features = torch.stack([self.features[n, row] for n, row in pairs])
        before = self.features[clip, (start - 1).clamp(min=0)]
        seen = list(zip(bare.tolist(), pairs, strict=True))
        shown = [self.latents[is_bare][n, row] for is_bare, (n, row) in seen]
        words = [self._words(n, row, drop, is_bare) for is_bare, (n, row) in seen]
        return Batch(
            latents=pack_latents(torch.stack(shown)),
            groups=grouped(features, before),
            tracks=pack_tracks(torch.stack([self._tracks(n, row) for n, row in pairs])),
            flow=torch.stack([self._draft(n, row) for n, row in pairs]),
            pan=torch.stack([self._way(n, row) for n, row in pairs]),
            look=self.clips.look[clip] + bare * self.references.count,
            words=torch.stack(words),
            clip=clip,
            start=start,
        )

    def _tracks(self, clip: int, row: slice) -> Tensor:
        look = self._look(clip)
        return object_tracks(self._centres(clip, row), look.things, look.scale)

    def _draft(self, clip: int, row: slice) -> Tensor:
        things = self._look(clip).things
        if not things:
            return torch.zeros(row.stop - row.start, 2, FLOW_SIZE, FLOW_SIZE)
        return motion_draft(self._centres(clip, row), things)

    def _way(self, clip: int, row: slice) -> Tensor:
        return camera_way(self._centres(clip, row), self._look(clip).things)

    def _look(self, clip: int) -> Look:
        return self.looks[int(self.clips.look[clip])]

    def _centres(self, clip: int, row: slice) -> np.ndarray:
        """Where the things of a scene are, px [T, K, 2]; K is 0 for an avatar."""
        if self._look(clip).is_avatar:
            return np.zeros((row.stop - row.start, 0, 2))
        of_clip = {
            "tracks": self.clips.tracks[clip][row],
            "track_object": self.clips.track_object[clip],
        }
        return centres(of_clip)

    def _words(self, clip: int, row: slice, drop: bool, bare: bool) -> Tensor:
        vector = torch.zeros(len(self.vocabulary.tokens))
        if bare or (drop and torch.rand(()) < _NO_PROMPT):
            names = []
        else:
            names = sorted(self.looks[int(self.clips.look[clip])].tokens)
        for name in names:
            if not (drop and torch.rand(()) < _DROP_WORD):
                vector[self.vocabulary.index[name]] = 1.0
        # an expression shows whether or not somebody asked for the rest
        level = float(self.clips.level[clip, row].mean())
        name = self.expressions[self.clips.expression[clip]]
        if name in self.vocabulary.index and level > 0.02:
            vector[self.vocabulary.index[name]] = level
        return vector

    def frames(self, clip: Tensor, time: Tensor) -> Tensor:
        """Real frames -1..1 [n, 3, 192, 192]."""
        return to_signed(self.clips.frames[clip, time])
