"""Raw frames to packets of H.264, VP8 or JPEG, one encoder per stream, without any look-ahead.

Colour is limited-range BT.601, tagged smpte170m. Encoders are not thread-safe: one call at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from fractions import Fraction
from functools import cache, lru_cache
from typing import Protocol

import av
import numpy as np
import simplejpeg
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from av.video.reformatter import Colorspace, VideoReformatter

from ...models.yuv_frames import Picture, YuvFrame
from ..protocol.errors import UnsupportedCodec
from ..protocol.fields import Codec
from .av_frames import av_frame
from .codec_failures import CodecFailures

SMPTE170M = 6
LIMITED = 1
ONE_US = Fraction(1, 1_000_000)
KEY_EVERY_S = 10
H264_CANDIDATES = ("h264_nvenc", "libx264")
"""NVENC, which L4, L40 and RTX cards have and A100, H100 and B200 do not, and x264."""
_TRIED = 3
"""Frames that an encoder has to answer one by one before it is offered."""


class Encoder(Protocol):
    """Frames of one size in, one packet out per frame, at once."""

    codec: Codec
    name: str
    """What makes the packets, "libx264" say."""
    codec_string: str
    """What a browser's decoder is configured with; "jpeg" for JPEG."""

    def encode(self, picture: Picture, pts_us: float, *, key: bool) -> tuple[bytes, bool]:
        """The packet of a picture of the encoder's size, and whether it is a key frame."""
        ...

    def set_kbps(self, kbps: int) -> None:
        """Aim for another bitrate from the next frame on."""
        ...


class H264Encoder:
    """H.264 constrained baseline in Annex B, parameter sets in band at every key frame."""

    codec: Codec = "h264"

    def __init__(self, backend: str, width: int, height: int, fps: int, kbps: int) -> None:
        self.name = backend
        self._context = _h264_context(backend, width, height, fps, kbps)
        self._converter = _Converter(width, height)
        self._kbps = kbps
        self.codec_string = _h264_codec_string_of(backend, width, height, fps, kbps)

    def encode(self, picture: Picture, pts_us: float, *, key: bool) -> tuple[bytes, bool]:
        """See `Encoder`."""
        packets = self._context.encode(self._converter.frame(picture, pts_us, key=key))
        return _one(packets)

    def set_kbps(self, kbps: int) -> None:
        """See `Encoder`; takes a few frames to show."""
        if kbps != self._kbps:
            self._context.bit_rate = kbps * 1000
            self._kbps = kbps


class Vp8Encoder:
    """VP8 in real-time mode; a new bitrate needs a new encoder and so a key frame."""

    codec: Codec = "vp8"
    name = "libvpx"
    codec_string = "vp8"

    def __init__(self, width: int, height: int, fps: int, kbps: int) -> None:
        self._size = width, height, fps
        self._converter = _Converter(width, height)
        self._kbps = kbps
        self._context = _vp8_context(width, height, fps, kbps)

    def encode(self, picture: Picture, pts_us: float, *, key: bool) -> tuple[bytes, bool]:
        """See `Encoder`."""
        return _one(self._context.encode(self._converter.frame(picture, pts_us, key=key)))

    def set_kbps(self, kbps: int) -> None:
        """See `Encoder`; small changes are left out, since each costs a key frame."""
        if abs(kbps - self._kbps) > 0.2 * self._kbps:
            self._context = _vp8_context(*self._size, kbps)
            self._kbps = kbps


class JpegEncoder:
    """A JPEG per frame: every frame is a key frame; the quality follows the bitrate."""

    codec: Codec = "jpeg"
    name = "libjpeg-turbo"
    codec_string = "jpeg"

    def __init__(self, width: int, height: int, fps: int, kbps: int) -> None:
        self._top_kbps = kbps
        self._quality = 85

    def encode(self, picture: Picture, pts_us: float, *, key: bool) -> tuple[bytes, bool]:
        """See `Encoder`."""
        if isinstance(picture, YuvFrame):
            return _jpeg_of_planes(picture, self._quality), True
        frame = np.ascontiguousarray(picture)
        return simplejpeg.encode_jpeg(frame, quality=self._quality, colorsubsampling="420"), True

    def set_kbps(self, kbps: int) -> None:
        """See `Encoder`; quality 85 at the highest bitrate, 25 at a tenth of it."""
        share = min(1.0, kbps / self._top_kbps)
        self._quality = round(max(25, 85 + 60 * np.log10(max(share, 1e-3))))


