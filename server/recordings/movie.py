"""Coded pictures and sound into one file as they are: H.264 and Opus as MP4, VP8 and Opus as WebM.

The file is written in fragments of about a second, so that what came can be played whatever ends
it; when it ends well it gets an index.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from fractions import Fraction
from typing import get_args

import av
from av.audio.stream import AudioStream
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from ..protocol.fields import Codec, MovieKind
from ..protocol.limits import OPUS_RATE
from .piece import Piece

KINDS: tuple[MovieKind, MovieKind] = get_args(MovieKind)
CODECS: Mapping[MovieKind, Codec] = {"mp4": "h264", "webm": "vp8"}
_TICKS = 90_000
_LIVE: Mapping[MovieKind, dict[str, str]] = {
    # the header waits for the first fragment, which says when the sound begins
    "mp4": {
        "movflags": "hybrid_fragmented+delay_moov",
        "frag_duration": "1000000",
        "flush_packets": "1",
    },
    "webm": {"cluster_time_limit": "1000", "flush_packets": "1"},
}


class Movie:
    """Writes into `file`; the first picture has to be a key frame, and is shown at 0.

    `size` are width and height of the pictures, `sound` whether there will be any. Raises OSError
    for what the file does not take.
    """

    def __init__(
        self, file: io.IOBase, kind: MovieKind, *, size: tuple[int, int], fps: int, sound: bool
    ) -> None:
        self._kind: MovieKind = kind
        self._size = size
        self._fps = fps
        self._container = av.open(file, "w", format=kind, container_options=_LIVE[kind])
        self._with_sound = sound
        self._video: Stream | None = None
        self._sound: AudioStream | None = None
        self._begin_us = 0.0
        self.seconds = 0.0
        """How long the picture lasts so far."""

    def write(self, piece: Piece) -> None:
        """Add a piece; sound from before the first picture is left out."""
        if self._video is None:
            if not piece.key:
                return
            self._begin(piece)
        assert self._video is not None
        at_us = piece.pts_us - self._begin_us
        if piece.is_video:
            self.seconds = max(self.seconds, at_us / 1e6 + 1 / self._fps)
            self._mux(piece, self._video, at_us, _TICKS, _TICKS // self._fps)
        elif self._sound is not None and at_us >= 0:
            self._mux(piece, self._sound, at_us, OPUS_RATE, OPUS_RATE // 50)

    def close(self) -> None:
        """Write the index."""
        self._container.close()

    def _begin(self, first: Piece) -> None:
        self._begin_us = first.pts_us
        width, height = self._size
        if self._kind == "mp4":
            # its parameter sets are in band, and an MP4 wants them in its header
            with av.open(io.BytesIO(first.payload), "r", format="h264") as sample:
                self._video = self._container.add_stream_from_template(sample.streams.video[0])
        else:
            self._video = self._container.add_mux_stream(
                "vp8", rate=self._fps, width=width, height=height
            )
        assert isinstance(self._video, VideoStream)
        self._video.time_base = Fraction(1, _TICKS)
        if self._with_sound:
            # nothing is encoded by it: it says what Opus is in a header
            self._sound = self._container.add_stream("libopus", rate=OPUS_RATE)
            self._sound.layout = "mono"

    def _mux(self, piece: Piece, stream: Stream, at_us: float, ticks: int, duration: int) -> None:
        packet = Packet(piece.payload)
        packet.stream = stream
        packet.pts = packet.dts = round(at_us * ticks / 1e6)
        packet.time_base = Fraction(1, ticks)
        packet.duration = duration
        packet.is_keyframe = piece.key or not piece.is_video
        self._container.mux(packet)


def clip(pieces: list[Piece], kind: MovieKind, *, size: tuple[int, int], fps: int) -> bytes:
    """These pieces as a file."""
    file = io.BytesIO()
    sound = any(not piece.is_video for piece in pieces)
    movie = Movie(file, kind, size=size, fps=fps, sound=sound)
    for piece in pieces:
        movie.write(piece)
    movie.close()
    return file.getvalue()
