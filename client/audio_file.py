"""Audio files as speech for a stream: any format that FFmpeg reads, at the stream's rate."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.container.input import InputContainer
from av.error import FFmpegError
from av.packet import Packet

from .input_file import open_input
from .wire import AUDIO_RATE

_GIVE = "give a WAV, MP3, FLAC, Ogg or M4A"
_TAGS = (b"ID3", b"TAG", b"APETAGEX")


def load_speech(
    path: Path | str, *, rate: int = AUDIO_RATE, tell: Callable[[str], None] = warnings.warn
) -> np.ndarray:
    """The first audio stream of a file as int16 mono [n] at `rate` samples per second.

    `-` reads what is piped in. What is broken in a file is left out, and `tell` is told of it in a
    sentence; several files one behind the other are read as one. Raises FileNotFoundError, OSError
    for what may not be read, or ValueError for a file without a single sample.
    """
    speech = bytearray()
    with open_input(path, "audio file") as file:
        faults = _Faults()
        for piece in _resampled(_decoded(file, path, faults), rate):
            speech += piece.tobytes()
    if not speech:
        why = faults.first or "no sample in it"
        raise ValueError(f"{path} has no sound in it ({why}); {_GIVE}")
    if faults.count:
        lasts_s = len(speech) / 2 / rate
        tell(
            f"{path} is broken in {faults.places} ({faults.first}); {lasts_s:.1f} s of it are used"
        )
    return np.frombuffer(speech, np.int16)


class _Faults:
    """What could not be decoded."""

    def __init__(self) -> None:
        self.count = 0
        self.first = ""

    def add(self, error: FFmpegError) -> None:
        self.count += 1
        self.first = self.first or error.strerror or str(error)

    @property
    def places(self) -> str:
        return "one place" if self.count == 1 else f"{self.count} places"


def _decoded(file: BinaryIO, path: Path | str, faults: _Faults) -> Iterator[AudioFrame]:
    """The frames of a file, without those that are broken."""
    try:
        container = av.open(file, "r")
    except FFmpegError as error:
        raise ValueError(
            f"{path} is not audio that can be read ({error.strerror}); {_GIVE}"
        ) from error
    with container:
        if not container.streams.audio:
            raise ValueError(f"{path} has no audio in it; {_GIVE}")
        for packet in _packets(container, faults):
            try:
                frames = packet.decode()
            except FFmpegError as error:
                if not bytes(packet).startswith(_TAGS):
                    faults.add(error)
                continue
            for frame in frames:
                assert isinstance(frame, AudioFrame), type(frame)
                yield frame


def _packets(container: InputContainer, faults: _Faults) -> Iterator[Packet]:
    """The packets of the first audio stream, up to where the file breaks off."""
    packets = container.demux(container.streams.audio[0])
    while True:
        try:
            yield next(packets)
        except StopIteration:
            return
        except FFmpegError as error:
            faults.add(error)
            return


def _resampled(frames: Iterator[AudioFrame], rate: int) -> Iterator[np.ndarray]:
    """int16 mono at `rate`; what is joined may change its own rate and channels on the way."""
    resampler: AudioResampler | None = None
    shape = None
    for frame in frames:
        if resampler is None or shape != (shape := _shape(frame)):
            yield from _last_of(resampler)
            resampler = AudioResampler(format="s16", layout="mono", rate=rate)
        frame.pts = None
        yield from (piece.to_ndarray()[0] for piece in resampler.resample(frame))
    yield from _last_of(resampler)


def _last_of(resampler: AudioResampler | None) -> Iterator[np.ndarray]:
    if resampler is not None:
        yield from (piece.to_ndarray()[0] for piece in resampler.resample(None))


def _shape(frame: AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate
