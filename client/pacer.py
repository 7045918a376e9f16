"""When what has come is due: media time on the loop's clock, moved only by stalls."""

from __future__ import annotations

import asyncio

SLACK_S = 0.02


class Pacer:
    """One clock for the picture and the sound of a viewer that cannot hold media back itself.

    The first media time that is asked for is now. What comes more than `slack_s` late moves all
    that follows by so much: media goes on as it was made, and never in a burst.
    """

    def __init__(self, slack_s: float = SLACK_S) -> None:
        self._slack_s = slack_s
        self._base_s: float | None = None
        self.stalls = 0

    async def wait(self, pts_us: float) -> None:
        """Return when this media time is due."""
        early_s = self.early_s(pts_us, asyncio.get_running_loop().time())
        if early_s > 0:
            await asyncio.sleep(early_s)

    def restart(self) -> None:
        """Take the next media time that is asked for as now."""
        self._base_s = None

    def due_s(self, pts_us: float) -> float:
        """When this media time is due, on the loop's clock; after the first `wait`."""
        return (self._base_s or 0.0) + pts_us / 1e6

    def early_s(self, pts_us: float, now_s: float) -> float:
        """How long it still is until this media time; at most 0 for one that is due."""
        due_s = pts_us / 1e6
        if self._base_s is None:
            self._base_s = now_s - due_s
        early_s = self._base_s + due_s - now_s
        if early_s < -self._slack_s:
            self._base_s -= early_s
            self.stalls += 1
            return 0.0
        return early_s
