"""Frames and speech into an MP4 file: H.264 and AAC, in colours that players show right.

The file is written in fragments of a second, so that what came can be played whatever ends the
recording; when it ends well, an index of the whole is put behind them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from typing import Self

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from av.video.stream import VideoStream

from .output_file import OutputFile

AAC_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_TICKS = 90_000
_LAYOUT = {
    # the header waits for the first fragment, which says when the sound begins
    "movflags": "hybrid_fragmented+delay_moov",
    "frag_duration": "1000000",
    "flush_packets": "1",
}


class Mp4Writer:
    """Writes into one file, to be used as a context manager.

    However the block ends, the file has what was written until then, and nothing if that is not a
    single frame. Sizes are rounded down to even numbers, as H.264 needs. Audio is mono at
    `sample_rate`; with None the file has no audio track. What is written raises OutputError when
    the file cannot take it.
    """

    def __init__(
        self,
        file: OutputFile,
        *,
        width: int,
        height: int,
        fps: int,
        sample_rate: int | None = 16_000,
    ) -> None:
        self._file = file
        self._size = (width // 2 * 2, height // 2 * 2)
        self._container = av.open(file, "w", format="mp4", container_options=_LAYOUT)
        self._video = self._add_video(fps)
        self._sample_rate = sample_rate or 0
        self._audio = None if sample_rate is None else self._add_audio(sample_rate)
        self._reformatter = VideoReformatter()
        self._frame_us = 1e6 / fps
        self._last_ticks = -1
        self._samples = 0
        self.seconds = 0.0
        """How long the picture lasts that was written so far; after a failure, that of the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        try:
            self._finish()
        finally:
            if self._file.failed:
                self._file.cut(_whole_boxes(self._file))
                self.seconds = min(self.seconds, _length_s(self._file))
            if self.seconds == 0:
                self._file.discard()

    def write_frame(self, image: np.ndarray, pts_us: float) -> None:
        """Add a picture, uint8 RGB [H, W, 3], shown from `pts_us` on; later than the last one."""
        width, height = self._size
        even = np.ascontiguousarray(image[:height, :width])
        self._add_frame(
            self._reformatter.reformat(
                VideoFrame.from_ndarray(even, format="rgb24"),
                format="yuv420p",
                dst_colorspace=Colorspace.ITU601,
                dst_color_range=ColorRange.MPEG,
            ),
            pts_us,
        )

    def write_planes(self, parts: Sequence[np.ndarray], pts_us: float) -> None:
        """Add a picture as YUV420 in limited-range BT.601, as `write_frame` does.

        `parts` are luma uint8 [H, W] and the two of chroma [H / 2, W / 2], at least as large as
        the video.
        """
        width, height = self._size
        sizes = (height, width), (height // 2, width // 2), (height // 2, width // 2)
        cut = [part[:rows, :columns] for part, (rows, columns) in zip(parts, sizes, strict=True)]
        planes = np.concatenate([part.reshape(-1) for part in cut]).reshape(-1, width)
        self._add_frame(VideoFrame.from_ndarray(planes, format="yuv420p"), pts_us)

    def _add_frame(self, frame: VideoFrame, pts_us: float) -> None:
        ticks = max(round(pts_us * _TICKS / 1e6), self._last_ticks + 1)
        self._last_ticks = ticks
        frame.pts, frame.time_base = ticks, Fraction(1, _TICKS)
        self._container.mux(self._video.encode(frame))
        self.seconds = (pts_us + self._frame_us) / 1e6

    def write_audio(self, samples: np.ndarray, pts_us: float) -> None:
        """Add speech, int16 [n], heard from `pts_us` on; a hole before it becomes silence.

        Raises ValueError for a file without an audio track, unless there are no samples.
        """
        if not len(samples):
            return
        if self._audio is None:
            raise ValueError(f"{self._file.path} was opened without a sample_rate for its audio")
        rate = self._sample_rate
        hole = round(pts_us * rate / 1e6) - self._samples
        # the times of frames that do not last whole samples are rounded
        if hole > 1:
            samples = np.concatenate([np.zeros(hole, np.int16), samples])
        frame = AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = rate, self._samples
        frame.time_base = Fraction(1, rate)
        self._samples += len(samples)
        self._container.mux(self._audio.encode(frame))

    def _add_audio(self, sample_rate: int) -> AudioStream:
        # what has another rate is resampled on its way into the encoder
        rate = sample_rate if sample_rate in AAC_RATES else max(AAC_RATES)
        stream: AudioStream = self._container.add_stream("aac", rate=rate)
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

    def _finish(self) -> None:
        """Write what is left and the index; after a failure only let go of the container."""
        try:
            if self.seconds > 0 and not self._file.failed:
                self._container.mux(self._video.encode(None))
                if self._audio is not None and self._samples:
                    self._container.mux(self._audio.encode(None))
        finally:
            if self._file.failed:
                # of what the file did not take, nothing more is to be said
                with suppress(FFmpegError, OSError):
                    self._container.close()
            else:
                self._container.close()


def _whole_boxes(file: OutputFile) -> int:
    """How many bytes of an MP4 are boxes that are all there, a fragment's header with its media.

    A file ends in the middle of one where its disk was full.
    """
    end = file.seek(0, os.SEEK_END)
    at = whole = 0
    while at + 8 <= end:
        file.seek(at)
        size, kind = int.from_bytes(file.read(4)), file.read(4)
        if size < 8 or at + size > end:
            break
        at += size
        if kind != b"moof":
            whole = at
    return whole


def _length_s(file: OutputFile) -> float:
    """How long a file lasts whose end was cut off; 0 for one that cannot be read."""
    file.seek(0)
    try:
        with av.open(file, "r") as container:
            return (container.duration or 0) / av.time_base
    except FFmpegError:
        return 0.0
