"""Audio files as speech for a stream: any format that FFmpeg reads, at the stream's rate."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.error import FFmpegError

from .wire import AUDIO_RATE


def load_speech(path: Path | str, *, rate: int = AUDIO_RATE) -> np.ndarray:
    """The first audio stream of a file as int16 mono [n] at `rate` samples per second.

    Raises FileNotFoundError, or ValueError for a file without readable audio.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such audio file: {path}")
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise ValueError(f"{path} has no audio in it; give a WAV, MP3, FLAC, Ogg or M4A")
            resampler = AudioResampler(format="s16", layout="mono", rate=rate)
            pieces = [
                resampled.to_ndarray()[0]
                for frame in (*container.decode(audio=0), None)
                for resampled in resampler.resample(frame)
            ]
    except FFmpegError as error:
        raise ValueError(
            f"{path} is not audio that can be read ({error.strerror}); "
            "give a WAV, MP3, FLAC, Ogg or M4A"
        ) from error
    return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
