"""One viewer's stream as a state machine: messages and chunks in, answers and media out.

It does no I/O and reads no clock; every method that needs the time is passed it. After any call
that may have produced output the caller drains `next_output`.
"""

from __future__ import annotations

import hmac
from collections import deque
from dataclasses import replace

import numpy as np

from ...models.contract import Chunk, Controls, ModelInfo
from ..protocol.client_messages import (
    Ack,
    AudioBegin,
    AudioClear,
    AudioEnd,
    CameraChange,
    ClientMessage,
    KeyRequest,
    Pause,
    Ping,
    Prompt,
    Reset,
    Resume,
    SceneChange,
    SeedChange,
    SessionQuery,
    Tracks,
    TracksClear,
    VideoChange,
)
from ..protocol.errors import (
    InvalidField,
    OutOfOrder,
    StreamError,
    Timeout,
    WrongResumeToken,
)
from ..protocol.fields import AudioCodec, Codec
from ..protocol.limits import MIN_KBPS
from ..protocol.messages import SERVER, answer, encode_message
from ..protocol.packets import Packet
from ..protocol.server_messages import (
    Applied,
    CameraState,
    HeldTrack,
    Pong,
    ServerMessage,
    SessionInfo,
    Speech,
    State,
    StreamParked,
)
from .arrivals import LinkReport, LiveSound
from .client_speech import ClientSpeech
from .control_queue import ControlQueue, check_supported
from .media import AudioPiece, ChunkRing, MediaChunk, PlaceRecord, VideoFrame, mute
from .options import SessionOptions
from .outbox import MAX_MESSAGES, Outbox, Output
from .pacing import Pacing
from .pending import ModelControl, OwnImage, OwnPicture
from .presence import Presence
from .quality import BEST, Quality
from .record import SessionRecord
from .reports import Now, Reports
from .video_queue import VideoQueue


