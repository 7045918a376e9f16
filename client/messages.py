"""The JSON messages of protocol version 1, as a client sees them.

A client ignores fields that it does not know, so that a newer server may add some; it sends
exactly the fields below.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from .errors import ProtocolError

Phase = Literal["down", "move", "up", "anchor"]
Codec = Literal["h264", "vp8", "jpeg"]


class Outgoing(BaseModel):
    """Base of what a client sends; fields that are None stay out of the message."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def to_json(self) -> str:
        """The message as the text of one WebSocket frame."""
        return self.model_dump_json(exclude_none=True)


class ClientHello(Outgoing):
    """First message on a socket: what the client speaks and can decode, best codec first."""

    type: Literal["hello"] = "hello"
    versions: list[int] = [1]
    client: str | None = None
    codecs: list[Codec]
    audio: bool = True
    token: str | None = None


class SessionCreate(Outgoing):
    """Open a new stream; what is left out is the server's choice."""

    type: Literal["session.create"] = "session.create"
    model: str | None = None
    scene: str | None = None
    picture: str | None = None
    prompt: str | None = None
    seed: int | None = None
    max_kbps: int | None = None


class SessionResume(Outgoing):
    """Go on with a stream whose socket was lost; `last_seq` is the last video seq shown or -1."""

    type: Literal["session.resume"] = "session.resume"
    session_id: str
    resume_token: str
    last_seq: int


class SessionClose(Outgoing):
    """End the stream and free it at once."""

    type: Literal["session.close"] = "session.close"


class Control(Outgoing):
    """Base of what the server answers with `applied` or `rejected`."""

    event_id: str


class Prompt(Control):
    """Change the text prompt, blending over `transition_chunks` chunks."""

    type: Literal["prompt"] = "prompt"
    text: str
    transition_chunks: int | None = None


class SceneChange(Control):
    """Show another scene."""

    type: Literal["scene"] = "scene"
    scene: str


class PictureChange(Control):
    """Show a picture of one's own, base64 of a JPEG, PNG or WebP file, as an avatar."""

    type: Literal["picture"] = "picture"
    picture: str


class TrackPoint(Outgoing):
    """One pointer event; `x`, `y` in 0..1 of the frame from its top left corner."""

    id: Annotated[int, Field(ge=0)]
    phase: Phase
    x: Annotated[float, Field(ge=0, le=1)]
    y: Annotated[float, Field(ge=0, le=1)]


class Tracks(Control):
    """Pointer events in the order they happened."""

    type: Literal["tracks"] = "tracks"
    points: list[TrackPoint]


class TracksClear(Control):
    """Release these tracks, or all of them."""

    type: Literal["tracks.clear"] = "tracks.clear"
    ids: list[int] | None = None


class AudioEnd(Control):
    """The utterance is complete: play what is queued without waiting for more."""

    type: Literal["audio.end"] = "audio.end"


class AudioClear(Control):
    """Barge-in: drop all speech that has not been played."""

    type: Literal["audio.clear"] = "audio.clear"


class Pause(Control):
    """Stop media time; the last frame stays."""

    type: Literal["pause"] = "pause"


class Resume(Control):
    """Let media time go on after a pause."""

    type: Literal["resume"] = "resume"


class Reset(Control):
    """Start the stream's content anew, from its seed or a new one."""

    type: Literal["reset"] = "reset"
    seed: int | None = None


class SeedChange(Control):
    """Change the seed of what is generated from here on."""

    type: Literal["seed"] = "seed"
    seed: int


class Ack(Outgoing):
    """What is shown now: media time, last video seq shown, frames waiting, frames dropped."""

    type: Literal["ack"] = "ack"
    playhead_us: float
    last_seq: int
    decode_queue: int | None = None
    dropped: int | None = None


class KeyRequest(Outgoing):
    """Ask for a key frame."""

    type: Literal["key"] = "key"


class Ping(Outgoing):
    """Ask for the server's clock; `t_ms` comes back unchanged."""

    type: Literal["ping"] = "ping"
    t_ms: float


ClientMessage = Annotated[
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
    | Ping,
    Field(discriminator="type"),
]


class Incoming(BaseModel):
    """Base of what the server sends."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class SceneInfo(Incoming):
    """A scene that a model can show; `thumbnail` is a path on the server."""

    name: str
    title: str
    kind: Literal["avatar", "scene"]
    thumbnail: str | None = None


class PictureGuide(Incoming):
    """How a face lies in a picture that the model can work with; places are x, y in 0..1."""

    size: int
    eyes: list[list[float]]
    mouth: list[float]


class ModelDescription(Incoming):
    """What a client must know of a model before it opens a stream."""

    name: str
    width: int
    height: int
    fps: int
    chunk_frames: int
    sample_rate: int
    scenes: list[SceneInfo]
    prompts: list[str]
    controls: list[str]
    picture: PictureGuide | None = None


class ServerHello(Incoming):
    """Answer to the client's hello."""

    type: Literal["hello"]
    version: int
    server: str
    models: list[ModelDescription]
    codecs: list[str]


class SessionReady(Incoming):
    """The stream is open or resumed; the next video packet has seq `next_seq`, a key frame."""

    type: Literal["session.ready"]
    session_id: str
    resume_token: str
    model: str
    scene: str
    prompt: str
    seed: int
    has_picture: bool = False
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


class Applied(Incoming):
    """A control takes effect with this chunk, at this media time."""

    type: Literal["applied"]
    event_id: str
    chunk: int
    pts_us: float
    position_us: float | None = None
    ignored_words: list[str] | None = None
    scene: str | None = None


class RejectedNotice(Incoming):
    """A control was refused and has no effect."""

    type: Literal["rejected"]
    event_id: str
    code: str
    field: str | None = None
    message: str
    hint: str


class State(Incoming):
    """What the stream does now; `received` is about your speech, `talking` about the picture."""

    type: Literal["state"]
    received: bool
    talking: bool
    paused: bool
    queued_audio_ms: int
    scene: str
    pts_us: float


class Stats(Incoming):
    """Figures about the last second; `rtf` is chunk time over the time the chunk lasts."""

    type: Literal["stats"]
    chunk: int
    fps: float
    lead_ms: float
    chunk_time_ms: float
    rtf: float
    kbps: float
    skipped_frames: int
    sessions: int
    queued_audio_ms: int


class Pong(Incoming):
    """Answer to ping with the server's clock."""

    type: Literal["pong"]
    t_ms: float
    server_ms: float


class DrainingNotice(Incoming):
    """The server shuts down soon."""

    type: Literal["draining"]
    retry_after_s: float


class EngineRestarting(Incoming):
    """A part of the model is started again; the stream goes on by itself."""

    type: Literal["engine.restarting"]
    retry_after_s: float


class ErrorNotice(Incoming):
    """Something went wrong that answers no event_id; a fatal one closes the socket."""

    type: Literal["error"]
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
    | RejectedNotice
    | State
    | Stats
    | Pong
    | DrainingNotice
    | EngineRestarting
    | ErrorNotice
)


def parse_server(text: str) -> ServerMessage:
    """Read a server's message. Raises ProtocolError for what version 1 does not know."""
    try:
        return _SERVER.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "message"
        raise ProtocolError(
            f"unreadable message from the server: {where}: {first['msg']}"
        ) from error


_SERVER: TypeAdapter[ServerMessage] = TypeAdapter(
    Annotated[ServerMessage, Field(discriminator="type")]
)
