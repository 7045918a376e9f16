"""What a client says: from its packets to what each step is fed, and where that is heard."""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from ...models.contract import ModelInfo
from ..protocol.client_messages import AudioBegin, AudioEnd
from ..protocol.fields import AudioCodec
from ..protocol.limits import MAX_QUEUED_AUDIO_MS
from ..protocol.packets import Packet
from ..protocol.server_messages import Speech
from .arrivals import LiveSound
from .audio_queue import AudioQueue, AudioRecord
from .speech_budget import BudgetRecord, SpeechBudget
from .uplink import Uplink
from .utterances import Utterances, UtterancesRecord


class SpeechRecord(Struct, frozen=True):
    """All of it but for the samples that wait."""

    audio: AudioRecord
    budget: BudgetRecord
    utterances: UtterancesRecord


class ClientSpeech:
    """One client's speech; steps are `feed`, and then `placed` or `dropped` in the same order."""

    def __init__(self, info: ModelInfo, codec: AudioCodec, rate: int) -> None:
        """`rate` is of what the client sends, in samples per second."""
        self._info = info
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
        return self._queue.byte_count

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
        self._queue.clear()
        return self._utterances.clear(position_us, self._queue.end_index)

    # Steps.

    def feed(self, now_s: float, *, starts_anew: bool, clears: bool) -> np.ndarray:
        """What the next step is fed, int16 at the model's rate; see `SpeechBudget.begin`."""
        count = self._budget.begin(starts_anew=starts_anew, clears=clears)
        audio = self._queue.take(now_s, count)
        self._budget.fed(len(audio))
        self._utterances.fed(self._queue.begin_index - len(audio), len(audio))
        return audio

    def placed(self, first_seq: int, frames: int) -> None:
        """The oldest step came out, as so many frames from `first_seq` on."""
        waited = self._budget.finish(frames)
        self._utterances.placed(self._info.samples(first_seq) + waited)

    def dropped(self) -> None:
        """The oldest step is not shown."""
        self._budget.drop()
        self._utterances.dropped()

    def under_way_frames(self, *, besides: int = 0) -> int:
        """How many frames the steps under way should have, without the `besides` oldest."""
        return self._budget.under_way_frames(besides=besides)

    def told(self, position_us: float) -> list[Speech]:
        """What began and ended up to this media time and was not told yet."""
        return self._utterances.told(position_us)

    # From one server to another.

    def record(self, now_s: float) -> SpeechRecord:
        """What another one needs to go on from here, beside what `waiting` gives."""
        return SpeechRecord(
            self._queue.record(now_s), self._budget.record(), self._utterances.record()
        )

    def waiting(self, index: int) -> np.ndarray:
        """The samples that wait, int16 at the model's rate, from number `index` on."""
        return self._queue.waiting(index)

    def load(self, record: SpeechRecord, waiting: np.ndarray, now_s: float) -> None:
        """Go on where another one was. Raises ValueError unless all that waits is there."""
        self._queue.load(record.audio, waiting, now_s)
        self._budget.load(record.budget)
        self._utterances.load(record.utterances)

    def close(self) -> None:
        """Free what is kept."""
        self._queue.clear()

    def _push(self, samples: np.ndarray, now_s: float) -> None:
        self._queue.push(samples, now_s)
        self._utterances.sent(len(samples))

    def _end(self) -> None:
        self._queue.end()
        self._utterances.end(self._queue.end_index)
