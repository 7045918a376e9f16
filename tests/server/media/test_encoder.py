"""Encoders: colours, codec strings, key frames, bitrates, odd sizes, no delay."""

from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from av.error import ArgumentError, FFmpegError

from rollcast.kernels.yuv420.yuv420_torch import yuv420_torch
from rollcast.models.yuv_frames import YuvFrame
from rollcast.server.media.encoder import (
    Encoder,
    Encoders,
    H264Encoder,
    JpegEncoder,
    Vp8Encoder,
    h264_codec_string,
    nvenc_options,
)
from rollcast.server.protocol.errors import UnsupportedCodec
from rollcast.server.protocol.packets import Flags, Kind, Packet

from ..running import decode

SIZE = 128
PATCHES = [
    *((235, 20, 20), (20, 235, 20), (20, 20, 235), (235, 235, 20)),
    *((20, 235, 235), (235, 20, 235), (128, 128, 128), (245, 245, 245)),
]


def patches(width: int = SIZE, height: int = SIZE) -> np.ndarray:
    frame = np.zeros((height, width, 3), np.uint8)
    for number, colour in enumerate(PATCHES):
        frame[:, number * width // 8 : (number + 1) * width // 8] = colour
    return frame


def noise(number: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    return rng.integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)


def make(codec: str, kbps: int = 800) -> Encoder:
    match codec:
        case "h264":
            return H264Encoder("libx264", SIZE, SIZE, 25, kbps)
        case "vp8":
            return Vp8Encoder(SIZE, SIZE, 25, kbps)
        case _:
            return JpegEncoder(SIZE, SIZE, 25, kbps)


def packet(seq: int, payload: bytes) -> Packet:
    return Packet(Kind.VIDEO, Flags.NONE, seq, 0.0, 0, 0, 0.0, payload)


@pytest.mark.parametrize("codec", ["h264", "vp8", "jpeg"])
def test_colours_survive(codec: str) -> None:
    encoder = make(codec, 3000)
    packets = [packet(n, encoder.encode(patches(), 40_000 * n, key=False)[0]) for n in range(6)]
    picture = decode(codec, packets)[5].astype(int)
    for number, colour in enumerate(PATCHES):
        middle = picture[40:80, number * 16 + 6 : number * 16 + 10].reshape(-1, 3).mean(0)
        np.testing.assert_allclose(middle, colour, atol=8)


def planes(rgb: np.ndarray) -> YuvFrame:
    """The picture as a GPU would make it."""
    levels = torch.from_numpy(rgb).permute(2, 0, 1)[None] / 127.5 - 1
    return YuvFrame(yuv420_torch(levels)[0].numpy(), *rgb.shape[:2])


@pytest.mark.parametrize("size", [(SIZE, SIZE), (131, 97)], ids=["even", "odd"])
@pytest.mark.parametrize("codec", ["h264", "vp8", "jpeg"])
def test_planes_give_the_pictures_that_rgb_gives(codec: str, size: tuple[int, int]) -> None:
    """Conversion differs by a level here and there, and so does what codecs make of it."""
    encoders = Encoders(h264_backends=("libx264",))
    pictures: list[np.ndarray] = []
    for picture in (patches(*size), planes(patches(*size))):
        encoder = encoders.open(codec, *size, 25, 3000)  # pyright: ignore[reportArgumentType]
        packets = [packet(n, encoder.encode(picture, 40_000 * n, key=n == 0)[0]) for n in range(4)]
        pictures.append(decode(codec, packets)[3].astype(int))
    assert pictures[0].shape == pictures[1].shape
    assert np.abs(pictures[0] - pictures[1]).mean() < 1


@pytest.mark.parametrize("codec", ["h264", "vp8"])
def test_key_frames_come_first_and_when_asked_for(codec: str) -> None:
    encoder = make(codec)
    keys = [encoder.encode(noise(n), 40_000 * n, key=n == 7)[1] for n in range(12)]
    assert [n for n, key in enumerate(keys) if key] == [0, 7]


def test_a_forced_key_frame_can_be_decoded_on_its_own() -> None:
    encoder = make("h264")
    payloads = [encoder.encode(patches(), 40_000 * n, key=n == 3)[0] for n in range(5)]
    alone = decode("h264", [packet(n, payloads[n]) for n in (3, 4)])
    assert set(alone) == {3, 4}


def test_h264_is_tagged_with_the_colours_it_has() -> None:
    encoder = make("h264")
    decoder = av.VideoCodecContext.create("h264", "r")
    (frame,) = [
        *decoder.decode(av.Packet(encoder.encode(patches(), 0, key=True)[0])),
        *decoder.decode(None),
    ]
    assert (frame.colorspace, frame.color_primaries, frame.color_trc) == (6, 6, 6)
    assert frame.color_range == 1


def test_the_codec_string_is_that_of_the_stream() -> None:
    encoder = make("h264")
    payload, _ = encoder.encode(patches(), 0, key=True)
    assert encoder.codec_string == h264_codec_string(payload)
    assert encoder.codec_string.startswith("avc1.42c0")


def test_bytes_without_parameter_sets_have_no_codec_string() -> None:
    with pytest.raises(ValueError, match="no SPS"):
        h264_codec_string(b"\x00\x00\x01\x41abc")


@pytest.mark.parametrize("codec", ["h264", "vp8", "jpeg"])
def test_the_bitrate_can_be_lowered_while_running(codec: str) -> None:
    encoder = make(codec, 1000)

    def size(start: int) -> int:
        frames = [
            encoder.encode(noise(n), 40_000 * n, key=False)[0] for n in range(start, 40 + start)
        ]
        return sum(map(len, frames[15:]))

    before = size(0)
    encoder.set_kbps(250)
    assert size(40) < 0.6 * before


@pytest.mark.parametrize("codec", ["h264", "vp8", "jpeg"])
def test_odd_sizes_are_padded(codec: str) -> None:
    encoder = Encoders(h264_backends=("libx264",)).open(
        "h264" if codec == "h264" else "vp8" if codec == "vp8" else "jpeg", 131, 97, 25, 800
    )
    payload, _ = encoder.encode(patches(131, 97), 0, key=True)
    height, width, _ = decode(codec, [packet(0, payload)])[0].shape
    assert (width, height) == ((131, 97) if codec == "jpeg" else (132, 98))


def test_the_clients_first_usable_codec_is_chosen() -> None:
    encoders = Encoders(h264_backends=("libx264",))
    assert encoders.codecs == ("h264", "vp8", "jpeg")
    assert encoders.choose(["av1", "jpeg", "h264"], 0.0) == ("jpeg", "h264")
    with pytest.raises(UnsupportedCodec, match="only h264, vp8, jpeg"):
        encoders.choose(["av1"], 0.0)


def test_a_codec_that_fails_comes_last_and_one_that_fails_always_is_not_offered() -> None:
    encoders = Encoders(h264_backends=("libx264",))
    encoders.failures.failed("h264", 100.0)
    assert encoders.choose(["h264", "jpeg"], 101.0) == ("jpeg", "h264")
    assert encoders.choose(["h264", "jpeg"], 100.0 + 5.1) == ("h264", "jpeg"), "it is tried again"
    for at_s in (106.0, 117.0):
        encoders.failures.failed("h264", at_s)
    assert encoders.choose(["h264", "jpeg"], 118.0) == ("jpeg",)
    assert encoders.usable(118.0) == ("vp8", "jpeg")
    with pytest.raises(UnsupportedCodec, match="only vp8, jpeg"):
        encoders.choose(["h264"], 118.0)
    assert encoders.choose(["h264"], 117.0 + 20.1) == ("h264",)
    encoders.failures.worked("h264")
    encoders.failures.failed("h264", 200.0)
    assert encoders.choose(["h264"], 200.0) == ("h264",), "it had worked since"


def test_backends_that_do_not_open_are_not_offered() -> None:
    encoders = Encoders(h264_backends=("no_such_encoder", "libx264"))
    assert encoders.h264_backends == ("libx264",)
    assert "h264" not in Encoders(h264_backends=("no_such_encoder",)).codecs


def test_a_backend_that_failed_of_late_comes_after_the_others() -> None:
    encoders = Encoders(h264_backends=("libx264",))
    encoders.h264_backends = ("h264_nvenc", "libx264")
    assert encoders.open("h264", SIZE, SIZE, 25, 800, now_s=1.0).name == "libx264"
    encoders.failures.failed("libx264", 1.0)
    encoder = encoders.open("h264", SIZE, SIZE, 25, 800, without=("h264_nvenc",), now_s=2.0)
    assert encoder.name == "libx264", "it is all that there is"
    assert encoders.others(encoder, ()) and not encoders.others(encoder, ("h264_nvenc",))
    assert not encoders.others(make("vp8"), ())


def test_nvenc_is_given_options_that_it_has() -> None:
    """Without a card it fails where it looks for one; by a wrong value before that."""
    options = nvenc_options(800)

    def opened(given: dict[str, str]) -> None:
        context = av.CodecContext.create("h264_nvenc", "w")
        assert isinstance(context, av.VideoCodecContext)
        context.width, context.height, context.pix_fmt = 256, 256, "yuv420p"
        context.time_base, context.framerate = Fraction(1, 1_000_000), Fraction(25)
        context.options = given
        context.open()

    try:
        opened(options)
    except ArgumentError as error:
        pytest.fail(f"{options}: {error}")
    except FFmpegError:
        pass
    for name in options:
        with pytest.raises(ArgumentError):
            opened(options | {name: "no such value"})


def test_a_backend_that_is_used_up_gives_way_to_the_next() -> None:
    encoders = Encoders(h264_backends=("libx264",))
    encoders.h264_backends = ("h264_nvenc", "libx264")
    assert encoders.open("h264", SIZE, SIZE, 25, 800).codec_string.startswith("avc1")