class Encoders:
    """The codecs that this machine can encode, found by trying each once."""

    def __init__(self, h264_backends: Sequence[str] = H264_CANDIDATES) -> None:
        self.failures = CodecFailures()
        self.h264_backends = tuple(name for name in h264_backends if _opens(name))
        self.codecs: tuple[Codec, ...] = (
            *(("h264",) if self.h264_backends else ()),
            *(("vp8",) if _opens("libvpx") else ()),
            "jpeg",
        )

    def usable(self, now_s: float) -> tuple[Codec, ...]:
        """Those that do not fail again and again."""
        return tuple(each for each in self.codecs if not self.failures.is_broken(each, now_s))

    def choose(self, offered: Sequence[str], now_s: float) -> tuple[Codec, ...]:
        """The codecs of the client's list that can be encoded here, the best one first.

        Raises UnsupportedCodec when there is none.
        """
        known: list[Codec] = [each for name in offered for each in self.codecs if each == name]
        chosen = self.failures.in_order(known, now_s)
        if not chosen:
            raise UnsupportedCodec(
                f"none of {', '.join(offered)} can be sent, only {', '.join(self.usable(now_s))}",
                field="codecs",
            )
        return chosen

    def others(self, encoder: Encoder, without: Collection[str]) -> bool:
        """Whether the codec of `encoder` has another backend that is not among `without`."""
        left = {*self.h264_backends} - {encoder.name, *without}
        return encoder.codec == "h264" and bool(left)

    def open(
        self,
        codec: Codec,
        width: int,
        height: int,
        fps: int,
        kbps: int,
        *,
        without: Collection[str] = (),
        now_s: float = 0.0,
    ) -> Encoder:
        """A new encoder for one stream; the next backend if one has no more to give.

        Graphics cards permit only so many encoders at a time. One that failed of late comes last,
        none of `without` at all. Raises FFmpegError when no backend opens.
        """
        if codec == "jpeg":
            return JpegEncoder(width, height, fps, kbps)
        if codec == "vp8":
            return Vp8Encoder(width, height, fps, kbps)
        assert self.h264_backends, "h264 was not offered"
        left = [each for each in self.h264_backends if each not in without]
        *preferred, last = self.failures.in_order(left, now_s) or left
        for backend in preferred:
            with contextlib.suppress(FFmpegError):
                return H264Encoder(backend, width, height, fps, kbps)
        return H264Encoder(last, width, height, fps, kbps)


def h264_codec_string(annex_b: bytes) -> str:
    """`avc1.PPCCLL` from the profile, constraint and level bytes of the SPS."""
    start = 0
    while (start := annex_b.find(b"\x00\x00\x01", start)) >= 0:
        start += 3
        if annex_b[start] & 31 == 7:
            return f"avc1.{annex_b[start + 1 : start + 4].hex()}"
    raise ValueError(f"no SPS in {len(annex_b)} bytes: they do not start with a key frame")


@lru_cache(maxsize=64)
def _h264_codec_string_of(backend: str, width: int, height: int, fps: int, kbps: int) -> str:
    """What an encoder that is opened like this will write, found by trying another one, once."""
    probe = _h264_context(backend, width, height, fps, kbps)
    black = np.zeros((height, width, 3), np.uint8)
    first = _Converter(width, height).frame(black, 0, key=True)
    return h264_codec_string(b"".join(map(bytes, probe.encode(first))))


