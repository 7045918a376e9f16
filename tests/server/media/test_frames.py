"""Frames of a client's video: cut to the model's size in a process that may be lost."""

from __future__ import annotations

import io
import os
import signal

import numpy as np
import pytest
from PIL import Image

from rollcast.benchmarks.attack.hostile_picture import many_scans
from rollcast.models.contract import VideoInput
from rollcast.server.media.frame_process import FrameTask, decode
from rollcast.server.media.frames import FrameReader
from rollcast.server.protocol.errors import InvalidField

VIDEO = VideoInput(64, 48, 16)
RED, BLUE = (200, 40, 40), (40, 60, 200)


def jpeg(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=92, **options)
    return file.getvalue()


def plain(size: tuple[int, int] = (64, 48)) -> bytes:
    return jpeg(Image.new("RGB", size, RED))


async def refusal(reader: FrameReader, data: bytes) -> InvalidField:
    with pytest.raises(InvalidField) as caught:
        await reader.read(data)
    assert caught.value.field == "payload" and "JPEG" in caught.value.hint
    return caught.value


async def test_a_frame_is_cut_to_its_middle_and_made_as_large_as_the_model_looks_at() -> None:
    wide = Image.new("RGB", (400, 96), BLUE)
    wide.paste(RED, (136, 0, 264, 96))  # the middle, in the shape of 64 x 48
    reader = FrameReader(VIDEO)
    frame = await reader.read(jpeg(wide))
    assert frame.shape == (48, 64, 3) and frame.dtype == np.uint8
    assert np.abs(frame[24, [2, 32, 61]].astype(int) - RED).max() < 30
    grey = await reader.read(jpeg(Image.new("L", (64, 48), 90)))
    assert np.abs(grey.astype(int) - 90).max() < 4
    await reader.close()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no JPEG"),
        (b"hello", "no JPEG"),
        (b"\xff\xd8", "broken"),
        (plain()[:200], "broken"),
        (plain((12, 60)), "12 x 60"),
        (jpeg(Image.new("RGB", (4097, 16))), "4097 x 16"),
        (many_scans(64, 40), "scans"),
    ],
)
def test_what_is_no_frame_is_said(data: bytes, said: str) -> None:
    answer = decode(FrameTask(data, 64, 48))
    assert not answer.rgb and said in answer.message


def test_a_progressive_jpeg_is_one_too() -> None:
    assert decode(FrameTask(jpeg(Image.new("RGB", (64, 48)), progressive=True), 64, 48)).rgb


async def test_a_frame_that_takes_too_long_is_given_up_and_the_next_one_is_not() -> None:
    reader = FrameReader(VIDEO, most_cpu_s=0.05)
    noise = np.random.default_rng(0).integers(0, 256, (4000, 4000, 3), np.uint8)
    large = VideoInput(3000, 3000, 16)
    slow = FrameReader(large, most_cpu_s=0.05)
    error = await refusal(slow, jpeg(Image.fromarray(noise)))
    assert "longer than 0.05 s" in error.message
    with pytest.raises(InvalidField):
        await slow.read(b"hello")
    assert (await reader.read(plain())).shape == (48, 64, 3)
    await slow.close()
    await reader.close()


async def test_a_decoder_that_dies_costs_one_frame() -> None:
    reader = FrameReader(VIDEO)
    await reader.read(plain())
    pid = reader._process.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert "decoder failed" in (await refusal(reader, plain())).message
    assert (await reader.read(plain())).shape == (48, 64, 3)
    await reader.close()
    assert reader._process.pid is None
