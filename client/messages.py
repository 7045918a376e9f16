"""The JSON messages of protocol version 1, as a client sees them.

Made by server/protocol/generate.py from the server's messages; do not edit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from .message_base import Bounds, Control, Incoming, Outgoing, read_message

Codec = Literal["h264", "vp8", "jpeg"]
AudioCodec = Literal["pcm", "opus"]
Phase = Literal["down", "move", "up", "anchor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientHello(Outgoing):
    """First message on a socket: what the client speaks and can decode, best codecs first."""

    event_id: str | None = None
    type: ClassVar[str] = "hello"
    versions: list[int]
    client: str = ""
    codecs: list[str]
    audio: bool = True
    audio_codecs: list[str] | None = None
    token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCreate(Outgoing):
    """Open a new stream; what is left out is the server's choice.

    `picture`, base64 of a JPEG, PNG or WebP file, is shown unless `scene` asks for another;
    `image`, likewise, is what the stream starts from or refers to. `audio_codec` and
    `audio_rate`, in samples per second, are those of the audio that the client will send, which
    comes back at that rate. No more than `lead_chunks` are made ahead of its playhead: less delay
    for one beside the server. `ticket` is that of `queued`, of a client that was lost while it
    waited. With `record` the client agrees that its stream is written down, where the server's
    operator permits it, and with `record_pictures` also what it shows; `session.ready` says what is
    done.
    """

    max_kbps: int | None = None
    max_width: int | None = None
    max_height: int | None = None
    max_fps: int | None = None
    event_id: str | None = None
    type: ClassVar[str] = "session.create"
    model: str | None = None
    scene: str | None = None
    picture: str | None = None
    image: str | None = None
    prompt: str | None = None
    seed: int | None = None
    audio_codec: AudioCodec = "pcm"
    audio_rate: int | None = None
    lead_chunks: float | None = None
    ticket: str | None = None
    record: bool = False
    record_pictures: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionResume(Outgoing):
    """Go on with a stream whose socket was lost; `last_seq` is the last video seq shown or -1."""

    event_id: str | None = None
    type: ClassVar[str] = "session.resume"
    session_id: str
    resume_token: str
    last_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionWatch(Outgoing):
    """Watch the stream of the share link whose token `hello` had, and nothing else."""

    event_id: str | None = None
    type: ClassVar[str] = "session.watch"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord(Outgoing):
    """Begin to record the stream as a film on the server, or end that; `session.recording` answers.

    Only where `limits.may_record` says that clients may.
    """

    event_id: str | None = None
    type: ClassVar[str] = "session.record"
    on: bool
    format: Literal["mp4", "webm"] = "mp4"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionShare(Outgoing):
    """Ask for a token by which others may watch this stream; `session.shared` is the answer.

    It is good for `expires_in_s`. With `revoke` those made before are not good any more, and who
    watches by them is sent away; then `expires_in_s` may be 0, for no new one. With `publish` it
    is one by which another may send sound and video to this stream, over WHIP, and not watch it.
    """

    event_id: str | None = None
    type: ClassVar[str] = "session.share"
    expires_in_s: int = 3600
    revoke: bool = False
    publish: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClose(Outgoing):
    """End the stream and free it at once."""

    event_id: str | None = None
    type: ClassVar[str] = "session.close"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionQuery(Outgoing):
    """Ask what is in force now; `session.info` is the answer."""

    event_id: str | None = None
    type: ClassVar[str] = "session.query"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt(Control):
    """Change the text prompt, blending over `transition_chunks` chunks."""

    at_us: float | None = None
    type: ClassVar[str] = "prompt"
    text: str
    transition_chunks: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneChange(Control):
    """Show another scene; this releases all tracks."""

    at_us: float | None = None
    type: ClassVar[str] = "scene"
    scene: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureChange(Control):
    """Show a picture of the client's own, base64 of a JPEG, PNG or WebP file, as an avatar."""

    at_us: float | None = None
    type: ClassVar[str] = "picture"
    picture: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageChange(Control):
    """Start anew from another image, base64 of a JPEG, PNG or WebP file, or refer to it."""

    at_us: float | None = None
    type: ClassVar[str] = "image"
    image: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraChange(Control):
    """Move the camera like this until told otherwise; what is left out does not move.

    `translation` is right, down and forward, in widths of the picture a second; `rotation` is
    pitch (up), yaw (right) and roll (clockwise), in degrees a second.
    """

    at_us: float | None = None
    type: ClassVar[str] = "camera"
    translation: tuple[float, float, float] | None = None
    rotation: tuple[float, float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackPoint(Outgoing):
    """One pointer event; `x`, `y` in 0..1 of the frame from its top left corner."""

    id: int
    phase: Phase
    x: float
    y: float
    bounds: ClassVar[Bounds] = {"id": (0, 65535), "x": (0, 1), "y": (0, 1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracks(Control):
    """Pointer events in the order they happened."""

    at_us: float | None = None
    type: ClassVar[str] = "tracks"
    points: list[TrackPoint]


@dataclass(frozen=True, slots=True, kw_only=True)
class TracksClear(Control):
    """Release these tracks, or all of them."""

    at_us: float | None = None
    type: ClassVar[str] = "tracks.clear"
    ids: list[int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioBegin(Control):
    """What is sent from here on is the utterance `item_id`, of which `speech` will tell."""

    type: ClassVar[str] = "audio.begin"
    item_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioEnd(Control):
    """The utterance is complete: play what is queued without waiting for more."""

    type: ClassVar[str] = "audio.end"
    item_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioClear(Control):
    """Barge-in: drop all audio that has not been played."""

    type: ClassVar[str] = "audio.clear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause(Control):
    """Stop media time; the last frame stays."""

    type: ClassVar[str] = "pause"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume(Control):
    """Let media time go on after a pause."""

    type: ClassVar[str] = "resume"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset(Control):
    """Start the stream's content anew, from its seed or a new one."""

    at_us: float | None = None
    type: ClassVar[str] = "reset"
    seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedChange(Control):
    """Change the seed of what is generated from here on."""

    at_us: float | None = None
    type: ClassVar[str] = "seed"
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoChange(Control):
    """Other bounds for the video from the next frame on; what is left out stays as it is."""

    max_kbps: int | None = None
    max_width: int | None = None
    max_height: int | None = None
    max_fps: int | None = None
    type: ClassVar[str] = "video"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack(Outgoing):
    """What the client shows now: media time, last video seq drawn, frames waiting and dropped."""

    event_id: str | None = None
    type: ClassVar[str] = "ack"
    playhead_us: float
    last_seq: int
    decode_queue: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRequest(Outgoing):
    """Ask for a key frame."""

    event_id: str | None = None
    type: ClassVar[str] = "key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping(Outgoing):
    """Ask for the server's clock; `t_ms` comes back unchanged."""

    event_id: str | None = None
    type: ClassVar[str] = "ping"
    t_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneInfo(Incoming):
    """A scene that a model can show; `thumbnail` is a path on this server."""

    name: str
    title: str
    kind: Literal["avatar", "scene"]
    thumbnail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptInput(Incoming):
    """Text that says what to show; `examples` are prompts that the model knows well."""

    examples: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechInput(Incoming):
    """Speech that the model hears, int16 mono at `sample_rate` Hz, and gives back with its frames.

    It is shown `lookahead_ms` after it was fed.
    """

    sample_rate: int = 16000
    lookahead_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TracksInput(Incoming):
    """Points that are dragged or held; at most `max_tracks` at a time."""

    max_tracks: int = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureGuide(Incoming):
    """How a face lies in a picture that a model can work with: a square of `size` pixels a side.

    `eyes`, from left to right, and `mouth` are their middles, x and y in 0..1.
    """

    size: int
    eyes: tuple[tuple[float, float], tuple[float, float]]
    mouth: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInput(Incoming):
    """A start or reference picture that is no face; `required`: no stream begins without one."""

    width: int
    height: int
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraInput(Incoming):
    """Moves of the camera: free in six degrees, or by keys as in a game."""

    kind: Literal["6dof", "wasd"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInput(Incoming):
    """Frames in, at `fps`, of `width` x `height` pixels."""

    width: int
    height: int
    fps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs(Incoming):
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription(Incoming):
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits(Incoming):
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerHello(Incoming):
    """Answer to the client's hello."""

    type: ClassVar[str] = "hello"
    event_id: str | None = None
    version: int
    server: str
    models: list[ModelDescription]
    codecs: list[Codec]
    audio_codecs: list[AudioCodec]
    limits: Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued(Incoming):
    """All places are taken, and the client waits in the line for one: it is `position`th.

    It should have one in `eta_s`; left out where nobody knows. Who is lost and sends `ticket` in
    `session.create` stands where it stood. Sent whenever that changes, and every few seconds.
    """

    type: ClassVar[str] = "queued"
    event_id: str | None = None
    position: int
    eta_s: float | None = None
    ticket: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionReady(Incoming):
    """The stream is open or resumed; its next video packet is a key frame.

    `width` and `height` are those of the pictures that are sent, `sample_rate` that of the sound;
    `audio_codec` is left out by a stream that sends none; `recorded`: what is asked of it is
    written down, with `recorded_pictures` also what its client shows.
    """

    type: ClassVar[str] = "session.ready"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldTrack(Incoming):
    """A track that is held; `anchor`: it is pinned."""

    id: int
    anchor: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraState(Incoming):
    """How the camera moves, in the units of the `camera` control."""

    translation: tuple[float, float, float]
    rotation: tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo(Incoming):
    """What is in force now: the answer to `session.query`.

    `waiting` names the controls that were not answered yet, in the order of their arrival, those
    that wait for their time last; `items` the utterances that are not over.
    """

    type: ClassVar[str] = "session.info"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionWatching(Incoming):
    """The stream is shown from here on; its first video packet is a key frame.

    The fields are those of `session.ready`; `viewers` watch it, this one among them.
    """

    type: ClassVar[str] = "session.watching"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionShared(Incoming):
    """By `share_token` others may come and watch until `expires_s`, in seconds since 1970.

    Both are left out where no new one was asked for.
    """

    type: ClassVar[str] = "session.shared"
    event_id: str | None = None
    share_token: str | None = None
    expires_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecording(Incoming):
    """Whether the stream is recorded as a film on the server, as `format`; `why` it has ended.

    `seconds` were recorded so far. Sent when that changes.
    """

    type: ClassVar[str] = "session.recording"
    event_id: str | None = None
    on: bool
    format: Literal["mp4", "webm"] | None = None
    seconds: float = 0.0
    why: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewers(Incoming):
    """So many watch the stream by a share link; sent when that changes."""

    type: ClassVar[str] = "viewers"
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFormat(Incoming):
    """The video goes on with another encoder: how to decode the packets of this generation.

    `message`, for people, says why if the encoder before it failed.
    """

    type: ClassVar[str] = "video.format"
    generation: int
    codec: Codec
    codec_string: str
    width: int
    height: int
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaClock(Incoming):
    """Over WebRTC: the video frame with this RTP timestamp shows `pts_us`; later ones likewise.

    RTP counts 90,000 a second. Said anew whenever media time stood still or went on late.
    """

    type: ClassVar[str] = "media.clock"
    rtp_timestamp: int
    pts_us: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied(Incoming):
    """A control takes effect with this chunk, at this media time."""

    type: ClassVar[str] = "applied"
    event_id: str
    chunk: int
    pts_us: float
    position_us: float | None = None
    ignored_words: list[str] | None = None
    scene: str | None = None
    item_id: str | None = None
    played_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedNotice(Incoming):
    """A control was refused and has no effect."""

    type: ClassVar[str] = "rejected"
    event_id: str
    code: str
    field: str | None = None
    message: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech(Incoming):
    """How an utterance with an `item_id` goes: it has started, has ended, or was cleared.

    It starts, ends or stops at `pts_us`, after `samples` of its own were played, which last
    `played_ms`.
    """

    type: ClassVar[str] = "speech"
    item_id: str
    phase: Literal["started", "ended", "cleared"]
    pts_us: float
    samples: int
    played_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class State(Incoming):
    """What the stream does now; sent when it changes."""

    type: ClassVar[str] = "state"
    received: bool
    talking: bool
    paused: bool
    queued_audio_ms: int
    scene: str | None = None
    ignored_words: list[str] | None = None
    pts_us: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamQuality(Incoming):
    """How much a stream gives up while the server is too slow for all; at `level` 0 nothing.

    `why` is for people.
    """

    level: int
    why: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamParked(Incoming):
    """The stream gave its place to others while it stood still, and goes on where it was.

    Once it should, it is `position`th of those who wait for a place, and should have one in
    `eta_s`; both are left out before that, and the second where nobody knows.
    """

    position: int | None = None
    eta_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats(Incoming):
    """Figures about the last second.

    `video_frames` of the client's video were given to the model so far, `video_dropped` were not;
    both are left out where the model takes none. `parked` is left out while it has a place.
    """

    type: ClassVar[str] = "stats"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong(Incoming):
    """Answer to ping with the server's clock, the one of the packets' `server_ms`."""

    type: ClassVar[str] = "pong"
    event_id: str | None = None
    t_ms: float
    server_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainingNotice(Incoming):
    """The server shuts down soon; the stream goes on until it closes the socket."""

    type: ClassVar[str] = "draining"
    retry_after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRestarting(Incoming):
    """A part of the model was lost and is started again; the stream then goes on by itself."""

    type: ClassVar[str] = "engine.restarting"
    retry_after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorNotice(Incoming):
    """Something went wrong that is no answer to a control; a fatal one closes the socket.

    `event_id` is that of the message at fault, `seq` that of the packet, if it could be read.
    """

    type: ClassVar[str] = "error"
    code: str
    message: str
    field: str | None = None
    hint: str | None = None
    event_id: str | None = None
    seq: int | None = None
    fatal: bool
    retry_after_s: float | None = None


ClientMessage = (
    ClientHello
    | SessionCreate
    | SessionResume
    | SessionWatch
    | SessionRecord
    | SessionShare
    | SessionClose
    | SessionQuery
    | Prompt
    | SceneChange
    | PictureChange
    | ImageChange
    | CameraChange
    | Tracks
    | TracksClear
    | AudioBegin
    | AudioEnd
    | AudioClear
    | Pause
    | Resume
    | Reset
    | SeedChange
    | VideoChange
    | Ack
    | KeyRequest
    | Ping
)
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
    | RejectedNotice
    | Speech
    | State
    | Stats
    | Pong
    | DrainingNotice
    | EngineRestarting
    | ErrorNotice
)

SERVER_MESSAGES: dict[str, type[ServerMessage]] = {
    "hello": ServerHello,
    "queued": Queued,
    "session.ready": SessionReady,
    "session.info": SessionInfo,
    "session.watching": SessionWatching,
    "session.shared": SessionShared,
    "session.recording": SessionRecording,
    "viewers": Viewers,
    "video.format": VideoFormat,
    "media.clock": MediaClock,
    "applied": Applied,
    "rejected": RejectedNotice,
    "speech": Speech,
    "state": State,
    "stats": Stats,
    "pong": Pong,
    "draining": DrainingNotice,
    "engine.restarting": EngineRestarting,
    "error": ErrorNotice,
}


def parse_server(text: str) -> ServerMessage | None:
    """Read a server's message; None for one of a type that version 1 has not yet.

    Raises ProtocolError for what is no message.
    """
    return read_message(text, SERVER_MESSAGES)
