"""The JSON messages that a client sends, as a tagged union.

These classes and those of `server_messages` are the source of the JSON Schema and of AsyncAPI.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .fields import (
    WHOLE,
    AudioCodec,
    EventId,
    ItemId,
    Kbps,
    MediaTime,
    Message,
    MovieKind,
    Name,
    PictureText,
    Rotation,
    Seed,
    Text,
    TrackId,
    Translation,
)
from .limits import (
    MAX_AUDIO_RATE,
    MAX_FPS,
    MAX_LEAD_CHUNKS,
    MAX_NAME_CHARS,
    MAX_POINTS,
    MAX_SHARE_S,
    MAX_SIDE,
    MAX_TOKEN_CHARS,
    MAX_TRACKS,
    MAX_TRANSITION_CHUNKS,
    MIN_AUDIO_RATE,
    MIN_LEAD_CHUNKS,
    MIN_SIDE,
)


class Request(Message):
    """What is no control: its `event_id`, if it has one, comes back in an error about it."""

    event_id: EventId | None = None


class Scheduled(Message):
    """A control that takes effect at the start of a chunk: the next, or one of its own choice.

    That is the first chunk that starts at or after `at_us`, in media time.
    """

    event_id: EventId
    at_us: MediaTime | None = None


class VideoBounds(Message):
    """What the client wants of the video at most: pixels a side, frames and kilobits a second.

    Pictures are made smaller in the same proportion and never larger.
    """

    max_kbps: Kbps | None = None
    max_width: Annotated[int, Field(ge=MIN_SIDE, le=MAX_SIDE), WHOLE] | None = None
    max_height: Annotated[int, Field(ge=MIN_SIDE, le=MAX_SIDE), WHOLE] | None = None
    max_fps: Annotated[int, Field(ge=1, le=MAX_FPS), WHOLE] | None = None


class ClientHello(Request):
    """First message on a socket: what the client speaks and can decode, best codecs first."""

    type: Literal["hello"] = "hello"
    versions: Annotated[list[Annotated[int, WHOLE]], Field(min_length=1, max_length=16)]
    client: Annotated[str, Field(max_length=MAX_NAME_CHARS)] = ""
    codecs: Annotated[list[Name], Field(min_length=1, max_length=16)]
    audio: bool = True
    audio_codecs: Annotated[list[Name], Field(min_length=1, max_length=16)] | None = None
    token: Annotated[str, Field(max_length=MAX_TOKEN_CHARS)] | None = Field(
        default=None, repr=False
    )


class SessionCreate(Request, VideoBounds):
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

    type: Literal["session.create"] = "session.create"
    model: Name | None = None
    scene: Name | None = None
    picture: PictureText | None = None
    image: PictureText | None = None
    prompt: Text | None = None
    seed: Seed | None = None
    audio_codec: AudioCodec = "pcm"
    audio_rate: Annotated[int, Field(ge=MIN_AUDIO_RATE, le=MAX_AUDIO_RATE), WHOLE] | None = None
    lead_chunks: Annotated[float, Field(ge=MIN_LEAD_CHUNKS, le=MAX_LEAD_CHUNKS)] | None = None
    ticket: Name | None = None
    record: bool = False
    record_pictures: bool = False


class SessionResume(Request):
    """Go on with a stream whose socket was lost; `last_seq` is the last video seq shown or -1."""

    type: Literal["session.resume"] = "session.resume"
    session_id: Name
    resume_token: Annotated[str, Field(min_length=1, max_length=MAX_TOKEN_CHARS, repr=False)]
    last_seq: Annotated[int, Field(ge=-1, le=2**32 - 1), WHOLE]


class SessionWatch(Request):
    """Watch the stream of the share link whose token `hello` had, and nothing else."""

    type: Literal["session.watch"] = "session.watch"


class SessionShare(Request):
    """Ask for a token by which others may watch this stream; `session.shared` is the answer.

    It is good for `expires_in_s`. With `revoke` those made before are not good any more, and who
    watches by them is sent away; then `expires_in_s` may be 0, for no new one. With `publish` it
    is one by which another may send sound and video to this stream, over WHIP, and not watch it.
    """

    type: Literal["session.share"] = "session.share"
    expires_in_s: Annotated[int, Field(ge=0, le=MAX_SHARE_S), WHOLE] = 3600
    revoke: bool = False
    publish: bool = False


class SessionRecord(Request):
    """Begin to record the stream as a film on the server, or end that; `session.recording` answers.

    Only where `limits.may_record` says that clients may.
    """

    type: Literal["session.record"] = "session.record"
    on: bool
    format: MovieKind = "mp4"


class SessionClose(Request):
    """End the stream and free it at once."""

    type: Literal["session.close"] = "session.close"


class Prompt(Scheduled):
    """Change the text prompt, blending over `transition_chunks` chunks."""

    type: Literal["prompt"] = "prompt"
    text: Text
    transition_chunks: Annotated[int, Field(ge=0, le=MAX_TRANSITION_CHUNKS), WHOLE] = 0


class SceneChange(Scheduled):
    """Show another scene; this releases all tracks."""

    type: Literal["scene"] = "scene"
    scene: Name


class PictureChange(Scheduled):
    """Show a picture of the client's own, base64 of a JPEG, PNG or WebP file, as an avatar."""

    type: Literal["picture"] = "picture"
    picture: PictureText


