"""Encoded video packets to RGB frames, for the three codecs of protocol version 1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import simplejpeg
from av.codec.context import CodecContext
from av.error import FFmpegError
from av.packet import Packet as CodecPacket
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from .errors import ProtocolError
from .messages import Codec
from .wire import Flags, Packet


class VideoDecoder:
    """Decodes the packets of one stream in order; a new generation starts it afresh.

    Until a key frame comes, and after data that cannot be decoded, `decode` returns None and
    `wants_key` is true.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec: Codec = codec
        self._generation = -1
        self._decode: Callable[[bytes], np.ndarray | None] = _no_frame
        self.wants_key = True

    def decode(self, packet: Packet) -> np.ndarray | None:
        """The packet's frame as uint8 RGB [H, W, 3], or None when there is none to show."""
        if packet.generation != self._generation:
            self.restart(packet.generation)
        if self.wants_key and not packet.flags & Flags.KEY:
            return None
        try:
            frame = self._decode(packet.payload)
        except (FFmpegError, ValueError):
            self.restart(packet.generation)
            return None
        self.wants_key = False
        return frame

    def restart(self, generation: int) -> None:
        """Forget all references; the next frame must be a key frame."""
        self._generation = generation
        self._decode = _decoder(self._codec)
        self.wants_key = True


def _no_frame(data: bytes) -> None:
    return None


def _decoder(codec: Codec) -> Callable[[bytes], np.ndarray | None]:
    if codec == "jpeg":
        return lambda data: simplejpeg.decode_jpeg(data, colorspace="RGB")
    context = CodecContext.create("h264" if codec == "h264" else "vp8", "r")
    if not isinstance(context, VideoCodecContext):
        raise ProtocolError(f"no decoder for {codec}")
    # More threads would hold frames back.
    context.thread_count = 1
    reformatter = VideoReformatter()

    def decode(data: bytes) -> np.ndarray | None:
        frames = context.decode(CodecPacket(data))
        return _rgb(frames[-1], reformatter) if frames else None

    return decode


def _rgb(frame: VideoFrame, reformatter: VideoReformatter) -> np.ndarray:
    # The wire is BT.601 limited range whether or not the codec can say so (VP8 cannot).
    rgb = reformatter.reformat(
        frame,
        format="rgb24",
        src_colorspace=Colorspace.ITU601,
        src_color_range=ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
    )
    return rgb.to_ndarray()
