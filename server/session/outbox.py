"""What waits to be sent to one client: messages first, then media in order, all bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from ..protocol.server_messages import Applied, Rejected, ServerMessage, Speech
from .media import AudioPiece, VideoFrame

MAX_MESSAGES = 512

Output = ServerMessage | AudioPiece | VideoFrame


class Outbox:
    """Messages overtake media, so an `applied` always comes before the chunk it names."""

    def __init__(self) -> None:
        self._messages: deque[ServerMessage] = deque()
        self._media: deque[AudioPiece | VideoFrame] = deque()

    @property
    def frames(self) -> int:
        """Video frames that wait."""
        return sum(isinstance(item, VideoFrame) for item in self._media)

    @property
    def media_waits(self) -> bool:
        """Whether the next thing to send is media."""
        return bool(self._media) and not self._messages

    @property
    def unsent_messages(self) -> int:
        """Messages that wait."""
        return len(self._messages)

    @property
    def answers(self) -> list[Applied | Rejected | Speech]:
        """What is told once, of what waits."""
        return [each for each in self._messages if isinstance(each, Applied | Rejected | Speech)]

    @property
    def next_frame(self) -> VideoFrame | None:
        """The video frame that is sent next, if one waits."""
        return next((item for item in self._media if isinstance(item, VideoFrame)), None)

    def say(self, message: ServerMessage) -> bool:
        """Queue a message; false when the client has left too many unread."""
        if len(self._messages) >= MAX_MESSAGES:
            return False
        self._messages.append(message)
        return True

    def show(self, media: Iterable[AudioPiece | VideoFrame]) -> None:
        """Queue generated media; the caller bounds how much it generates."""
        self._media.extend(media)

    def pop(self) -> Output | None:
        """The next thing to send, or None."""
        if self._messages:
            return self._messages.popleft()
        return self._media.popleft() if self._media else None

    def mute(self) -> None:
        """Replace waiting sound by silence."""
        for place, item in enumerate(self._media):
            if isinstance(item, AudioPiece):
                silence = np.zeros_like(item.samples)
                self._media[place] = replace(item, samples=silence, discontinuity=True)

    def drop_media(self) -> None:
        """Keep only what is said."""
        self._media.clear()

    def drop_connection(self) -> None:
        """Keep only the answers, and what is told once, that the next connection still wants."""
        self._media.clear()
        self._messages = deque(self.answers)
