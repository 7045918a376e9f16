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
from .fields import AudioCodec, Codec, Message, MovieKind


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

    `chunk_frames` is the usual number; what counts is how many frames come. `sample_rate` is that
    at which it hears; without one it gives no sound.
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
    max_frame_bytes: int
    max_audio_ms: int
    max_queued_audio_ms: int
    max_prompt_chars: int
    max_points: int
    max_items: int
    max_scheduled: int
    max_viewers: int = 0
    clip_s: float = 0.0
    may_record: bool = False
    messages_per_s: int
    ack_interval_ms: int


class ServerHello(Message):
    """Answer to the client's hello."""

    type: Literal["hello"] = "hello"
    event_id: str | None = None
    version: int
    server: str
    models: list[ModelDescription]
    codecs: list[Codec]
    audio_codecs: list[AudioCodec]
    limits: Limits


class Queued(Message):
    """All places are taken, and the client waits in the line for one: it is `position`th.

    It should have one in `eta_s`; left out where nobody knows. Who is lost and sends `ticket` in
    `session.create` stands where it stood. Sent whenever that changes, and every few seconds.
    """

    type: Literal["queued"] = "queued"
    event_id: str | None = None
    position: int
    eta_s: float | None = None
    ticket: str


class SessionReady(Message):
    """The stream is open or resumed; its next video packet is a key frame.

    `width` and `height` are those of the pictures that are sent, `sample_rate` that of the sound;
    `audio_codec` is left out by a stream that sends none; `recorded`: what is asked of it is
    written down, with `recorded_pictures` also what its client shows.
    """

    type: Literal["session.ready"] = "session.ready"
    event_id: str | None = None
    session_id: str
    resume_token: str
    model: str
    scene: str | None = None
    prompt: str
    seed: int
    has_picture: bool
    has_image: bool
    width: int
    height: int
    fps: int
    chunk_frames: int
    sample_rate: int | None = None
    codec: Codec
    codec_string: str
    audio_codec: AudioCodec | None = None
    generation: int
    next_seq: int
    resumed: bool
    grace_s: float
    recorded: bool = False
    recorded_pictures: bool = False


class SessionWatching(Message):
    """The stream is shown from here on; its first video packet is a key frame.

    The fields are those of `session.ready`; `viewers` watch it, this one among them.
    """

    type: Literal["session.watching"] = "session.watching"
    event_id: str | None = None
    session_id: str
    model: str
    width: int
    height: int
    fps: int
    chunk_frames: int
    sample_rate: int | None = None
    codec: Codec
    codec_string: str
    audio_codec: AudioCodec | None = None
    generation: int
    viewers: int


class SessionShared(Message):
    """By `share_token` others may come and watch until `expires_s`, in seconds since 1970.

    Both are left out where no new one was asked for.
    """

    type: Literal["session.shared"] = "session.shared"
    event_id: str | None = None
    share_token: str | None = None
    expires_s: int | None = None


class SessionRecording(Message):
    """Whether the stream is recorded as a film on the server, as `format`; `why` it has ended.

    `seconds` were recorded so far. Sent when that changes.
    """

    type: Literal["session.recording"] = "session.recording"
    event_id: str | None = None
    on: bool
    format: MovieKind | None = None
    seconds: float = 0.0
    why: str | None = None


class Viewers(Message):
    """So many watch the stream by a share link; sent when that changes."""

    type: Literal["viewers"] = "viewers"
    count: int


class VideoFormat(Message):
    """The video goes on with another encoder: how to decode the packets of this generation.

    `message`, for people, says why if the encoder before it failed.
    """

    type: Literal["video.format"] = "video.format"
    generation: int
    codec: Codec
    codec_string: str
    width: int
    height: int
    message: str | None = None


class MediaClock(Message):
    """Over WebRTC: the video frame with this RTP timestamp shows `pts_us`; later ones likewise.

    RTP counts 90,000 a second. Said anew whenever media time stood still or went on late.
    """

    type: Literal["media.clock"] = "media.clock"
    rtp_timestamp: int
    pts_us: float


class HeldTrack(Message):
    """A track that is held; `anchor`: it is pinned."""

    id: int
    anchor: bool


class CameraState(Message):
    """How the camera moves, in the units of the `camera` control."""

    translation: tuple[float, float, float]
    rotation: tuple[float, float, float]


class SessionInfo(Message):
    """What is in force now: the answer to `session.query`.

    `waiting` names the controls that were not answered yet, in the order of their arrival, those
    that wait for their time last; `items` the utterances that are not over.
    """

    type: Literal["session.info"] = "session.info"
    event_id: str | None = None
    session_id: str
    model: str
    scene: str | None = None
    prompt: str
    seed: int
    has_picture: bool
    has_image: bool
    paused: bool
    tracks: list[HeldTrack]
    camera: CameraState | None = None
    width: int
    height: int
    fps: int
    max_fps: int
    max_kbps: int
    target_kbps: int
    codec: Codec
    audio_codec: AudioCodec | None = None
    audio_rate: int
    generation: int
    next_seq: int
    pts_us: float
    queued_audio_ms: int
    items: list[str]
    waiting: list[str]
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
    item_id: str | None = None
    played_ms: float | None = None


class Rejected(Message):
    """A control was refused and has no effect."""

    type: Literal["rejected"] = "rejected"
    event_id: str
    code: str
    field: str | None = None
    message: str
    hint: str


SpeechPhase = Literal["started", "ended", "cleared"]


class Speech(Message):
    """How an utterance with an `item_id` goes: it has started, has ended, or was cleared.

    It starts, ends or stops at `pts_us`, after `samples` of its own were played, which last
    `played_ms`.
    """

    type: Literal["speech"] = "speech"
    item_id: str
    phase: SpeechPhase
    pts_us: float
    samples: int
    played_ms: float


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


class StreamQuality(Message):
    """How much a stream gives up while the server is too slow for all; at `level` 0 nothing.

    `why` is for people.
    """

    level: int
    why: str | None = None


class StreamParked(Message):
    """The stream gave its place to others while it stood still, and goes on where it was.

    Once it should, it is `position`th of those who wait for a place, and should have one in
    `eta_s`; both are left out before that, and the second where nobody knows.
    """

    position: int | None = None
    eta_s: float | None = None


class Stats(Message):
    """Figures about the last second.

    `video_frames` of the client's video were given to the model so far, `video_dropped` were not;
    both are left out where the model takes none. `parked` is left out while it has a place.
    """

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
    video_frames: int | None = None
    video_dropped: int | None = None
    quality: StreamQuality | None = None
    parked: StreamParked | None = None


class Pong(Message):
    """Answer to ping with the server's clock, the one of the packets' `server_ms`."""

    type: Literal["pong"] = "pong"
    event_id: str | None = None
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
    """Something went wrong that is no answer to a control; a fatal one closes the socket.

    `event_id` is that of the message at fault, `seq` that of the packet, if it could be read.
    """

    type: Literal["error"] = "error"
    code: str
    message: str
    field: str | None = None
    hint: str | None = None
    event_id: str | None = None
    seq: int | None = None
    fatal: bool
    retry_after_s: float | None = None


ServerMessage = (
    ServerHello
    | Queued
    | SessionReady
    | SessionInfo
    | SessionWatching
    | SessionShared
    | SessionRecording
    | Viewers
    | VideoFormat
    | MediaClock
    | Applied
    | Rejected
    | Speech
    | State
    | Stats
    | Pong
    | DrainingNotice
    | EngineRestarting
    | ErrorMessage
)
