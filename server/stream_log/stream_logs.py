"""The logs of a server's streams: where they are, and what clients agreed to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .consents import Consents
from .log_folder import LogFolder


@dataclass(frozen=True, slots=True)
class StreamLogs:
    """What the models' threads write, and the event loop asks for."""

    folder: LogFolder
    consents: Consents

    @classmethod
    def of(cls, folder: LogFolder, *, all_streams: bool = True) -> StreamLogs:
        """Logs of all streams, or of those alone whose client asks for it."""
        return cls(folder, Consents(all_streams=all_streams))

    def fetched(self, stream: str, token: str) -> Path | None:
        """The log of a stream for whoever has its token; None: there is none, or it is another."""
        return self.folder.log_of(stream) if self.consents.may_fetch(stream, token) else None
