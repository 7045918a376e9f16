"""What all connections of a server share."""

from __future__ import annotations

from dataclasses import dataclass

from ..engine.engine import Engine
from ..media.encoder import Encoders
from ..media.pictures import PictureReader
from ..media.workers import Workers
from .bounded_log import BoundedLog
from .failed_logins import FailedLogins


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The engine, what encodes and decodes for it, and what is known of callers."""

    engine: Engine
    encoders: Encoders
    workers: Workers
    pictures: PictureReader
    logins: FailedLogins
    log: BoundedLog
