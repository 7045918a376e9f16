"""Speech as it is spoken: a chunk's samples in, the features of its video frames out.

The published code encodes a whole file, or each chunk alone. Here a chunk is seen with what was
said before it and a short look-ahead: `SpeechView`. What a voice says is shown so much later, and
comes back with the frames that show it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..student.speech_projector import HISTORY_FRAMES
from ..upload import uploaded
from .speech_encoder import HOP, SpeechEncoder, frames_in
from .speech_frames import FEATURE_RATE, live_frames
from .speech_level import BLOCK, SpeechLevel

SAMPLE_RATE = 16_000
# Level of a video frame, as a share of full scale, from which on somebody talks.
_TALKING = 0.008


@dataclass(frozen=True, slots=True)
class SpeechView:
    """How much of a voice a chunk is encoded with, in features of 20 ms.

    `context` of them lie before the chunk, `lookahead` behind it.
    """

    context: int = 400
    lookahead: int = 10

    def __post_init__(self) -> None:
        # the last feature of a chunk ends 5 ms behind it
        if self.context < 1 or self.lookahead < 1:
            raise ValueError(
                f"context {self.context}, lookahead {self.lookahead}; expected at least 1 of each"
            )


@dataclass(slots=True)
class LiveSpeech:
    """What a stream keeps of its voice, on a clock that counts samples of what is shown.

    `unshown` int16 is what was fed and is not shown yet: the look-ahead; `signal` is the same
    normalised. `frames` [T, C] are the features before, the first of them feature `first` of the
    stream, and all of them are made of samples that were shown. `tail` are the normalised samples
    before `signal` that the next feature needs.
    """

    unshown: np.ndarray
    signal: np.ndarray
    tail: np.ndarray
    frames: Tensor
    first: int = 0
    shown: int = 0
    level: SpeechLevel = field(default_factory=SpeechLevel)

    @classmethod
    def silent(cls, view: SpeechView, width: int, start: int) -> LiveSpeech:
        """Of a stream that begins with so many samples of silence before what is shown."""
        ahead = view.lookahead * HOP
        return cls(
            unshown=np.zeros(start + ahead, np.int16),
            signal=np.zeros(start + ahead, np.float32),
            tail=np.zeros(0, np.float32),
            frames=torch.zeros(0, width),
        )

    def clear(self) -> None:
        """Forget what was fed and is not shown yet (barge-in)."""
        self.unshown = np.zeros_like(self.unshown)
        self.signal = np.zeros_like(self.signal)

    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors to save."""
        return {
            "unshown": torch.from_numpy(self.unshown),
            "signal": torch.from_numpy(self.signal),
            "tail": torch.from_numpy(self.tail),
            "frames": self.frames,
        }

    def metadata(self) -> dict[str, Any]:
        """The rest, JSON-able."""
        level = asdict(self.level)
        return {"first": self.first, "shown": self.shown, "level": level}

    @classmethod
    def load(cls, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> LiveSpeech:
        """What `tensors` and `metadata` saved."""
        return cls(
            unshown=tensors["unshown"].numpy(),
            signal=tensors["signal"].numpy(),
            tail=tensors["tail"].numpy(),
            frames=tensors["frames"],
            first=int(metadata["first"]),
            shown=int(metadata["shown"]),
            level=SpeechLevel(**metadata["level"]),
        )


@dataclass(frozen=True, slots=True)
class SpokenChunk:
    """What the student hears of a chunk, and what the viewer does.

    `features` [1, layers, C, F] are those of its video frames, `history` [1, layers, C, 5] those
    right before them, copies of the first at the start of a stream. `heard` is int16, `talking`
    whether there is a voice in it.
    """

    features: Tensor
    history: Tensor
    heard: np.ndarray
    talking: bool


class SpeechListener:
    """An encoder with a view, for any number of streams of `fps` video frames a second."""

    def __init__(self, encoder: SpeechEncoder, view: SpeechView, fps: int) -> None:
        """Raises ValueError for a rate whose frames do not last whole features, and for a view that
        does not reach back as far as the student does."""
        if SAMPLE_RATE % fps or SAMPLE_RATE // fps % BLOCK:
            raise ValueError(f"{fps} frames a second do not last whole features of {HOP} samples")
        least = HISTORY_FRAMES * FEATURE_RATE // fps + 2
        if view.context < least:
            raise ValueError(f"context {view.context}; the student looks back over {least}")
        self.encoder, self.view, self.fps = encoder, view, fps
        self._frame_samples = SAMPLE_RATE // fps

    def begin(self, silent_frames: int = 0, before: LiveSpeech | None = None) -> LiveSpeech:
        """A stream whose first chunk begins with so many video frames that nobody is shown.

        Where it goes on from one `before`, it knows the loudness of that voice, and shows what was
        fed and not shown there.
        """
        silence = silent_frames * self._frame_samples
        begun = LiveSpeech.silent(self.view, self.encoder.width, silence)
        if before is not None:
            begun.level = before.level
            begun.unshown[silence:], begun.signal[silence:] = before.unshown, before.signal
        return begun

    def listen(self, speech: LiveSpeech, samples: np.ndarray, frames: int) -> SpokenChunk:
        """The next chunk of `frames` video frames; `samples` int16 are fed, the rest is silence.

        A stream's first chunk is fed less than it lasts by its silent frames. Raises ValueError for
        more samples than the chunk has room for.
        """
        fed = self._fed(speech, samples, frames)
        unshown = np.concatenate((speech.unshown, fed))
        signal = np.concatenate((speech.tail, speech.signal, speech.level.normalised(fed)))
        new = self.encoder.convolve(torch.from_numpy(signal))
        # where the encoder computes, or the host would wait for all that was asked for there
        seen = torch.cat((uploaded(speech.frames, new.device), new.float()))
        first = speech.shown // self._frame_samples
        spoken = self._encode(speech.first, seen, range(first, first + frames))
        heard = unshown[: frames * self._frame_samples]
        self._move_on(speech, unshown, signal, seen, len(heard))
        return SpokenChunk(*spoken, heard, self._talking(heard))

    def room(self, speech: LiveSpeech, frames: int) -> int:
        """Samples that the next chunk of so many video frames is fed."""
        ahead = self.view.lookahead * HOP
        return frames * self._frame_samples + ahead - len(speech.unshown)

    def _fed(self, speech: LiveSpeech, samples: np.ndarray, frames: int) -> np.ndarray:
        room = self.room(speech, frames)
        if len(samples) > room:
            raise ValueError(
                f"audio of one step has {len(samples)} samples; at most {room} fit, feed the rest "
                "with the next step"
            )
        return np.concatenate((samples, np.zeros(room - len(samples), np.int16)))

    def _encode(self, first: int, seen: Tensor, frames: range) -> tuple[Tensor, Tensor]:
        """Features of the video `frames`, and of those before them."""
        # before a stream's first frame it always was as it is there
        places = [max(0, k) for k in range(frames.start - HISTORY_FRAMES, frames.stop)]
        start = max(0, places[0] * FEATURE_RATE // self.fps - 1 - first)
        weight = next(self.encoder.module.parameters())
        layers = self.encoder.attend(seen.to(weight), slice(start, None)).float()
        placed = live_frames(layers, first + start, places, fps=self.fps).permute(1, 2, 0)[None]
        return placed[..., HISTORY_FRAMES:], placed[..., :HISTORY_FRAMES]

    def _move_on(
        self, speech: LiveSpeech, unshown: np.ndarray, signal: np.ndarray, seen: Tensor, shown: int
    ) -> None:
        """Keep what the next chunk needs; features that saw the look-ahead are made anew then.

        `signal` begins with the tail.
        """
        speech.shown += shown
        behind = len(speech.tail) + shown
        whole = frames_in(speech.shown) - speech.first
        settled = seen[:whole]
        begin = (speech.first + whole) * HOP - (speech.shown - behind)
        speech.tail = signal[begin:behind].copy()
        speech.unshown, speech.signal = unshown[shown:].copy(), signal[behind:].copy()
        speech.frames = settled[-self.view.context :].clone()
        speech.first += len(settled) - len(speech.frames)

    def _talking(self, heard: np.ndarray) -> bool:
        frames = heard.astype(np.float32).reshape(-1, self._frame_samples) / 32768
        return bool((np.sqrt(np.square(frames).mean(axis=1)) > _TALKING).any())
