"""Controls that wait for the next chunk: the newest of a kind replaces the one before."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, cast

import msgspec
from msgspec import Struct

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
from ..protocol.messages import CLIENT

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


class PendingRecord(Struct, frozen=True):
    """`PendingControls` as they are; `prompt` is the control in JSON."""

    events: list[Event]
    live_tracks: dict[int, bool]
    prompt: bytes | None
    scene: str | None
    picture: bytes | None
    image: bytes | None
    camera: CameraMotion | None
    tracks: list[TrackEvent]
    clear_tracks: tuple[int, ...] | None
    clear_audio: bool
    reset: bool
    seed: int | None


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

    def record(self) -> PendingRecord:
        """What another one needs to go on from here."""
        return PendingRecord(
            events=list(self.events),
            live_tracks=dict(self.live_tracks),
            prompt=None if self._prompt is None else packed_control(self._prompt),
            scene=self._scene,
            picture=self._picture,
            image=self._image,
            camera=self._camera,
            tracks=list(self._tracks),
            clear_tracks=self._clear_tracks,
            clear_audio=self._clear_audio,
            reset=self._reset,
            seed=self._seed,
        )

    @classmethod
    def of(cls, record: PendingRecord, max_tracks: int) -> PendingControls:
        """Go on where another one was."""
        prompt = None if record.prompt is None else unpacked_control(record.prompt)
        assert prompt is None or isinstance(prompt, Prompt), "it was one"
        return cls(
            max_tracks,
            events=record.events,
            live_tracks=record.live_tracks,
            _prompt=prompt,
            _scene=record.scene,
            _picture=record.picture,
            _image=record.image,
            _camera=record.camera,
            _tracks=record.tracks,
            _clear_tracks=record.clear_tracks,
            _clear_audio=record.clear_audio,
            _reset=record.reset,
            _seed=record.seed,
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


def packed_control(control: ModelControl) -> bytes:
    """A control as bytes, for a record."""
    if isinstance(control, OwnPicture | OwnImage):
        return msgspec.msgpack.encode(control)
    return control.model_dump_json(exclude_none=True).encode()


def unpacked_control(data: bytes) -> ModelControl:
    """The inverse of `packed_control`. Raises ValueError for what is none."""
    if data.startswith(b"{"):
        return cast(ModelControl, CLIENT.validate_json(data))
    plain: Any = msgspec.msgpack.decode(data)
    return msgspec.convert(plain, OwnImage if plain.get("type") == "image" else OwnPicture)
