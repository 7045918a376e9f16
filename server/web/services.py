"""What all connections of a server share."""

from __future__ import annotations

from dataclasses import dataclass

from ..engine.engine import Engine
from ..media.broadcast import Broadcast
from ..media.encoder import Encoders
from ..media.pictures import PictureReader
from ..media.workers import Workers
from ..recordings.recordings import Recordings
from .bounded_log import BoundedLog
from .failed_logins import FailedLogins
from .share_links import ShareLinks


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The engine, what encodes and decodes for it, and what is known of callers."""

    engine: Engine
    encoders: Encoders
    workers: Workers
    pictures: PictureReader
    logins: FailedLogins
    log: BoundedLog
    links: ShareLinks
    broadcast: Broadcast
    recordings: Recordings
