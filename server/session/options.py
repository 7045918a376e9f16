"""What a stream is opened with."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ...models.contract import ModelInfo, StreamRequest
from ..protocol.fields import AudioCodec
from ..protocol.limits import AUDIO_RATE, MAX_KBPS
from .playhead_estimate import EXTRAPOLATE_S
from .video_limits import VideoLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """Settings of one stream that last as long as it.

    `request` is what the model was started with; `audio` whether sound is sent; `audio_codec` and
    `audio_rate`, in samples per second, are those of what the client sends.
    """

    session_id: str
    resume_token: str = field(repr=False)
    request: StreamRequest
    audio: bool = True
    audio_codec: AudioCodec = "pcm"
    audio_rate: int = AUDIO_RATE
    max_kbps: int = MAX_KBPS
    """The highest video bitrate that the server permits."""
    video: VideoLimits = field(default_factory=VideoLimits)
    """The bounds that the client starts with."""
    max_lead_chunks: float = 1.7
    max_under_way: int = 1
    """Chunks that may be begun and not finished; a pipeline has several at once."""
    grace_s: float = 30.0
    idle_timeout_s: float = 60.0
    max_duration_s: float | None = None
    """How long the stream may last in all; None: as long as its viewer likes."""

    def ring_frames(self, info: ModelInfo) -> int:
        """Frames kept for a resume: the lead, and what ran on after the client was lost."""
        beyond_s = EXTRAPOLATE_S + 0.5
        # a chunk more for a stream that begins early, another one for what is under way
        return math.ceil((self.max_lead_chunks + 2) * info.chunk_frames + beyond_s * info.fps)
