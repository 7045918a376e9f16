"""A session as values, from which another server goes on with it.

Its chunks are not among them: they are made again from the stream's past. Times are relative, since
each machine has a clock of its own.
"""

from __future__ import annotations

from msgspec import Struct

from ..protocol.fields import AudioCodec, Codec
from .client_speech import SpeechRecord
from .control_queue import ControlRecord
from .media import PlaceRecord
from .video_limits import VideoLimits


class SessionRecord(Struct, frozen=True):
    """The state of a session behind `steps` steps that came back, of which `chunks` are shown.

    `answers` are messages, in JSON, that its client may not have been sent yet; `ring` are the
    chunks that were kept for a resume.
    """

    steps: int
    chunks: int
    frames: int
    generation: int
    scene: str | None
    prompt: str
    seed: int
    ignored_words: list[str]
    paused: bool
    lasted_s: float
    interrupted: int
    cut: bool
    audio_seq: int
    skipped_frames: int
    codec: Codec
    audio_codec: AudioCodec | None
    video: VideoLimits
    controls: ControlRecord
    speech: SpeechRecord
    ring: list[PlaceRecord]
    answers: list[str]
    extra_lead_us: float = 0.0
    """A larger lead than others have, for a way that is unsteady."""