class Session:
    """The state of one stream; it outlives its connections by `options.grace_s`."""

    def __init__(self, info: ModelInfo, options: SessionOptions, now_s: float) -> None:
        self.info = info
        self.options = options
        self.scene = options.request.scene
        self.prompt = options.request.prompt or ""
        self.seed = options.request.seed
        self._ignored_words: list[str] = []
        self.generation = 0
        self._presence = Presence(options, now_s)
        self.paused = False
        self.chunks = self.steps = 0
        """Chunks generated, the next one has this index; steps that came back, shown or not."""
        # chunks that are being made again for the ring, oldest first
        self._missing: deque[PlaceRecord] = deque()
        self._expected = False
        """Whether a viewer who saw it elsewhere is on its way, and needs the next chunk soon."""
        # of a viewer that never left, until its connection is back
        self._position_us: float | None = None
        self.failure: StreamError | None = None
        """Set when the connection has to say so and close."""
        self.held = False
        """Whether no chunk may be begun, for what the stream starts with is not ready yet."""
        self.parked: StreamParked | None = None
        """How the stream stands while it has no place; None: it has one."""
        self._shown_us = self._seen_us = 0.0
        """Where the viewer was last said to be; the furthest that it was thought to be, for an
        estimate between acks may go back."""
        self._interrupted = 0
        """Steps under way that show speech which nobody should hear any more."""
        self._drop_wanted = False
        self._cut = self._cut_unsaid = False
        """Whether the next chunk does not continue the one before it; whether a frame was skipped
        that would have told of a discontinuity."""
        self._key_wanted, self._audio_seq = True, 0
        self._controls = ControlQueue(
            info,
            has_picture=options.request.picture is not None,
            has_image=options.request.image is not None,
        )
        self.codec: Codec = "jpeg"
        self.encoder: str | None = None
        self.audio_codec: AudioCodec | None = None
        """As what the present connection is sent pictures and sound; None: no sound."""
        self._video = options.video
        self._speech = ClientSpeech(info, options.audio_codec, options.audio_rate)
        self.video_in = VideoQueue(info)
        self._pacing = Pacing(
            info,
            max_lead_chunks=options.max_lead_chunks,
            max_kbps=options.video.kbps(info, options.max_kbps),
        )
        self._ring = ChunkRing(options.ring_frames(info))
        self._outbox = Outbox()
        self._reports, self._quality = Reports(now_s), BEST

    # What the client sends.

    def receive(
        self, message: ClientMessage | OwnPicture | OwnImage | LinkReport, now_s: float
    ) -> None:
        """Act on a message. Raises a StreamError, to be passed to `refuse`, for a faulty one."""
        self._presence.heard(now_s)
        match message:
            case Ack():
                self._check_generated(message.last_seq)
                self._pacing.ack(message, now_s)
                if message.playhead_us > self._shown_us:
                    self._shown_us = message.playhead_us
                    self._presence.watched(now_s)
            case KeyRequest():
                self._key_wanted = True
                self._pacing.lost()
            case LinkReport():
                self._pacing.permit(message.kbps)
            case Ping():
                self.say(Pong(event_id=message.event_id, t_ms=message.t_ms, server_ms=now_s * 1e3))
            case SessionQuery():
                self.say(self._info(message.event_id, now_s))
            case VideoChange():
                self._change_video(message)
            case Pause() | Resume() | AudioBegin() | AudioEnd() | AudioClear():
                self._control_now(message, now_s)
            case (
                Prompt()
                | SceneChange()
                | OwnPicture()
                | OwnImage()
                | CameraChange()
                | Tracks()
                | TracksClear()
                | Reset()
                | SeedChange()
            ):
                if message.at_us is None:
                    self._control_model(message, now_s)
                else:
                    self._controls.schedule(message, message.at_us)
            case _:
                raise OutOfOrder(f"the stream is open already, {message.type} cannot follow")
        self._update_state(now_s)

    def receive_audio(self, packet: Packet, now_s: float) -> None:
        """Queue the client's audio.

        Raises AudioOverflow, InvalidField, TooLarge or NotSupported.
        """
        self._presence.heard(now_s)
        check_supported(self.info, "speech")
        self._speech.take(packet, now_s)
        self._heard_speech(now_s)

    def receive_sound(self, sound: LiveSound, now_s: float) -> None:
        """Queue what a microphone hears now. Raises AudioOverflow or NotSupported."""
        self._presence.heard(now_s)
        check_supported(self.info, "speech")
        self._speech.take_live(sound, now_s)
        self._heard_speech(now_s)

    def _heard_speech(self, now_s: float) -> None:
        self._presence.watched(now_s)
        self._update_state(now_s)

    def receive_frame(self, frame: np.ndarray, now_s: float) -> None:
        """Queue a frame of the client's video, uint8 RGB [H, W, 3] as the model takes it."""
        self.video_in.push(frame)
        self._presence.heard(now_s)
        self._presence.watched(now_s)

    def refuse(self, error: StreamError) -> None:
        """Tell the client about its mistake; a fatal one ends the connection."""
        if error.fatal:
            self.fail(error)
        else:
            self.say(answer(error))

    # Generation: next_step_s -> begin_step -> finish_step.

    def next_step_s(self, now_s: float) -> float | None:
        """When the next chunk may be begun, now or before now: at once.

        None while something else must happen first.
        """
        under_way = self._controls.under_way
        here = self.attached or self._expected
        if not here or self.paused or self.failure or self.held:
            return None
        if under_way >= self.options.max_under_way:
            return None
        if self._outbox.frames > self.info.chunk_frames:
            return None
        return self._pacing.next_step_s(now_s, under_way - self.dropping)

    def awaits(self, index: int) -> bool:
        """Whether this chunk of the model is one to be taken.

        Where a stream is given to the server that has it, chunks that were made for it as it was
        come to who has its name now.
        """
        if self._missing:
            return True
        return self._controls.under_way > 0 and index >= self.steps

    def begin_early(self, early_s: float) -> None:
        """From now on chunks are begun by so much earlier than the lead asks for."""
        self._pacing.begin_early(early_s)

    def deadline_s(self, now_s: float) -> float:
        """When the viewer runs out of frames."""
        return now_s + self._pacing.lead_us(now_s) / 1e6

    @property
    def dropping(self) -> int:
        """Steps under way of which nothing will be shown."""
        return self._interrupted if self._drops else 0

    def take_drop(self) -> bool:
        """Whether the steps under way should not be shown, since the last call."""
        wanted, self._drop_wanted = self._drop_wanted, False
        return wanted

    def begin_step(self, now_s: float) -> Controls:
        """The controls of the next chunk. Then comes `finish_step`, or `drop_step`."""
        self._expected = False
        for control in self._controls.due(self._coming_us):
            try:
                self._control_model(control, now_s)
            except StreamError as error:
                self.refuse(error)
        controls = self._controls.begin()
        audio = self._speech.feed(
            now_s, starts_anew=controls.starts_anew, clears=controls.clear_audio
        )
        video, economy = self.video_in.take(), self._quality.economy
        return replace(controls, audio=audio, video=video, economy=economy)

    def finish_step(self, chunk: Chunk, step_s: float, now_s: float) -> MediaChunk:
        """Take a generated chunk: answer what it applied, keep it, queue it for sending.

        Returns it with its place in the stream, as it is sent.
        """
        self._speech.placed(self.frames, len(chunk.pictures))
        media = self._place(chunk, now_s)
        controls, answers = self._controls.finish(chunk, media.index, media.pts_us(media.first_seq))
        if self._cut or _breaks(controls):
            media, self._cut = replace(media, discontinuity=True), False
        if self._interrupted:
            media, self._interrupted = mute(media), self._interrupted - 1
        for answered in answers:
            self.say(answered)
        self.scene = chunk.scene
        if controls.prompt is not None or self.chunks == 0:
            self._ignored_words = list(chunk.ignored_words)
        self._obeyed(controls)
        self._ring.push(media)
        self._forget()
        self._reports.rates.stepped(step_s, self.info.media_us(len(chunk.pictures)) / 1e6)
        self._pacing.generated(len(chunk.pictures), now_s)
        self.chunks += 1
        self.steps += 1
        if self.attached and self.failure is None:
            self._outbox.show(media.pieces(-1, self.options.audio))
        self._update_state(now_s)
        return media

    def drop_step(self) -> None:
        """A step came to its end and is not shown; the next chunk takes its place."""
        self._obeyed(self._controls.drop())
        self._speech.dropped(self.frames)
        self._interrupted = max(0, self._interrupted - 1)
        self._cut = True
        self.steps += 1

    # What goes to the client.

    def next_output(self, now_s: float) -> Output | None:
        """What to send next; frames that would come too late are skipped and counted."""
        while (item := self._outbox.pop()) is not None:
            if not isinstance(item, VideoFrame):
                return item
            self._cut_unsaid |= item.discontinuity
            if not self._shows(item.seq):
                self._pacing.leave_out(self._outbox.frames)
                continue
            if self._pacing.admit(item.seq, self._outbox.frames, now_s):
                item = replace(item, discontinuity=self._cut_unsaid)
                self._cut_unsaid = False
                return item
        return None

    @property
    def media_waits(self) -> bool:
        """Whether there is media to send now, and nothing to say before it."""
        return self._outbox.media_waits

    def take_audio_seq(self) -> int:
        """The seq of the audio packet that is about to be sent."""
        seq, self._audio_seq = self._audio_seq, self._audio_seq + 1
        return seq

    def take_key_request(self) -> bool:
        """Whether the frame that is about to be encoded has to be a key frame."""
        wanted, self._key_wanted = self._key_wanted, False
        return wanted

    def begin_generation(self) -> int:
        """What follows comes from another encoder; its number."""
        self._key_wanted = True
        self.generation += 1
        return self.generation

    @property
    def attached(self) -> bool:
        """Whether a client is connected."""
        return self._presence.attached

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the pictures that are sent."""
        return self._video.size(self.info, self._quality.size_share)

    @property
    def frames(self) -> int:
        """Frames generated; the next one has this seq."""
        return self._pacing.frames

    @property
    def has_picture(self) -> bool:
        """Whether the stream has a picture of its own to show."""
        return self._controls.has_picture

    @property
    def has_image(self) -> bool:
        """Whether the stream has an image to start from or to refer to."""
        return self._controls.has_image

    @property
    def sound_rate(self) -> int | None:
        """Samples per second of the sound that is sent; None: the model has none."""
        return self._speech.sound_rate

    @property
    def queued_audio_ms(self) -> int:
        """The client's audio that waits for the model."""
        return self._speech.queued_ms

    @property
    def unsent_messages(self) -> int:
        """Messages that wait for the connection to send them."""
        return self._outbox.unsent_messages

    @property
    def skipped_frames(self) -> int:
        """Frames that were not encoded because the client lagged."""
        return self._pacing.skipped_frames

    @property
    def underruns(self) -> int:
        """Utterances that ran dry before their end."""
        return self._speech.underruns

    @property
    def target_kbps(self) -> int:
        """The bitrate that the encoder should aim for."""
        return self._pacing.kbps

    def sent(self, item: AudioPiece | VideoFrame, byte_count: int, now_s: float) -> None:
        """A piece of media was handed to the socket."""
        frame = isinstance(item, VideoFrame)
        self._reports.rates.sent(byte_count, frame=frame)
        if frame:
            self._pacing.sent(item.seq, now_s)

    # From one server to another.

    def record(self, now_s: float) -> SessionRecord:
        """What another session needs to go on from here, beside its options and what is heard.

        That is given by `audio_from` and `original_from`.
        """
        return SessionRecord(
            steps=self.steps,
            chunks=self.chunks,
            frames=self.frames,
            generation=self.generation,
            scene=self.scene,
            prompt=self.prompt,
            seed=self.seed,
            ignored_words=self._ignored_words,
            paused=self.paused,
            lasted_s=self.age_s(now_s),
            interrupted=self._interrupted,
            cut=self._cut,
            audio_seq=self._audio_seq,
            skipped_frames=self.skipped_frames,
            codec=self.codec,
            audio_codec=self.audio_codec,
            video=self._video,
            controls=self._controls.record(),
            speech=self._speech.record(now_s),
            ring=self._ring.record(),
            answers=[encode_message(each) for each in self._outbox.answers],
            extra_lead_us=self._pacing.extra_lead_us,
        )

    def audio_from(self, index: int) -> np.ndarray:
        """The client's samples that wait for the model, int16, from number `index` on."""
        return self._speech.waiting(index)

    def original_from(self, index: int) -> list[tuple[int, np.ndarray]]:
        """What its client sent and may be heard yet, at the client's rate, where the model's is
        another: from sample `index` on, each stretch with the number of its first sample.
        """
        return self._speech.original_from(index)

    def load(
        self,
        record: SessionRecord,
        audio: np.ndarray,
        original: list[tuple[int, np.ndarray]],
        after_seq: int,
        now_s: float,
        position_us: float | None = None,
    ) -> None:
        """Go on where another session was; `audio` and `original` are what it gave `from` 0 on.

        The session has no client then, and is held until `refill` was given the chunks with a frame
        behind `after_seq`. `position_us` is where the viewer is, if it stays through all of this:
        then the chunk behind those is begun before it is here.
        Raises ValueError for a record that contradicts itself.
        """
        self.steps, self.chunks, self.generation = record.steps, record.chunks, record.generation
        self.scene, self.prompt, self.seed = record.scene, record.prompt, record.seed
        self._ignored_words = record.ignored_words
        self._presence.has_lasted(record.lasted_s, now_s)
        self._interrupted, self._cut = record.interrupted, record.cut
        self._audio_seq = record.audio_seq
        self.codec, self.audio_codec, self._video = record.codec, record.audio_codec, record.video
        self._controls.load(record.controls)
        self._speech.load(record.speech, audio, original, now_s)
        self._pacing.limit(self._video.kbps(self.info, self.options.max_kbps))
        self._pacing.load(record.frames, record.skipped_frames, record.extra_lead_us)
        self.paused = record.paused
        if self.paused:
            self._presence.paused(now_s)
            self._pacing.pause(now_s)
        self._missing = deque(
            each for each in record.ring if each.first_seq + each.frames > after_seq + 1
        )
        self._position_us = position_us
        if position_us is not None and not self.paused:
            self._pacing.restart(after_seq + 1, position_us)
            self._expected = True
        begin_us = self.info.media_us(after_seq + 1)
        self._seen_us = self._shown_us = begin_us if position_us is None else position_us
        for text in record.answers:
            self.say(SERVER.validate_json(text))
        self._presence.left(now_s)
        self.held = bool(self._missing)

    @property
    def missing(self) -> int | None:
        """The step whose chunk is made again next; None: all that is needed is there."""
        return self._missing[0].step if self._missing else None

    def refill(self, chunk: Chunk) -> None:
        """Take a chunk that was made again, that of step `missing`."""
        place = self._missing.popleft()
        media = MediaChunk(
            index=place.index,
            first_seq=place.first_seq,
            fps=self.info.fps,
            talking=chunk.talking,
            discontinuity=False,
            server_ms=place.server_ms,
            frames=chunk.pictures,
            audio=self._speech.heard(chunk, place.first_seq),
            sample_rate=self.sound_rate,
            step=place.step,
        )
        media = mute(media) if place.muted else media
        self._ring.push(replace(media, discontinuity=place.discontinuity))
        self.held = bool(self._missing)

    # Time and life.

    def tick(self, now_s: float, sessions: int) -> None:
        """Let time pass: adapt the bitrate, report state and statistics, notice silence."""
        if not self.attached:
            return
        if not self.paused:
            self._pacing.tick(now_s)
        verdict = self._presence.verdict(now_s)
        if verdict is not None:
            self.fail(verdict)
        self._update_state(now_s)
        if self._reports.due(now_s):
            self.say(self._reports.stats(self._now(now_s, sessions), now_s))

    def excuse(self, begin_s: float, end_s: float) -> None:
        """The server itself stood still meanwhile: nobody could be heard or come back."""
        self._presence.excuse(begin_s, end_s)

    def say(self, message: ServerMessage) -> None:
        """Queue a message for the client, unless its last one is about to be sent."""
        if self.failure is None and not self._outbox.say(message):
            self.fail(Timeout(f"the client left {MAX_MESSAGES} messages unread"))

    def fail(self, error: StreamError) -> None:
        """End the connection: what was said before is sent, and `failure` as the last message."""
        if self.failure is None:
            # its traceback leads back here, by way of a connection and its encoder
            self.failure = error.anew()
            self._outbox.drop_media()

    def detach(self, now_s: float) -> None:
        """The connection is gone: stop generating and wait for `resume`."""
        self._presence.left(now_s)
        if self.failure is not None and not self.failure.ends_stream:
            self.failure = None  # it ended a connection
        self._outbox.drop_connection()
        self._controls.release_held()
        self.video_in.clear()

    def expired(self, now_s: float) -> bool:
        """Whether nobody came back in time."""
        return self._presence.expired(now_s)

    def expires_in_s(self, now_s: float) -> float | None:
        """Seconds until the stream is given up; None while a client is connected."""
        return self._presence.expires_in_s(now_s)

    def ends_in_s(self, now_s: float) -> float | None:
        """Seconds until the stream is over at the latest; None while nobody can say."""
        return self._presence.ends_in_s(now_s)

    def age_s(self, now_s: float) -> float:
        """Seconds since the stream was opened."""
        return self._presence.age_s(now_s)

    def check_resume(self, token: str, last_seq: int) -> None:
        """Raise a StreamError unless this client may go on with the stream."""
        if not hmac.compare_digest(token.encode(), self.options.resume_token.encode()):
            raise WrongResumeToken("the resume_token does not belong to this session")
        self._check_generated(last_seq)

    def shown_as(self, codec: Codec, audio_codec: AudioCodec) -> None:
        """What the present connection is sent pictures and sound as."""
        sound = self.options.audio and self.info.sample_rate is not None
        self.codec, self.audio_codec = codec, audio_codec if sound else None

    def resume(self, last_seq: int, *, audio: bool, now_s: float) -> int:
        """Go on over a new connection after frame `last_seq`; returns the next video seq."""
        chunks = self._ring.after(last_seq)
        first = max(last_seq + 1, chunks[0].first_seq) if chunks else self.frames
        self.options = replace(self.options, audio=audio)
        self.failure = None
        self.begin_generation()
        self._presence.came(now_s)
        position_us, self._position_us = self._position_us, None
        self._shown_us = self.info.media_us(first) if position_us is None else position_us
        self._pacing.restart(first, position_us)
        self._cut_unsaid = False
        self._seen_us = self.position_us(now_s)
        self._reports.restart(now_s)
        if chunks and first > last_seq + 1:
            chunks[0] = replace(chunks[0], discontinuity=True)
        for chunk in chunks:
            self._outbox.show(chunk.pieces(last_seq, audio))
        self._update_state(now_s)
        return first

    def position_us(self, now_s: float) -> float:
        """Media time on the viewer's screen."""
        return self._pacing.position_us(now_s)

    def public_state(self, now_s: float) -> State:
        """What the stream does, for those who only watch: without its client it stands still."""
        return State(
            received=False,
            talking=self._ring.talking_at(max(self._seen_us, self.position_us(now_s))),
            paused=self.paused or not self.attached,
            queued_audio_ms=0,
            scene=self.scene,
            pts_us=self._seen_us,
        )

    def unwatched_s(self, now_s: float) -> float:
        """How long the viewer was not seen to watch or to speak."""
        return self._presence.unwatched_s(now_s)

    def still_s(self, now_s: float) -> float:
        """How long nothing was to be shown, paused or without a client; less than 0: it plays."""
        return self._presence.still_s(now_s)

    @property
    def kept_bytes(self) -> int:
        """What is kept of the stream, most of it for a resume."""
        return self._ring.byte_count + self._speech.byte_count

    def close(self) -> None:
        """Free everything that was kept."""
        self._ring.clear()
        self._speech.close()
        self.video_in.clear()
        self._outbox.drop_connection()

    # Private.

    def _check_generated(self, last_seq: int) -> None:
        if last_seq >= self.frames:
            raise InvalidField(f"seq {last_seq} was never generated", field="last_seq")

    def _control_now(
        self, control: Pause | Resume | AudioBegin | AudioEnd | AudioClear, now_s: float
    ) -> None:
        """Controls that act on the session itself are answered at once."""
        position_us: float | None = None
        cut: Speech | None = None
        match control:
            case Pause():
                self._presence.paused(now_s)
                self.paused = True
                self._pacing.pause(now_s)
            case Resume():
                self.paused = False
                self._presence.resumed()
                self._pacing.resume(now_s)
            case AudioBegin():
                check_supported(self.info, "speech", control.event_id)
                self._speech.begin(control)
            case AudioEnd():
                check_supported(self.info, "speech", control.event_id)
                self._speech.end(control)
            case AudioClear():
                check_supported(self.info, "speech", control.event_id)
                position_us = self.position_us(now_s)
                cut = self._clear_speech(position_us)
                self._barge_in(position_us)
        self.say(
            Applied(
                event_id=control.event_id,
                chunk=self._coming_chunk,
                pts_us=self._coming_us,
                position_us=position_us,
                item_id=None if cut is None else cut.item_id,
                played_ms=None if cut is None else cut.played_ms,
            )
        )

    def _control_model(self, control: ModelControl, now_s: float) -> None:
        self._controls.add(control)
        if isinstance(control, Reset | OwnImage):
            self._clear_speech(self.position_us(now_s))

    def _change_video(self, change: VideoChange) -> None:
        """Other bounds hold from the next frame on that is encoded."""
        self._video = self._video.changed(change)
        self._limit_bitrate()
        frame = self._outbox.next_frame
        self.say(
            Applied(
                event_id=change.event_id,
                chunk=self.chunks if frame is None else frame.chunk,
                pts_us=self.info.media_us(self.frames) if frame is None else frame.pts_us,
            )
        )

    def change_quality(self, quality: Quality) -> None:
        """Give up as much as this from the next chunk on."""
        self._quality = quality
        self._pacing.begin_sooner(quality.more_lead_chunks)
        self._limit_bitrate()

    def _shows(self, seq: int) -> bool:
        """Whether a frame is sent: not one that only repeats the one before it."""
        return seq % self._quality.economy.frame_every == 0 and self._video.shows(seq, self.info)

    def _limit_bitrate(self) -> None:
        most = self._video.kbps(self.info, self.options.max_kbps)
        self._pacing.limit(max(MIN_KBPS, round(most * self._quality.bitrate_share)))

    def _clear_speech(self, position_us: float) -> Speech | None:
        """Drop what waits and say so of each utterance; returns what is told of the first cut."""
        news, cut = self._speech.clear(position_us)
        for each in news:
            self.say(each)
        return cut

    @property
    def _coming_chunk(self) -> int:
        """The chunk that is begun next."""
        return self.chunks + self._controls.under_way - self.dropping

    @property
    def _coming_us(self) -> float:
        """Where it should start, if those under way come out as long as expected."""
        coming = self._speech.under_way_frames(besides=self.dropping)
        return self.info.media_us(self.frames + coming)

    def _barge_in(self, position_us: float) -> None:
        self._controls.clear_audio()
        self._outbox.mute()
        self._ring.mute_from(position_us)
        self._interrupted = self._controls.under_way
        self._drop_wanted = self._drops and self._interrupted > 0

    @property
    def _drops(self) -> bool:
        """Whether it pays: a single step is done sooner than it could be dropped."""
        return self.options.max_under_way > 1

    def _obeyed(self, controls: Controls) -> None:
        self.prompt = self.prompt if controls.prompt is None else controls.prompt
        self.seed = self.seed if controls.seed is None else controls.seed

    def _place(self, chunk: Chunk, now_s: float) -> MediaChunk:
        return MediaChunk(
            index=self.chunks,
            first_seq=self.frames,
            fps=self.info.fps,
            talking=chunk.talking,
            discontinuity=False,
            server_ms=now_s * 1e3,
            frames=chunk.pictures,
            audio=self._speech.heard(chunk, self.frames),
            sample_rate=self.sound_rate,
            step=self.steps,
        )

    def _forget(self) -> None:
        """Keep the client's sound for as long as frames that it lies beside."""
        first_seq = self._ring.first_seq
        self._speech.forget(self.frames if first_seq is None else first_seq)

    def _update_state(self, now_s: float) -> None:
        """Report the state when anything but its figures changed."""
        if not self.attached or self.failure:
            return
        self._seen_us = max(self._seen_us, self.position_us(now_s))
        for each in self._speech.told(self._seen_us):
            self.say(each)
        state = State(
            received=self._speech.receiving(now_s),
            talking=self._ring.talking_at(self._seen_us),
            paused=self.paused,
            queued_audio_ms=self._speech.queued_ms,
            scene=self.scene,
            ignored_words=self._ignored_words or None,
            pts_us=self._seen_us,
        )
        if self._reports.changed(state):
            self.say(state)

    def _info(self, event_id: str | None, now_s: float) -> SessionInfo:
        width, height = self.size
        return SessionInfo(
            event_id=event_id,
            session_id=self.options.session_id,
            model=self.info.name,
            scene=self.scene,
            prompt=self.prompt,
            seed=self.seed,
            has_picture=self.has_picture,
            has_image=self.has_image,
            paused=self.paused,
            tracks=[
                HeldTrack(id=key, anchor=anchor) for key, anchor in self._controls.tracks.items()
            ],
            camera=self._camera_state(),
            width=width,
            height=height,
            fps=self.info.fps,
            max_fps=self._video.fps(self.info),
            max_kbps=self._video.kbps(self.info, self.options.max_kbps),
            target_kbps=self.target_kbps,
            codec=self.codec,
            audio_codec=self.audio_codec,
            audio_rate=self.options.audio_rate,
            generation=self.generation,
            next_seq=self.frames,
            pts_us=self.position_us(now_s),
            queued_audio_ms=self.queued_audio_ms,
            items=self._speech.item_ids,
            waiting=self._controls.waiting,
            grace_s=self.options.grace_s,
        )

    def _camera_state(self) -> CameraState | None:
        if self.info.inputs.camera is None:
            return None
        camera = self._controls.camera
        return CameraState(translation=camera.translation, rotation=camera.rotation)

    def _now(self, now_s: float, sessions: int) -> Now:
        takes_video = self.info.inputs.video is not None
        return Now(
            chunk=self.chunks,
            lead_us=self._pacing.lead_us(now_s),
            target_kbps=self.target_kbps,
            skipped_frames=self.skipped_frames,
            sessions=sessions,
            queued_audio_ms=self.queued_audio_ms,
            video_frames=self.video_in.taken if takes_video else None,
            video_dropped=self.video_in.dropped if takes_video else None,
            quality=self._quality,
            parked=self.parked,
        )


def _breaks(controls: Controls) -> bool:
    """Whether a step with these does not continue what was before."""
    return controls.starts_anew or controls.clear_audio or controls.scene is not None
