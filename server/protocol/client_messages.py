"""The JSON messages that a client sends, as a tagged union.

These classes and those of `server_messages` are the source of the JSON Schema and of AsyncAPI.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .fields import EventId, Message, Name, PictureText, Seed, Text, TrackId
from .limits import (
    MAX_AUDIO_RATE,
    MAX_KBPS,
    MAX_NAME_CHARS,
    MAX_POINTS,
    MAX_TOKEN_CHARS,
    MAX_TRACKS,
    MAX_TRANSITION_CHUNKS,
    MIN_AUDIO_RATE,
    MIN_KBPS,
)


class ClientHello(Message):
    """First message on a socket: what the client speaks and can decode, best codec first."""

    type: Literal["hello"] = "hello"
    versions: Annotated[list[int], Field(min_length=1, max_length=16)]
    client: Annotated[str, Field(max_length=MAX_NAME_CHARS)] = ""
    codecs: Annotated[list[Name], Field(min_length=1, max_length=16)]
    audio: bool = True
    token: Annotated[str, Field(max_length=MAX_TOKEN_CHARS)] | None = Field(
        default=None, repr=False
    )


class SessionCreate(Message):
    """Open a new stream; what is left out is the server's choice.

    `picture`, base64 of a JPEG, PNG or WebP file, is shown unless `scene` asks for another.
    `audio_rate` is that of the audio that the client will send, in samples per second.
    """

    type: Literal["session.create"] = "session.create"
    model: Name | None = None
    scene: Name | None = None
    picture: PictureText | None = None
    prompt: Text | None = None
    seed: Seed | None = None
    max_kbps: Annotated[int, Field(ge=MIN_KBPS, le=MAX_KBPS)] | None = None
    audio_rate: Annotated[int, Field(ge=MIN_AUDIO_RATE, le=MAX_AUDIO_RATE)] | None = None


class SessionResume(Message):
    """Go on with a stream whose socket was lost; `last_seq` is the last video seq shown or -1."""

    type: Literal["session.resume"] = "session.resume"
    session_id: Name
    resume_token: Annotated[str, Field(min_length=1, max_length=MAX_TOKEN_CHARS, repr=False)]
    last_seq: Annotated[int, Field(ge=-1, le=2**32 - 1)]


class SessionClose(Message):
    """End the stream and free it at once."""

    type: Literal["session.close"] = "session.close"


class Prompt(Message):
    """Change the text prompt, blending over `transition_chunks` chunks."""

    type: Literal["prompt"] = "prompt"
    event_id: EventId
    text: Text
    transition_chunks: Annotated[int, Field(ge=0, le=MAX_TRANSITION_CHUNKS)] = 0


class SceneChange(Message):
    """Show another scene; this releases all tracks."""

    type: Literal["scene"] = "scene"
    event_id: EventId
    scene: Name


class PictureChange(Message):
    """Show a picture of the client's own, base64 of a JPEG, PNG or WebP file, as an avatar."""

    type: Literal["picture"] = "picture"
    event_id: EventId
    picture: PictureText


class TrackPoint(Message):
    """One pointer event; `x`, `y` in 0..1 of the frame from its top left corner."""

    id: TrackId
    phase: Literal["down", "move", "up", "anchor"]
    x: Annotated[float, Field(ge=0, le=1)]
    y: Annotated[float, Field(ge=0, le=1)]


class Tracks(Message):
    """Pointer events in the order they happened."""

    type: Literal["tracks"] = "tracks"
    event_id: EventId
    points: Annotated[list[TrackPoint], Field(min_length=1, max_length=MAX_POINTS)]


class TracksClear(Message):
    """Release these tracks, or all of them."""

    type: Literal["tracks.clear"] = "tracks.clear"
    event_id: EventId
    ids: Annotated[list[TrackId], Field(min_length=1, max_length=MAX_TRACKS)] | None = None


class AudioEnd(Message):
    """The utterance is complete: play what is queued without waiting for more."""

    type: Literal["audio.end"] = "audio.end"
    event_id: EventId


class AudioClear(Message):
    """Barge-in: drop all audio that has not been played."""

    type: Literal["audio.clear"] = "audio.clear"
    event_id: EventId


class Pause(Message):
    """Stop media time; the last frame stays."""

    type: Literal["pause"] = "pause"
    event_id: EventId


class Resume(Message):
    """Let media time go on after a pause."""

    type: Literal["resume"] = "resume"
    event_id: EventId


class Reset(Message):
    """Start the stream's content anew, from its seed or a new one."""

    type: Literal["reset"] = "reset"
    event_id: EventId
    seed: Seed | None = None


class SeedChange(Message):
    """Change the seed of what is generated from here on."""

    type: Literal["seed"] = "seed"
    event_id: EventId
    seed: Seed


class Ack(Message):
    """What the client shows now: media time, last video seq drawn, frames waiting and dropped."""

    type: Literal["ack"] = "ack"
    playhead_us: Annotated[float, Field(ge=0, le=2.0**53)]
    last_seq: Annotated[int, Field(ge=-1, le=2**32 - 1)]
    decode_queue: Annotated[int, Field(ge=0, le=100_000)] = 0
    dropped: Annotated[int, Field(ge=0, le=2**53)] = 0


class KeyRequest(Message):
    """Ask for a key frame."""

    type: Literal["key"] = "key"


class Ping(Message):
    """Ask for the server's clock; `t_ms` comes back unchanged."""

    type: Literal["ping"] = "ping"
    t_ms: float


Control = (
    Prompt
    | SceneChange
    | PictureChange
    | Tracks
    | TracksClear
    | AudioEnd
    | AudioClear
    | Pause
    | Resume
    | Reset
    | SeedChange
)
ClientMessage = (
    ClientHello
    | SessionCreate
    | SessionResume
    | SessionClose
    | Prompt
    | SceneChange
    | PictureChange
    | Tracks
    | TracksClear
    | AudioEnd
    | AudioClear
    | Pause
    | Resume
    | Reset
    | SeedChange
    | Ack
    | KeyRequest
    | Ping
)
