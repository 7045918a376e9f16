"""The Python client of the streaming protocol; knows the wire and nothing of the server.

async with connect("http://127.0.0.1:8000", prompt="a smiling woman") as stream:
    async for media in stream:
        ...
"""

from __future__ import annotations

from .connection import Stream, connect
from .errors import ClientError, Disconnected, ProtocolError, Refused, Rejected
from .messages import Applied, Queued, SessionInfo, SessionReady, Speech, State, Stats, TrackPoint
from .picture_file import load_image, load_picture
from .shown import Audio, Frame
from .watching import Watched, watch

__all__ = [
    "Applied",
    "Audio",
    "ClientError",
    "Disconnected",
    "Frame",
    "ProtocolError",
    "Queued",
    "Refused",
    "Rejected",
    "SessionInfo",
    "SessionReady",
    "Speech",
    "State",
    "Stats",
    "Stream",
    "TrackPoint",
    "Watched",
    "connect",
    "load_image",
    "load_picture",
    "watch",
]
