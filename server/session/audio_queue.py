"""The jitter buffer between a client's audio and the model: steps fed whole, or with silence."""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from ..protocol.errors import AudioOverflow
from .resampler import Resampler, ResamplerRecord

FLUSH_AFTER_S = 0.5
ARRIVING_S = 0.3
LIVE_AHEAD_S = 0.3
SILENT_PEAK = 300


class AudioRecord(Struct, frozen=True):
    """A queue but for the samples that wait, which are those from `begin` to `end`."""

    begin: int
    end: int
    speaking: bool
    ended: bool
    began_ago_s: float
    came_ago_s: float | None
    pushed: int
    underruns: int
    skipped: int
    resampler: ResamplerRecord


class AudioQueue:
    """Samples at the client's `audio_rate` in, at the model's `sample_rate` out, step by step.

    Speaking starts when as much as a step takes is queued or the utterance has ended; when it runs
    dry the model is fed silence until that much is queued again. A sender that falls silent
    without saying so ends its utterance after `FLUSH_AFTER_S`. Audio that comes no faster than
    real time is live: when a stall has left more than three chunks of it waiting, silent stretches
    are skipped, so that a conversation does not stay late for ever. `chunk_samples` is how much a
    usual chunk takes.
    """

    def __init__(
        self, *, audio_rate: int, sample_rate: int, chunk_samples: int, max_queued_ms: int
    ) -> None:
        self._sample_rate = sample_rate
        self._chunk_samples = chunk_samples
        self._resampler = Resampler(audio_rate, sample_rate)
        self._max_samples = max_queued_ms * sample_rate // 1000
        self._samples = np.zeros(0, np.int16)
        self._speaking = False
        self._ended = False
        self._first_s = 0.0
        self._last_s: float | None = None
        self._pushed_samples = 0
        self.end_index = 0
        """Samples that were ever queued, at the model's rate; the next one has this number."""
        self.underruns = 0
        self.skipped_samples = 0

    @property
    def queued_ms(self) -> int:
        """How much audio waits for the model."""
        return len(self._samples) * 1000 // self._sample_rate

    @property
    def byte_count(self) -> int:
        """What it has."""
        return self._samples.nbytes

    @property
    def begin_index(self) -> int:
        """The number of the first sample that waits."""
        return self.end_index - len(self._samples)

    @property
    def in_utterance(self) -> bool:
        """Whether what comes next goes on with what the resampler has, and holds the end of."""
        return self._resampler.in_utterance

    def receiving(self, now_s: float) -> bool:
        """Whether audio waits or keeps arriving."""
        arriving = self._last_s is not None and now_s - self._last_s < ARRIVING_S
        return len(self._samples) > 0 or arriving

    def push(self, samples: np.ndarray, now_s: float) -> None:
        """Append int16 [n] at the client's rate.

        Raises AudioOverflow, and takes nothing, when it does not fit.
        """
        if len(self._samples) + self._resampler.converted(len(samples)) > self._max_samples:
            raise AudioOverflow(
                f"{self.queued_ms} ms of audio wait already and "
                f"at most {self._max_samples * 1000 // self._sample_rate} ms may",
                field="payload",
            )
        if not len(self._samples) and not self._speaking:
            self._first_s, self._pushed_samples = now_s, 0
        self._append(self._resampler.push(samples))
        self._last_s = now_s
        self._ended = False

    def end(self) -> None:
        """No more of this utterance will come: play out what is here without waiting."""
        self._append(self._resampler.finish())
        self._ended = len(self._samples) > 0

    def clear(self) -> None:
        """Forget everything that waits."""
        self._samples = self._samples[:0]
        self._resampler.reset()
        self._speaking = self._ended = False
        self._last_s = None

    def waiting(self, index: int) -> np.ndarray:
        """The samples that wait, int16, from number `index` on."""
        return self._samples[max(0, index - self.begin_index) :]

    def record(self, now_s: float) -> AudioRecord:
        """What another one needs to go on from here, beside what waits."""
        return AudioRecord(
            begin=self.begin_index,
            end=self.end_index,
            speaking=self._speaking,
            ended=self._ended,
            began_ago_s=now_s - self._first_s,
            came_ago_s=None if self._last_s is None else now_s - self._last_s,
            pushed=self._pushed_samples,
            underruns=self.underruns,
            skipped=self.skipped_samples,
            resampler=self._resampler.record(),
        )

    def load(self, record: AudioRecord, waiting: np.ndarray, now_s: float) -> None:
        """Go on where another one was. Raises ValueError unless all that waits is there."""
        if len(waiting) != record.end - record.begin:
            raise ValueError(f"{len(waiting)} samples of {record.end - record.begin} that wait")
        self._samples, self.end_index = waiting, record.end
        self._speaking, self._ended = record.speaking, record.ended
        self._first_s = now_s - record.began_ago_s
        self._last_s = None if record.came_ago_s is None else now_s - record.came_ago_s
        self._pushed_samples = record.pushed
        self.underruns, self.skipped_samples = record.underruns, record.skipped
        self._resampler.load(record.resampler)

    def take(self, now_s: float, samples: int) -> np.ndarray:
        """What the next step is fed: int16 [at most `samples`], empty for silence."""
        if not samples:
            return self._samples[:0]
        if self._live(now_s):
            self._skip_silence()
        if self._quiet(now_s):
            self._append(self._resampler.finish())
        ended = self._ended or self._quiet(now_s)
        if len(self._samples) >= samples or (ended and len(self._samples)):
            self._speaking = True
            return self._pop(samples)
        if self._speaking:
            self._speaking = False
            self.underruns += not ended
        return self._samples[:0]

    def _append(self, samples: np.ndarray) -> None:
        self._samples = np.concatenate((self._samples, samples))
        self._pushed_samples += len(samples)
        self.end_index += len(samples)

    def _pop(self, count: int) -> np.ndarray:
        head, self._samples = self._samples[:count], self._samples[count:]
        if not len(self._samples) and self._ended:
            self._speaking = self._ended = False
        return head

    def _quiet(self, now_s: float) -> bool:
        return self._last_s is not None and now_s - self._last_s > FLUSH_AFTER_S

    def _live(self, now_s: float) -> bool:
        allowed_s = now_s - self._first_s + LIVE_AHEAD_S
        return self._pushed_samples <= allowed_s * self._sample_rate

    def _skip_silence(self) -> None:
        """Drop 20 ms blocks of silence from the head down to two chunks, if over three wait."""
        block = self._sample_rate // 50
        if len(self._samples) <= 3 * self._chunk_samples:
            return
        while len(self._samples) > 2 * self._chunk_samples:
            if np.abs(self._samples[:block].astype(np.int32)).max() > SILENT_PEAK:
                return
            self._samples = self._samples[block:]
            self.skipped_samples += block
