"""What a viewer drags, and where the camera goes, as a map of points for a student's track head."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from ....contract import Controls, StreamRequest
from ....student.conditioning import Conditions
from ....student.student_cache import StudentCache
from ....upload import uploaded
from ...config_file import track_identities
from ...presets.dragged_points import DraggedPoints
from ...track_map import first_maps, nearest_cell_track_map
from ...tracks.track_control import TrackControl, TrackState
from .conditioner import CallInputs, Change, ChunkPlace, Conditioner, Entry, Parts, PlanPart


@dataclass(slots=True)
class PointsState:
    """A stream's tracks; they begin anew with the stream."""

    tracks: TrackState

    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors to save."""
        return self.tracks.tensors()

    def metadata(self) -> dict[str, Any]:
        """The rest."""
        return self.tracks.metadata()


class PointsConditioner(Conditioner[PointsState]):
    """Pointer and camera of a stream.

    A chunk's plan has its few points; the map is made of them where the student is.
    """

    kind = DraggedPoints.kind

    def __init__(self, stated: DraggedPoints, parts: Parts) -> None:
        config = None if parts.files is None else parts.files.config
        known = track_identities(config) or stated.identities
        self._control = TrackControl(parts.size, parts.preset.fps, identities=known)
        self._cells = parts.preset.latent_size(parts.size)
        self._latents = parts.preset.latents
        self._channels = parts.student.track_channels
        self._device, self._dtype = parts.device, parts.dtype
        # of chunks under way: made by the first of their calls, gone with the last on a
        # cache, which notes the plan
        self._maps = WeakTensorKeyDictionary()

    def start(self, request: StreamRequest) -> PointsState:
        """Untouched."""
        return PointsState(self._control.start(request.seed))

    def restore(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> PointsState:
        """The state that was saved."""
        return PointsState(self._control.restore(tensors, metadata))

    def asked(self, state: PointsState, controls: Controls) -> Change:
        """Take note of pointer and camera; they never begin a stream anew."""

        def change() -> bool:
            self._control.obey(state.tracks, controls)
            return False

        return change

    def plan(self, state: PointsState, place: ChunkPlace, returned: Tensor | None) -> PlanPart:
        """The points that the chunk is told of."""
        del returned
        if place.chunk == 0:
            state.tracks = self._control.begin_anew(state.tracks, place.seed)
        told = self._control.advance(state.tracks, self._pictures(place))
        return PlanPart({"points": told.points, "visibility": told.visibility, "ids": told.ids})

    def inputs(self, part: PlanPart, place: ChunkPlace) -> CallInputs:
        """The map."""
        made = self._maps.get(part.tensors["points"])
        if made is None:
            points, visibility, ids = (
                uploaded(part.tensors[name], self._device)
                for name in ("points", "visibility", "ids")
            )
            made = self._maps[part.tensors["points"]] = self._map(points, visibility, ids)
        return CallInputs(conditions=Conditions(tracks=made))

    def leave(self, part: PlanPart, cache: StudentCache, latents: Tensor) -> None:
        """The map is not wanted any more, or by another cache's calls in a while."""
        del cache, latents
        self._maps.pop(part.tensors["points"], None)

    def rehearse(self, entry: Entry) -> Iterable[Tensor]:
        """A map of a few points: how many makes no difference to what it takes."""
        del entry
        pictures = torch.zeros(3 * self._latents.frames, 1, 2, device="meta")
        self._map(pictures, pictures[..., 0], torch.zeros(1, dtype=torch.int64, device="meta"))
        return ()

    def _map(self, points: Tensor, visibility: Tensor, ids: Tensor) -> Tensor:
        """[1, T, channels, rows, columns] of whole latents, in the student's type."""
        rows, columns = self._cells
        maps = nearest_cell_track_map(
            points, visibility, ids, rows=rows, columns=columns, dim=self._channels
        )
        return first_maps(maps, self._latents.frames)[None].to(self._dtype)

    def _pictures(self, place: ChunkPlace) -> int:
        """Of the chunk; a stream's first latent shows one."""
        return self._latents.pictures(place.frames, first=place.start == 0)
