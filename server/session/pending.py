"""Controls that wait for the next chunk: the newest of a kind replaces the one before."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ...models.contract import PICTURE, CameraMotion, Controls, TrackEvent
from ..protocol.client_messages import (
    CameraChange,
    Prompt,
    Reset,
    SceneChange,
    SeedChange,
    TrackPoint,
    Tracks,
    TracksClear,
)
from ..protocol.errors import InvalidField, RateLimited

MAX_EVENTS = 256
MAX_TRACK_EVENTS = 512


@dataclass(frozen=True, slots=True)
class OwnPicture:
    """A `picture` control whose picture was looked at and made a small square."""

    event_id: str
    square: bytes
    at_us: float | None = None
    type: Literal["picture"] = "picture"


@dataclass(frozen=True, slots=True)
class OwnImage:
    """An `image` control whose image was looked at and made as large as the model's."""

    event_id: str
    jpeg: bytes
    at_us: float | None = None
    type: Literal["image"] = "image"


ModelControl = (
    Prompt
    | SceneChange
    | OwnPicture
    | OwnImage
    | CameraChange
    | Tracks
    | TracksClear
    | Reset
    | SeedChange
)


@dataclass(slots=True)
class Event:
    """A control that has to be answered when its chunk is there."""

    event_id: str
    type: str


@dataclass
class PendingControls:
    """What the next step will be told, and whom to answer; at most `max_tracks` are held."""

    max_tracks: int
    events: list[Event] = field(default_factory=list)
    live_tracks: dict[int, bool] = field(default_factory=dict)
    """Held track ids; True for an anchor."""
    _prompt: Prompt | None = None
    _scene: str | None = None
    _picture: bytes | None = None
    _image: bytes | None = None
    _camera: CameraMotion | None = None
    _tracks: list[TrackEvent] = field(default_factory=list)
    _clear_tracks: tuple[int, ...] | None = ()
    _clear_audio: bool = False
    _reset: bool = False
    _seed: int | None = None

    def add(self, control: ModelControl) -> None:
        """Queue a control. Raises a StreamError, and changes nothing, when it cannot be."""
        if len(self.events) >= MAX_EVENTS:
            raise RateLimited(f"{MAX_EVENTS} controls wait already", event_id=control.event_id)
        match control:
            case Prompt():
                self._prompt = control
            case SceneChange():
                self._scene = control.scene
                self.release_all()
            case OwnPicture():
                self._scene, self._picture = PICTURE, control.square
                self.release_all()
            case OwnImage():
                self._image = control.jpeg
                self.release_all()
            case CameraChange():
                self._camera = motion_of(control)
            case Tracks():
                self._add_tracks(control)
            case TracksClear():
                self._release(control.ids)
            case Reset():
                self._reset = True
                self._seed = self._seed if control.seed is None else control.seed
                self.release_all()
            case SeedChange():
                self._seed = control.seed
        self.events.append(Event(control.event_id, control.type))

    def clear_audio(self) -> None:
        """Let the model drop the speech that it was fed and has not shown."""
        self._clear_audio = True

    def release_all(self) -> None:
        """Let go of every track."""
        self._release(None)

    def release_held(self) -> None:
        """Let go of what a pointer holds, keeping anchors: the viewer's hand is gone."""
        held = [key for key, anchor in self.live_tracks.items() if not anchor]
        if held:
            self._release(held)

    def controls(self) -> Controls:
        """What to tell the model; go on with `following` afterwards."""
        prompt = self._prompt
        return Controls(
            prompt=None if prompt is None else prompt.text,
            transition_chunks=0 if prompt is None else prompt.transition_chunks,
            scene=self._scene,
            picture=self._picture,
            image=self._image,
            camera=self._camera,
            clear_audio=self._clear_audio,
            tracks=tuple(self._tracks),
            clear_tracks=self._clear_tracks,
            reset=self._reset,
            seed=self._seed,
        )

    def following(self) -> PendingControls:
        """Nothing pending, with the same tracks held."""
        return PendingControls(self.max_tracks, live_tracks=self.live_tracks)

    def _add_tracks(self, control: Tracks) -> None:
        live = dict(self.live_tracks)
        for number, point in enumerate(control.points):
            if point.phase == "up":
                live.pop(point.id, None)
            elif point.phase == "down" or point.phase == "anchor":
                live[point.id] = point.phase == "anchor"
            if len(live) > self.max_tracks:
                raise InvalidField(
                    f"at most {self.max_tracks} tracks may be held",
                    field=f"points[{number}].id",
                    hint="Release a track with phase up or tracks.clear first.",
                    event_id=control.event_id,
                )
        if len(self._tracks) + len(control.points) > MAX_TRACK_EVENTS:
            raise RateLimited("too many pointer events for one chunk", event_id=control.event_id)
        self.live_tracks = live
        for point in control.points:
            self._add_point(point)

    def _add_point(self, point: TrackPoint) -> None:
        """Append, or let a move take the place of the same track's move before it."""
        event = TrackEvent(point.id, point.phase, point.x, point.y)
        mine = [i for i, old in enumerate(self._tracks) if old.id == point.id]
        if point.phase == "move" and mine and self._tracks[mine[-1]].phase == "move":
            self._tracks[mine[-1]] = event
        else:
            self._tracks.append(event)

    def _release(self, ids: list[int] | None) -> None:
        if ids is None:
            self._tracks.clear()
            self.live_tracks.clear()
            self._clear_tracks = None
            return
        self._tracks = [event for event in self._tracks if event.id not in ids]
        for key in ids:
            self.live_tracks.pop(key, None)
        if self._clear_tracks is not None:
            self._clear_tracks = tuple(sorted({*self._clear_tracks, *ids}))


def motion_of(control: CameraChange) -> CameraMotion:
    """The motion that a control asks for."""
    still = CameraMotion()
    return CameraMotion(
        control.translation or still.translation, control.rotation or still.rotation
    )
