"""What a client says: from its packets to what each step is fed, and where that is heard."""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from ...models.contract import Chunk, ModelInfo
from ..protocol.client_messages import AudioBegin, AudioEnd
from ..protocol.fields import AudioCodec
from ..protocol.limits import MAX_QUEUED_AUDIO_MS
from ..protocol.packets import Packet
from ..protocol.server_messages import Speech
from .arrivals import LiveSound
from .audio_queue import AudioQueue, AudioRecord
from .original_sound import OriginalRecord, OriginalSound
from .speech_budget import BudgetRecord, SpeechBudget
from .uplink import Uplink
from .utterances import Utterances, UtterancesRecord


class SpeechRecord(Struct, frozen=True):
    """All of it but for samples; `original` is None where the model hears at the client's rate."""

    audio: AudioRecord
    budget: BudgetRecord
    utterances: UtterancesRecord
    original: OriginalRecord | None


class ClientSpeech:
    """One client's speech; steps are `feed`, and then `placed` or `dropped` in the same order.

    The model is fed a copy at its own rate, and gives that back. Who listens hears what was sent.
    """

    def __init__(self, info: ModelInfo, codec: AudioCodec, rate: int) -> None:
        """`rate` is of what the client sends, in samples per second."""
        self._info = info
        self._rate = rate
        self._uplink = Uplink(codec, rate)
        self._queue = AudioQueue(
            audio_rate=rate,
            # without speech nothing is ever queued
            sample_rate=info.sample_rate or rate,
            chunk_samples=info.chunk_samples,
            max_queued_ms=MAX_QUEUED_AUDIO_MS,
        )
        self._budget = SpeechBudget(info)
        self._utterances = Utterances(info, rate)
        copied = info.sample_rate not in (None, rate)
        self._original = OriginalSound(info, rate) if copied else None

    @property
    def sound_rate(self) -> int | None:
        """Samples per second of what is heard; None: the model has no sound."""
        return None if self._info.sample_rate is None else self._rate

    @property
    def queued_ms(self) -> int:
        """How much waits for the model."""
        return self._queue.queued_ms

    @property
    def underruns(self) -> int:
        """Utterances that ran dry before their end."""
        return self._queue.underruns

    @property
    def byte_count(self) -> int:
        """What is kept."""
        original = 0 if self._original is None else self._original.byte_count
        return self._queue.byte_count + original

    @property
    def item_ids(self) -> list[str]:
        """The utterances that are not over, in order."""
        return self._utterances.item_ids

    def receiving(self, now_s: float) -> bool:
        """Whether speech waits or keeps arriving."""
        return self._queue.receiving(now_s)

    # What the client sends.

    def take(self, packet: Packet, now_s: float) -> None:
        """Queue a packet. Raises AudioOverflow, InvalidField or TooLarge."""
        self._push(self._uplink.samples(packet), now_s)

    def take_live(self, sound: LiveSound, now_s: float) -> None:
        """Queue what a microphone hears now. Raises AudioOverflow."""
        self._push(self._uplink.resampled(sound), now_s)

    def begin(self, control: AudioBegin) -> None:
        """What comes from here on is this utterance. Raises InvalidField or RateLimited."""
        self._utterances.check_new(control.item_id, control.event_id)
        self._end()
        self._utterances.begin(control.item_id, self._queue.end_index)

    def end(self, control: AudioEnd) -> None:
        """The utterance is complete. Raises InvalidField where it is another one."""
        self._utterances.check_open(control.item_id, control.event_id)
        self._end()

    def clear(self, position_us: float) -> tuple[list[Speech], Speech | None]:
        """Drop what waits and was fed: what is told of each utterance, and of the first cut."""
        if self._original is not None:
            self._original.cut(self._queue.begin_index)
        whole = not self._queue.in_utterance
        self._queue.clear()
        self._mark()
        return self._utterances.clear(position_us, self._queue.end_index, whole=whole)

    # Steps.

    def feed(self, now_s: float, *, starts_anew: bool, clears: bool) -> np.ndarray:
        """What the next step is fed, int16 at the model's rate; see `SpeechBudget.begin`."""
        count = self._budget.begin(starts_anew=starts_anew, clears=clears)
        audio = self._queue.take(now_s, count)
        self._budget.fed(len(audio))
        first = self._queue.begin_index - len(audio)
        self._utterances.fed(first, len(audio))
        if self._original is not None:
            self._mark()
            self._original.fed(first, len(audio), clears=starts_anew or clears)
        return audio

    def placed(self, first_seq: int, frames: int) -> None:
        """The oldest step came out, as so many frames from `first_seq` on."""
        waited = self._budget.finish(frames)
        self._utterances.placed(self._info.samples(first_seq) + waited)
        if self._original is not None:
            self._original.placed(first_seq, waited)

    def heard(self, chunk: Chunk, first_seq: int) -> np.ndarray:
        """What is heard beside a chunk's frames, int16 at `sound_rate`."""
        if self._original is None:
            return chunk.audio
        return self._original.sound(first_seq, len(chunk.pictures))

    def forget(self, first_seq: int) -> None:
        """Of frames before this one nobody asks again what is heard beside them."""
        if self._original is not None:
            self._original.forget(first_seq, self._queue.begin_index)

    def dropped(self, next_seq: int) -> None:
        """The oldest step is not shown; the frame that comes next is `next_seq`."""
        self._budget.drop()
        self._utterances.dropped()
        if self._original is not None:
            self._original.dropped(next_seq)

    def under_way_frames(self, *, besides: int = 0) -> int:
        """How many frames the steps under way should have, without the `besides` oldest."""
        return self._budget.under_way_frames(besides=besides)

    def told(self, position_us: float) -> list[Speech]:
        """What began and ended up to this media time and was not told yet."""
        return self._utterances.told(position_us)

    # From one server to another.

    def record(self, now_s: float) -> SpeechRecord:
        """What another one needs to go on from here, beside `waiting` and `original_from`."""
        return SpeechRecord(
            audio=self._queue.record(now_s),
            budget=self._budget.record(),
            utterances=self._utterances.record(),
            original=None if self._original is None else self._original.record(),
        )

    def waiting(self, index: int) -> np.ndarray:
        """The samples that wait, int16 at the model's rate, from number `index` on."""
        return self._queue.waiting(index)

    def original_from(self, index: int) -> list[tuple[int, np.ndarray]]:
        """What was sent and is kept, from sample `index` on: see `SampleRow.since`."""
        return [] if self._original is None else self._original.since(index)

    def load(
        self,
        record: SpeechRecord,
        waiting: np.ndarray,
        original: list[tuple[int, np.ndarray]],
        now_s: float,
    ) -> None:
        """Go on where another one was. Raises ValueError unless all that waits is there."""
        if (record.original is None) != (self._original is None):
            raise ValueError("the record is of speech at another rate")
        if self._original is not None and record.original is not None:
            self._original.load(record.original, original)
        self._queue.load(record.audio, waiting, now_s)
        self._budget.load(record.budget)
        self._utterances.load(record.utterances)

    def close(self) -> None:
        """Free what is kept."""
        self._queue.clear()
        if self._original is not None:
            self._original.close()

    def _push(self, samples: np.ndarray, now_s: float) -> None:
        self._queue.push(samples, now_s)
        self._utterances.sent(len(samples))
        if self._original is not None:
            self._original.sent(samples)

    def _mark(self) -> None:
        """Say where the copy of what comes next begins, where that is sure."""
        if self._original is not None and not self._queue.in_utterance:
            self._original.seam(self._queue.end_index)

    def _end(self) -> None:
        self._queue.end()
        self._mark()
        self._utterances.end(self._queue.end_index)
