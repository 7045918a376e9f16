"""Controls of the model from their message to their answer: checked, queued, applied, answered."""

from __future__ import annotations

from collections import deque

from msgspec import Struct

from ...models.contract import PICTURE, CameraMotion, Chunk, Controls, ModelInfo
from ..protocol.client_messages import CameraChange, Reset, SceneChange, TracksClear
from ..protocol.errors import InvalidField, NotSupported, UnknownScene
from ..protocol.limits import MAX_TRACKS
from ..protocol.server_messages import Applied
from .pending import (
    Event,
    ModelControl,
    OwnImage,
    OwnPicture,
    PendingControls,
    PendingRecord,
    motion_of,
)
from .schedule import Schedule


class ControlRecord(Struct, frozen=True):
    """A queue of controls: what is in force, waits, and was begun (steps without their sound)."""

    has_picture: bool
    has_image: bool
    camera: CameraMotion
    pending: PendingRecord
    begun: list[tuple[Controls, list[Event]]]
    schedule: list[tuple[float, bytes]]


class ControlQueue:
    """`add` any number of controls, `begin` a step with them, `finish` steps in the same order.

    A step that is not shown after all is dropped in its turn.
    """

    def __init__(
        self, info: ModelInfo, *, has_picture: bool = False, has_image: bool = False
    ) -> None:
        self.has_picture = has_picture
        """Whether the stream has a picture of its own, or will have with the next step."""
        self.has_image = has_image
        """Whether it has an image to start from, or will have with the next step."""
        self.camera = CameraMotion()
        """The motion in force in what was generated."""
        self._info = info
        tracks = info.inputs.tracks
        self._pending = PendingControls(
            max_tracks=0 if tracks is None else min(tracks.max_tracks, MAX_TRACKS)
        )
        self._begun: deque[tuple[Controls, list[Event]]] = deque()
        self._schedule = Schedule()

    @property
    def under_way(self) -> int:
        """Steps that were begun and not finished."""
        return len(self._begun)

    @property
    def waiting(self) -> list[str]:
        """The event ids of what was not answered yet, what waits for its time last."""
        begun = [event.event_id for _, events in self._begun for event in events]
        pending = [event.event_id for event in self._pending.events]
        return begun + pending + self._schedule.event_ids

    @property
    def tracks(self) -> dict[int, bool]:
        """The tracks that are held, by id; True for an anchor."""
        return self._pending.live_tracks

    def record(self) -> ControlRecord:
        """What another one needs to go on from here."""
        return ControlRecord(
            has_picture=self.has_picture,
            has_image=self.has_image,
            camera=self.camera,
            pending=self._pending.record(),
            begun=[(controls, list(events)) for controls, events in self._begun],
            schedule=self._schedule.record(),
        )

    def load(self, record: ControlRecord) -> None:
        """Go on where another one was."""
        self.has_picture, self.has_image = record.has_picture, record.has_image
        self.camera = record.camera
        self._pending = PendingControls.of(record.pending, self._pending.max_tracks)
        self._begun = deque(record.begun)
        self._schedule.load(record.schedule)

    def schedule(self, control: ModelControl, at_us: float) -> None:
        """Let a control wait for its media time; then it is `due`, and may still be refused.

        Raises a StreamError for what the model does not take, and when too many wait.
        """
        self._check_supported(control)
        self._schedule.add(control, at_us)

    def due(self, pts_us: float) -> list[ModelControl]:
        """Take the scheduled controls that a chunk which starts at `pts_us` obeys."""
        return self._schedule.due(pts_us)

    def add(self, control: ModelControl) -> None:
        """Queue a control for the next step. Raises a StreamError for one that cannot be."""
        self._check_supported(control)
        if isinstance(control, SceneChange):
            check_scene(self._info, control.scene, control.event_id, has_picture=self.has_picture)
        self._pending.add(control)
        self.has_picture |= isinstance(control, OwnPicture)
        self.has_image |= isinstance(control, OwnImage)

    def _check_supported(self, control: ModelControl) -> None:
        match control:
            case Reset():
                if control.seed is not None:
                    check_supported(self._info, "seed", control.event_id, field="seed")
            case TracksClear():
                check_supported(self._info, "tracks", control.event_id)
            case CameraChange():
                check_supported(self._info, "camera", control.event_id)
                _check_moves(self._info, control)
            case _:
                check_supported(self._info, control.type, control.event_id)

    def clear_audio(self) -> None:
        """Let the model drop the speech that it was fed and has not shown."""
        self._pending.clear_audio()

    def release_held(self) -> None:
        """Let go of what a pointer holds, keeping anchors: the viewer's hand is gone."""
        self._pending.release_held()

    def begin(self) -> Controls:
        """The controls of the next step, without the speech that it is fed."""
        pending, self._pending = self._pending, self._pending.following()
        controls = pending.controls()
        self._begun.append((controls, pending.events))
        return controls

    def finish(self, chunk: Chunk, index: int, pts_us: float) -> tuple[Controls, list[Applied]]:
        """What the step was told, and the answers to those who asked for it."""
        assert self._begun, "no step was begun"
        controls, events = self._take_oldest()
        return controls, [_applied(event, chunk, index, pts_us) for event in events]

    def drop(self) -> Controls:
        """What the step was told that is not shown; the next one answers for it."""
        assert self._begun, "no step was begun"
        controls, events = self._take_oldest()
        heir = self._begun[0][1] if self._begun else self._pending.events
        heir[:0] = events
        return controls

    def _take_oldest(self) -> tuple[Controls, list[Event]]:
        """The step that came to its end; the model has obeyed it, whether it is shown or not."""
        controls, events = self._begun.popleft()
        self.camera = self.camera if controls.camera is None else controls.camera
        return controls, events


