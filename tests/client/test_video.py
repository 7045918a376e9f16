"""Decoding what the three codecs of the protocol make of known colours."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
import simplejpeg
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from rollcast.client.messages import Codec
from rollcast.client.video import VideoDecoder
from rollcast.client.wire import Flags, Kind, Packet

PATCHES = np.array([[200, 60, 30], [30, 160, 220], [240, 240, 240], [10, 10, 10]], np.uint8)


def picture(shift: int) -> np.ndarray:
    """Four coloured bands, uint8 [64, 64, 3]."""
    return np.repeat(np.roll(PATCHES, shift, axis=0), 16, axis=0)[:, None].repeat(64, axis=1)


def encode(codec: Codec, images: list[np.ndarray]) -> list[bytes]:
    if codec == "jpeg":
        return [simplejpeg.encode_jpeg(np.ascontiguousarray(i), quality=95) for i in images]
    context = av.CodecContext.create("libx264" if codec == "h264" else "libvpx", "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = 64, 64, "yuv420p"
    context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
    context.bit_rate = 2_000_000
    if codec == "h264":
        context.options = {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline"}
    else:
        context.options = {"deadline": "realtime", "lag-in-frames": "0"}
    reformatter, data = VideoReformatter(), []
    for index, image in enumerate(images):
        frame = reformatter.reformat(
            VideoFrame.from_ndarray(image, format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU601,
            dst_color_range=ColorRange.MPEG,
        )
        frame.pts = index
        data += [bytes(p) for p in context.encode(frame)]
    return data


def packet(data: bytes, seq: int, *, key: bool, generation: int = 0) -> Packet:
    flags = Flags.KEY if key else Flags.NONE
    return Packet(Kind.VIDEO, flags, seq, seq * 4e4, 0, generation, 0.0, data)


@pytest.mark.parametrize("codec", ["h264", "vp8", "jpeg"])
def test_colours_and_no_delay(codec: Codec) -> None:
    images = [picture(i // 2) for i in range(6)]
    decoder = VideoDecoder(codec)
    for seq, data in enumerate(encode(codec, images)):
        shown = decoder.decode(packet(data, seq, key=seq == 0 or codec == "jpeg"))
        assert shown is not None, "a packet in, its frame out"
        inner = (slice(6, None, 16), slice(8, 56))
        error = np.abs(shown[inner].astype(int) - images[seq][inner].astype(int))
        assert error.mean() < 6, "the right matrix and range"


def test_waits_for_a_key_frame_of_each_generation() -> None:
    first, second, *_ = encode("h264", [picture(0), picture(0)])
    decoder = VideoDecoder("h264")
    assert decoder.decode(packet(second, 1, key=False)) is None
    assert decoder.wants_key
    assert decoder.decode(packet(first, 2, key=True)) is not None
    assert not decoder.wants_key
    assert decoder.decode(packet(second, 3, key=False, generation=1)) is None
    assert decoder.wants_key


def test_broken_data_asks_for_a_key_frame_and_recovers() -> None:
    (data,) = encode("jpeg", [picture(0)])
    decoder = VideoDecoder("jpeg")
    assert decoder.decode(packet(b"no picture", 0, key=True)) is None
    assert decoder.wants_key
    assert decoder.decode(packet(data, 1, key=True)) is not None