class ImageChange(Scheduled):
    """Start anew from another image, base64 of a JPEG, PNG or WebP file, or refer to it."""

    type: Literal["image"] = "image"
    image: PictureText


class CameraChange(Scheduled):
    """Move the camera like this until told otherwise; what is left out does not move.

    `translation` is right, down and forward, in widths of the picture a second; `rotation` is
    pitch (up), yaw (right) and roll (clockwise), in degrees a second.
    """

    type: Literal["camera"] = "camera"
    translation: Translation | None = None
    rotation: Rotation | None = None


class TrackPoint(Message):
    """One pointer event; `x`, `y` in 0..1 of the frame from its top left corner."""

    id: TrackId
    phase: Literal["down", "move", "up", "anchor"]
    x: Annotated[float, Field(ge=0, le=1)]
    y: Annotated[float, Field(ge=0, le=1)]


class Tracks(Scheduled):
    """Pointer events in the order they happened."""

    type: Literal["tracks"] = "tracks"
    points: Annotated[list[TrackPoint], Field(min_length=1, max_length=MAX_POINTS)]


class TracksClear(Scheduled):
    """Release these tracks, or all of them."""

    type: Literal["tracks.clear"] = "tracks.clear"
    ids: Annotated[list[TrackId], Field(min_length=1, max_length=MAX_TRACKS)] | None = None


class AudioBegin(Message):
    """What is sent from here on is the utterance `item_id`, of which `speech` will tell."""

    type: Literal["audio.begin"] = "audio.begin"
    event_id: EventId
    item_id: ItemId


class AudioEnd(Message):
    """The utterance is complete: play what is queued without waiting for more."""

    type: Literal["audio.end"] = "audio.end"
    event_id: EventId
    item_id: ItemId | None = None


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


class Reset(Scheduled):
    """Start the stream's content anew, from its seed or a new one."""

    type: Literal["reset"] = "reset"
    seed: Seed | None = None


class SeedChange(Scheduled):
    """Change the seed of what is generated from here on."""

    type: Literal["seed"] = "seed"
    seed: Seed


class VideoChange(VideoBounds):
    """Other bounds for the video from the next frame on; what is left out stays as it is."""

    type: Literal["video"] = "video"
    event_id: EventId


class SessionQuery(Request):
    """Ask what is in force now; `session.info` is the answer."""

    type: Literal["session.query"] = "session.query"


class Ack(Request):
    """What the client shows now: media time, last video seq drawn, frames waiting and dropped."""

    type: Literal["ack"] = "ack"
    playhead_us: MediaTime
    last_seq: Annotated[int, Field(ge=-1, le=2**32 - 1), WHOLE]
    decode_queue: Annotated[int, Field(ge=0, le=100_000), WHOLE] = 0
    dropped: Annotated[int, Field(ge=0, le=2**53), WHOLE] = 0


class KeyRequest(Request):
    """Ask for a key frame."""

    type: Literal["key"] = "key"


class Ping(Request):
    """Ask for the server's clock; `t_ms` comes back unchanged."""

    type: Literal["ping"] = "ping"
    t_ms: Annotated[float, Field(ge=-(2.0**53), le=2.0**53)]


Control = (
    Prompt
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
)
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