def _jpeg_of_planes(picture: YuvFrame, quality: int) -> bytes:
    """A JPEG, whose values fill their bytes where those of video keep some room."""
    luma, blue, red = picture.parts()
    rows, columns = -(-picture.height // 2), -(-picture.width // 2)
    return simplejpeg.encode_jpeg_yuv_planes(
        _in_full_range(luma[: picture.height, : picture.width], _FULL_LUMA),
        _in_full_range(blue[:rows, :columns], _FULL_CHROMA),
        _in_full_range(red[:rows, :columns], _FULL_CHROMA),
        quality=quality,
    )


def _full_range(middle: float, zero: int, room: int) -> bytes:
    """Limited range to full range, a byte for each byte."""
    levels = middle + (np.arange(256) - zero) * 255 / room
    return np.clip(np.round(levels), 0, 255).astype(np.uint8).tobytes()


def _in_full_range(plane: np.ndarray, table: bytes) -> np.ndarray:
    # three times as fast as an array as an index
    return np.frombuffer(plane.tobytes().translate(table), np.uint8).reshape(plane.shape)


_FULL_LUMA = _full_range(0, 16, 219)
_FULL_CHROMA = _full_range(128, 128, 224)


class _Converter:
    """Pictures to even-sized limited BT.601 yuv420p, with one scaler for all frames."""

    def __init__(self, width: int, height: int) -> None:
        self._pad = (0, height % 2), (0, width % 2), (0, 0)
        self._odd = bool(width % 2 or height % 2)
        self._reformatter = VideoReformatter()

    def frame(self, picture: Picture, pts_us: float, *, key: bool) -> av.VideoFrame:
        frame = av_frame(picture) if isinstance(picture, YuvFrame) else self._converted(picture)
        frame.pts = round(pts_us)
        frame.time_base = ONE_US
        # A frame carries the type of its last use, so both cases are set.
        frame.pict_type = PictureType.I if key else PictureType.NONE
        return frame

    def _converted(self, rgb: np.ndarray) -> av.VideoFrame:
        return self._reformatter.reformat(
            av_frame(np.pad(rgb, self._pad, mode="edge") if self._odd else rgb),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU601,
            dst_color_range=LIMITED,
            threads=1,
        )


def _context(name: str, width: int, height: int, fps: int, kbps: int) -> VideoCodecContext:
    context = av.CodecContext.create(name, "w")
    assert isinstance(context, VideoCodecContext), name
    context.width, context.height = width + width % 2, height + height % 2
    context.pix_fmt = "yuv420p"
    context.time_base = ONE_US
    context.framerate = Fraction(fps, 1)
    context.bit_rate = kbps * 1000
    context.gop_size = fps * KEY_EVERY_S
    context.max_b_frames = 0
    context.colorspace = context.color_primaries = context.color_trc = SMPTE170M
    context.color_range = LIMITED
    return context


def _h264_context(backend: str, width: int, height: int, fps: int, kbps: int) -> VideoCodecContext:
    context = _context(backend, width, height, fps, kbps)
    if backend == "libx264":
        context.thread_count = 1 if width * height <= 512 * 512 else 2
        context.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "profile": "baseline",
            **_buffer(kbps),
        }
    else:
        context.options = nvenc_options(kbps)
    context.open()
    return context


def nvenc_options(kbps: int) -> dict[str, str]:
    """What NVENC is told (`ffmpeg -h encoder=h264_nvenc`): a packet for each frame, at once."""
    return {
        "preset": "p1",
        "tune": "ull",
        "profile": "baseline",
        "zerolatency": "1",
        "delay": "0",
        "rc": "cbr",
        "forced-idr": "1",
        **_buffer(kbps),
    }


def _buffer(kbps: int) -> dict[str, str]:
    """libx264 follows a new bit_rate only when it was opened with a buffer model."""
    return {"maxrate": str(kbps * 1000), "bufsize": str(kbps * 250)}


def _vp8_context(width: int, height: int, fps: int, kbps: int) -> VideoCodecContext:
    context = _context("libvpx", width, height, fps, kbps)
    context.thread_count = 1
    context.options = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
    context.open()
    return context


@cache
def _opens(name: str) -> bool:
    """Whether this encoder really works here; being listed says little about hardware ones."""
    black = np.zeros((256, 256, 3), np.uint8)
    try:
        if name == "libvpx":
            encoder = Vp8Encoder(256, 256, 25, 500)
        else:
            encoder = H264Encoder(name, 256, 256, 25, 500)
        for number in range(_TRIED):
            encoder.encode(black, 40_000.0 * number, key=number != 1)
    except (FFmpegError, ValueError, AssertionError):
        return False
    return True


def _one(packets: Sequence[av.Packet]) -> tuple[bytes, bool]:
    assert len(packets) == 1, f"one frame gave {len(packets)} packets"
    return bytes(packets[0]), packets[0].is_keyframe
