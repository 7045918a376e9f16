"""Frames and speech into an MP4 file: H.264 and AAC, in colours that players show right."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Self

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from av.video.stream import VideoStream

_TICKS = 90_000


class Mp4Writer:
    """Writes one file, to be used as a context manager; a failed block leaves no file.

    Sizes are rounded down to even numbers, as H.264 needs. Audio is mono at `sample_rate`; with
    None the file has no audio track.
    """

    def __init__(
        self, path: Path, *, width: int, height: int, fps: int, sample_rate: int | None = 16_000
    ) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")
        self._size = (width // 2 * 2, height // 2 * 2)
        self._container = av.open(str(self._partial), "w", format="mp4")
        self._video = self._add_video(fps)
        self._audio = None if sample_rate is None else self._add_audio(sample_rate)
        self._reformatter = VideoReformatter()
        self._last_ticks = -1
        self._samples = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        try:
            if error_type is None:
                self._flush()
        finally:
            self._container.close()
        if error_type is None:
            self._partial.replace(self._path)
        else:
            self._partial.unlink(missing_ok=True)

    def write_frame(self, image: np.ndarray, pts_us: float) -> None:
        """Add a picture, uint8 RGB [H, W, 3], shown from `pts_us` on; later than the last one."""
        width, height = self._size
        even = np.ascontiguousarray(image[:height, :width])
        frame = self._reformatter.reformat(
            VideoFrame.from_ndarray(even, format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU601,
            dst_color_range=ColorRange.MPEG,
        )
        ticks = max(round(pts_us * _TICKS / 1e6), self._last_ticks + 1)
        self._last_ticks = ticks
        frame.pts, frame.time_base = ticks, Fraction(1, _TICKS)
        self._container.mux(self._video.encode(frame))

    def write_audio(self, samples: np.ndarray, pts_us: float) -> None:
        """Add speech, int16 [n], heard from `pts_us` on; a hole before it becomes silence.

        Raises ValueError for a file without an audio track, unless there are no samples.
        """
        if not len(samples):
            return
        if self._audio is None:
            raise ValueError(f"{self._path} was opened without a sample_rate for its audio")
        rate = self._audio.rate
        hole = round(pts_us * rate / 1e6) - self._samples
        if hole > 0:
            samples = np.concatenate([np.zeros(hole, np.int16), samples])
        frame = AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = rate, self._samples
        frame.time_base = Fraction(1, rate)
        self._samples += len(samples)
        self._container.mux(self._audio.encode(frame))

    def _add_audio(self, sample_rate: int) -> AudioStream:
        stream: AudioStream = self._container.add_stream("aac", rate=sample_rate)
        stream.layout = "mono"
        stream.bit_rate = 64_000
        return stream

    def _add_video(self, fps: int) -> VideoStream:
        stream: VideoStream = self._container.add_stream("libx264", rate=fps)
        stream.width, stream.height = self._size
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, _TICKS)
        stream.options = {"crf": "16", "preset": "veryfast", "tune": "zerolatency"}
        context = stream.codec_context
        context.thread_count = 1
        context.colorspace = Colorspace.SMPTE170M
        context.color_primaries = ColorPrimaries.SMPTE170M
        context.color_trc = ColorTrc.SMPTE170M
        context.color_range = ColorRange.MPEG
        return stream

    def _flush(self) -> None:
        self._container.mux(self._video.encode(None))
        if self._audio is not None and self._samples:
            self._container.mux(self._audio.encode(None))
