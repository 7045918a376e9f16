"""The JSON messages that the server sends, as a tagged union."""

from __future__ import annotations

from typing import Literal

from ...models.contract import (
    CameraInput,
    ImageInput,
    PictureGuide,
    PromptInput,
    SpeechInput,
    TracksInput,
    VideoInput,
)
from .fields import Codec, Message


class SceneInfo(Message):
    """A scene that a model can show; `thumbnail` is a path on this server."""

    name: str
    title: str
    kind: Literal["avatar", "scene"]
    thumbnail: str | None = None


class Inputs(Message):
    """What a model accepts: `ModelInputs` with the scenes as clients see them.

    An input that is left out is not taken.
    """

    scenes: list[SceneInfo] | None = None
    prompt: PromptInput | None = None
    speech: SpeechInput | None = None
    tracks: TracksInput | None = None
    picture: PictureGuide | None = None
    image: ImageInput | None = None
    camera: CameraInput | None = None
    video: VideoInput | None = None
    seed: bool


class ModelDescription(Message):
    """What a client must know of a model before it opens a stream.

    `chunk_frames` is the usual number; what counts is how many frames come. Without `sample_rate`
    the model gives no sound.
    """

    name: str
    title: str
    width: int
    height: int
    fps: int
    chunk_frames: int
    sample_rate: int | None = None
    inputs: Inputs


class Limits(Message):
    """The bounds that this server enforces."""

    max_text_bytes: int
    max_picture_bytes: int
    max_audio_ms: int
    max_queued_audio_ms: int
    max_prompt_chars: int
    max_points: int
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
    scene: str | None = None
    prompt: str
    seed: int
    has_picture: bool
    width: int
    height: int
    fps: int
    chunk_frames: int
    sample_rate: int | None = None
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
    hint: str


class State(Message):
    """What the stream does now; sent when it changes."""

    type: Literal["state"] = "state"
    received: bool
    talking: bool
    paused: bool
    queued_audio_ms: int
    scene: str | None = None
    ignored_words: list[str] | None = None
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


class EngineRestarting(Message):
    """A part of the model was lost and is started again; the stream then goes on by itself."""

    type: Literal["engine.restarting"] = "engine.restarting"
    retry_after_s: float


class ErrorMessage(Message):
    """Something went wrong that answers no event_id; a fatal one closes the socket."""

    type: Literal["error"] = "error"
    code: str
    message: str
    field: str | None = None
    hint: str | None = None
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
    | EngineRestarting
    | ErrorMessage
)
