"""The JSON messages of protocol version 1, both directions, as tagged unions.

These classes are the source of the JSON Schema and of the AsyncAPI document.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from .limits import (
    MAX_EVENT_ID_CHARS,
    MAX_KBPS,
    MAX_NAME_CHARS,
    MAX_POINTS,
    MAX_PROMPT_CHARS,
    MAX_SEED,
    MAX_TOKEN_CHARS,
    MAX_TRACK_ID,
    MAX_TRACKS,
    MAX_TRANSITION_CHUNKS,
    MIN_KBPS,
)

Codec = Literal["h264", "vp8", "jpeg"]
ControlName = Literal["prompt", "audio", "tracks", "scene", "seed"]
EventId = Annotated[str, Field(min_length=1, max_length=MAX_EVENT_ID_CHARS)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
TrackId = Annotated[int, Field(ge=0, le=MAX_TRACK_ID)]
Text = Annotated[str, Field(max_length=MAX_PROMPT_CHARS)]


class Message(BaseModel):
    """Base of all messages: unknown fields are errors and nothing is converted silently."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ClientHello(Message):
    """First message on a socket: what the client speaks and can decode, best codec first."""

    type: Literal["hello"] = "hello"
    versions: Annotated[list[int], Field(min_length=1, max_length=16)]
    client: Annotated[str, Field(max_length=MAX_NAME_CHARS)] = ""
    codecs: Annotated[list[Name], Field(min_length=1, max_length=16)]
    audio: bool = True
    token: Annotated[str, Field(max_length=MAX_TOKEN_CHARS)] | None = None


class SessionCreate(Message):
    """Open a new stream; what is left out is the server's choice."""

    type: Literal["session.create"] = "session.create"
    model: Name | None = None
    scene: Name | None = None
    prompt: Text | None = None
    seed: Seed | None = None
    max_kbps: Annotated[int, Field(ge=MIN_KBPS, le=MAX_KBPS)] | None = None


class SessionResume(Message):
    """Go on with a stream whose socket was lost; `last_seq` is the last video seq shown or -1."""

    type: Literal["session.resume"] = "session.resume"
    session_id: Name
    resume_token: Annotated[str, Field(min_length=1, max_length=MAX_TOKEN_CHARS)]
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


class SceneInfo(Message):
    """A scene that a model can show; `thumbnail` is a path on this server."""

    name: str
    title: str
    kind: Literal["avatar", "scene"]
    thumbnail: str | None = None


class ModelDescription(Message):
    """What a client must know of a model before it opens a stream."""

    name: str
    title: str
    width: int
    height: int
    fps: int
    chunk_frames: int
    sample_rate: int
    lookahead_ms: int
    scenes: list[SceneInfo]
    prompts: list[str]
    controls: list[ControlName]


class Limits(Message):
    """The bounds that this server enforces."""

    max_text_bytes: int
    max_audio_samples: int
    max_queued_audio_ms: int
    max_prompt_chars: int
    max_points: int
    max_tracks: int
    messages_per_s: int
    ack_interval_ms: int


class ServerHello(Message):
    """Answer to the client's hello."""

    type: Literal["hello"] = "hello"
    version: int
    server: str
    models: list[ModelDescription]
    codecs: list[Codec]
    limits: Limits


class SessionReady(Message):
    """The stream is open or resumed; its next video packet is a key frame."""

    type: Literal["session.ready"] = "session.ready"
    session_id: str
    resume_token: str
    model: str
    scene: str
    prompt: str
    seed: int
    width: int
    height: int
    fps: int
    chunk_frames: int
    sample_rate: int
    lookahead_ms: int
    codec: Codec
    codec_string: str
    generation: int
    next_seq: int
    resumed: bool
    grace_s: float


class Applied(Message):
    """A control takes effect with this chunk, at this media time."""

    type: Literal["applied"] = "applied"
    event_id: str
    chunk: int
    pts_us: float
    position_us: float | None = None
    ignored_words: list[str] | None = None
    scene: str | None = None


class Rejected(Message):
    """A control was refused and has no effect."""

    type: Literal["rejected"] = "rejected"
    event_id: str
    code: str
    field: str | None = None
    message: str
    cure: str


class State(Message):
    """What the stream does now; sent when it changes."""

    type: Literal["state"] = "state"
    received: bool
    talking: bool
    paused: bool
    queued_audio_ms: int
    scene: str
    pts_us: float


class Stats(Message):
    """Figures about the last second."""

    type: Literal["stats"] = "stats"
    chunk: int
    fps: float
    lead_ms: float
    chunk_time_ms: float
    rtf: float
    kbps: float
    target_kbps: float
    skipped_frames: int
    sessions: int
    queued_audio_ms: int


class Pong(Message):
    """Answer to ping with the server's clock, the one of the packets' `server_ms`."""

    type: Literal["pong"] = "pong"
    t_ms: float
    server_ms: float


class DrainingNotice(Message):
    """The server shuts down soon; the stream goes on until it closes the socket."""

    type: Literal["draining"] = "draining"
    retry_after_s: float


class ErrorMessage(Message):
    """Something went wrong that answers no event_id; a fatal one closes the socket."""

    type: Literal["error"] = "error"
    code: str
    message: str
    field: str | None = None
    cure: str | None = None
    fatal: bool
    retry_after_s: float | None = None


ServerMessage = (
    ServerHello
    | SessionReady
    | Applied
    | Rejected
    | State
    | Stats
    | Pong
    | DrainingNotice
    | ErrorMessage
)
