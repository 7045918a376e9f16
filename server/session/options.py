"""What a stream is opened with."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...models.contract import ModelInfo
from ..protocol.limits import MAX_KBPS
from .playhead import EXTRAPOLATE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """Settings of one stream that last as long as it."""

    session_id: str
    resume_token: str
    seed: int
    scene: str
    prompt: str
    has_picture: bool = False
    audio: bool = True
    max_kbps: int = MAX_KBPS
    max_lead_chunks: float = 1.7
    max_under_way: int = 1
    """Chunks that may be begun and not finished; a pipeline has several at once."""
    grace_s: float = 30.0
    idle_timeout_s: float = 60.0

    def ring_chunks(self, info: ModelInfo) -> int:
        """Chunks kept for a resume: the lead, and what ran on after the client was lost."""
        beyond_s = EXTRAPOLATE_S + 0.5
        return math.ceil(self.max_lead_chunks + beyond_s * 1e6 / info.chunk_us) + 1