def check_supported(
    info: ModelInfo, name: str, event_id: str | None = None, *, field: str | None = None
) -> None:
    """Raise NotSupported, naming what is taken, unless the model takes the input of this name."""
    taken = sorted(info.inputs.names)
    if name not in taken:
        instead = f"only {', '.join(taken)}" if taken else "nor anything else"
        raise NotSupported(
            f"{info.name} takes no {name}, {instead}", field=field, event_id=event_id
        )


def check_scene(
    info: ModelInfo, name: str, event_id: str | None = None, *, has_picture: bool = False
) -> None:
    """Raise UnknownScene, naming the known ones, unless the stream can show this scene."""
    known = [scene.name for scene in info.scenes] + [PICTURE] * has_picture
    if name == PICTURE and name not in known and info.inputs.picture is not None:
        raise UnknownScene(
            "this stream has no picture of its own",
            field="scene",
            hint="Send one with a picture control, then it can be shown.",
            event_id=event_id,
        )
    if name not in known:
        raise UnknownScene(
            f"{info.name} has no scene {name!r}, only {', '.join(known)}",
            field="scene",
            event_id=event_id,
        )


def _check_moves(info: ModelInfo, control: CameraChange) -> None:
    """Raise InvalidField for a move that a camera which goes by keys has not."""
    if info.inputs.camera is None or info.inputs.camera.kind != "wasd":
        return
    motion = motion_of(control)
    for field, value, moves in (
        ("translation[1]", motion.translation[1], "right and forward"),
        ("rotation[2]", motion.rotation[2], "up and right"),
    ):
        if value:
            verb = "moves" if field.startswith("translation") else "turns"
            raise InvalidField(
                f"the camera of {info.name} {verb} {moves} only",
                field=field,
                hint="Let it be 0: hello says wasd of this camera.",
                event_id=control.event_id,
            )


def _applied(event: Event, chunk: Chunk, index: int, pts_us: float) -> Applied:
    words = list(chunk.ignored_words) if event.type == "prompt" else []
    return Applied(
        event_id=event.event_id,
        chunk=index,
        pts_us=pts_us,
        ignored_words=words or None,
        scene=chunk.scene if event.type in ("scene", "picture") else None,
    )
