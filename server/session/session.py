"""One viewer's stream as a state machine: messages and chunks in, answers and media out.

It does no I/O and reads no clock; every method that needs the time is passed it. After any call
that may have produced output the caller drains `next_output`.
"""

from __future__ import annotations

import hmac
from dataclasses import replace

from ...models.contract import Chunk, Controls, ModelInfo
from ..protocol.client_messages import (
    Ack,
    AudioClear,
    AudioEnd,
    ClientMessage,
    KeyRequest,
    Pause,
    Ping,
    Prompt,
    Reset,
    Resume,
    SceneChange,
    SeedChange,
    Tracks,
    TracksClear,
)
from ..protocol.errors import InvalidField, OutOfOrder, StreamError, Timeout, WrongResumeToken
from ..protocol.limits import MAX_QUEUED_AUDIO_MS
from ..protocol.messages import answer
from ..protocol.packets import Packet, check_duration, samples
from ..protocol.server_messages import Applied, Pong, ServerMessage, State
from .audio_queue import AudioQueue
from .control_queue import ControlQueue, check_supported
from .media import AudioPiece, ChunkRing, MediaChunk, VideoFrame, mute
from .options import SessionOptions
from .outbox import MAX_MESSAGES, Outbox, Output
from .pacing import Pacing
from .pending import OwnPicture
from .reports import Now, Reports
from .speech_budget import SpeechBudget


class Session:
    """The state of one stream; it outlives its connections by `options.grace_s`."""

    def __init__(self, info: ModelInfo, options: SessionOptions, now_s: float) -> None:
        self.info = info
        self.options = options
        self.scene = options.request.scene
        self.prompt = options.request.prompt or ""
        self.seed = options.request.seed
        self.generation = 0
        self.attached = True
        self.paused = False
        self.chunks = 0
        """Chunks generated; the next one has this index."""
        self.failure: StreamError | None = None
        """Set when the connection has to say so and close."""
        self._heard_s = self._detached_s = now_s
        self.held = False
        """Whether no chunk may be begun, for what the stream starts with is not ready yet."""
        self._interrupted = 0
        """Steps under way that show speech which nobody should hear any more."""
        self._drop_wanted = False
        self._cut = False
        """Whether the next chunk does not continue the one before it."""
        self._key_wanted = True
        self._audio_seq = 0
        self._controls = ControlQueue(info, has_picture=options.request.picture is not None)
        self._audio = AudioQueue(
            audio_rate=options.audio_rate,
            # without speech nothing is ever queued
            sample_rate=info.sample_rate or options.audio_rate,
            chunk_samples=info.chunk_samples,
            max_queued_ms=MAX_QUEUED_AUDIO_MS,
        )
        self._budget = SpeechBudget(info)
        self._pacing = Pacing(
            info, max_lead_chunks=options.max_lead_chunks, max_kbps=options.max_kbps
        )
        self._ring = ChunkRing(options.ring_frames(info))
        self._outbox = Outbox()
        self._reports = Reports(now_s)

    # What the client sends.

    def receive(self, message: ClientMessage | OwnPicture, now_s: float) -> None:
        """Act on a message. Raises a StreamError, to be passed to `refuse`, for a faulty one."""
        self._heard_s = now_s
        match message:
            case Ack():
                self._pacing.ack(message, now_s)
            case KeyRequest():
                self._key_wanted = True
                self._pacing.lost()
            case Ping():
                self.say(Pong(t_ms=message.t_ms, server_ms=now_s * 1e3))
            case Pause() | Resume() | AudioEnd() | AudioClear():
                self._control_now(message, now_s)
            case Reset():
                self._controls.add(message)
                self._audio.clear()
            case Prompt() | SceneChange() | OwnPicture() | Tracks() | TracksClear() | SeedChange():
                self._controls.add(message)
            case _:
                raise OutOfOrder(f"the stream is open already, {message.type} cannot follow")
        self._update_state(now_s)

    def receive_audio(self, packet: Packet, now_s: float) -> None:
        """Queue the client's audio. Raises AudioOverflow, TooLarge or NotSupported."""
        self._heard_s = now_s
        check_supported(self.info, "speech")
        check_duration(packet, self.options.audio_rate)
        self._audio.push(samples(packet), now_s)
        self._update_state(now_s)

    def refuse(self, error: StreamError) -> None:
        """Tell the client about its mistake; a fatal one ends the connection."""
        if error.fatal:
            self.fail(error)
        else:
            self.say(answer(error))

    # Generation: next_step_s -> begin_step -> finish_step.

    def next_step_s(self, now_s: float) -> float | None:
        """When the next chunk may be started; None while something else must happen first."""
        under_way = self._controls.under_way
        if not self.attached or self.paused or self.failure or self.held:
            return None
        if under_way >= self.options.max_under_way:
            return None
        if self._outbox.frames > self.info.chunk_frames:
            return None
        return self._pacing.next_step_s(now_s, under_way - self.dropping)

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
        controls = self._controls.begin()
        count = self._budget.begin(starts_anew=controls.reset, clears=controls.clear_audio)
        return replace(controls, audio=self._audio.take(now_s, count))

    def finish_step(self, chunk: Chunk, step_s: float, now_s: float) -> None:
        """Take a generated chunk: answer what it applied, keep it, queue it for sending."""
        media = self._place(chunk, now_s)
        controls, answers = self._controls.finish(chunk, media.index, media.pts_us(media.first_seq))
        self._budget.finish(len(chunk.frames))
        if self._cut or controls.reset or controls.clear_audio or controls.scene is not None:
            media, self._cut = replace(media, discontinuity=True), False
        if self._interrupted:
            media, self._interrupted = mute(media), self._interrupted - 1
        for answered in answers:
            self.say(answered)
        self.scene = chunk.scene
        self._obeyed(controls)
        self._ring.push(media)
        self._reports.rates.stepped(step_s, self.info.media_us(len(chunk.frames)) / 1e6)
        self._pacing.generated(len(chunk.frames), now_s)
        self.chunks += 1
        if self.attached:
            self._outbox.show(media.pieces(-1, self.options.audio))
        self._update_state(now_s)

    def drop_step(self) -> None:
        """A step came to its end and is not shown; the next chunk takes its place."""
        self._obeyed(self._controls.drop())
        self._budget.drop()
        self._interrupted = max(0, self._interrupted - 1)
        self._cut = True

    # What goes to the client.

    def next_output(self, now_s: float) -> Output | None:
        """What to send next; frames that would come too late are skipped and counted."""
        while (item := self._outbox.pop()) is not None:
            if not isinstance(item, VideoFrame):
                return item
            if self._pacing.admit(item.seq, self._outbox.frames, now_s):
                return item
        return None

    def take_audio_seq(self) -> int:
        """The seq of the audio packet that is about to be sent."""
        seq, self._audio_seq = self._audio_seq, self._audio_seq + 1
        return seq

    def take_key_request(self) -> bool:
        """Whether the frame that is about to be encoded has to be a key frame."""
        wanted, self._key_wanted = self._key_wanted, False
        return wanted

    @property
    def frames(self) -> int:
        """Frames generated; the next one has this seq."""
        return self._pacing.frames

    @property
    def has_picture(self) -> bool:
        """Whether the stream has a picture of its own to show."""
        return self._controls.has_picture

    @property
    def queued_audio_ms(self) -> int:
        """The client's audio that waits for the model."""
        return self._audio.queued_ms

    @property
    def skipped_frames(self) -> int:
        """Frames that were not encoded because the client lagged."""
        return self._pacing.skipped_frames

    @property
    def underruns(self) -> int:
        """Utterances that ran dry before their end."""
        return self._audio.underruns

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

    # Time and life.

    def tick(self, now_s: float, sessions: int) -> None:
        """Let time pass: adapt the bitrate, report state and statistics, notice silence."""
        if not self.attached:
            return
        if not self.paused:
            self._pacing.tick(now_s)
        if now_s - self._heard_s > self.options.idle_timeout_s:
            self.fail(Timeout(f"nothing was heard for {self.options.idle_timeout_s:g} s"))
        self._update_state(now_s)
        if self._reports.due(now_s):
            self.say(self._reports.stats(self._now(now_s, sessions), now_s))

    def say(self, message: ServerMessage) -> None:
        """Queue a message for the client."""
        if not self._outbox.say(message):
            self.fail(Timeout(f"the client left {MAX_MESSAGES} messages unread"))

    def fail(self, error: StreamError) -> None:
        """End the connection: it sends `failure` as its last message."""
        if self.failure is None:
            self.failure = error
            self._outbox.drop_connection()

    def detach(self, now_s: float) -> None:
        """The connection is gone: stop generating and wait for `resume`."""
        self.attached = False
        if isinstance(self.failure, Timeout):
            self.failure = None  # it ended a connection, not the stream
        self._detached_s = now_s
        self._outbox.drop_connection()
        self._controls.release_held()

    def expired(self, now_s: float) -> bool:
        """Whether nobody came back in time."""
        return not self.attached and now_s - self._detached_s >= self.options.grace_s

    def expires_in_s(self, now_s: float) -> float | None:
        """Seconds until the stream is given up; None while a client is connected."""
        if self.attached:
            return None
        return max(0.0, self._detached_s + self.options.grace_s - now_s)

    def check_resume(self, token: str, last_seq: int) -> None:
        """Raise a StreamError unless this client may go on with the stream."""
        if not hmac.compare_digest(token.encode(), self.options.resume_token.encode()):
            raise WrongResumeToken("the resume_token does not belong to this session")
        if last_seq >= self.frames:
            raise InvalidField(f"seq {last_seq} was never generated", field="last_seq")

    def resume(self, last_seq: int, *, audio: bool, now_s: float) -> int:
        """Go on over a new connection after frame `last_seq`; returns the next video seq."""
        chunks = self._ring.after(last_seq)
        first = max(last_seq + 1, chunks[0].first_seq) if chunks else self.frames
        self.options = replace(self.options, audio=audio)
        self.attached, self.failure = True, None
        self.generation += 1
        self._heard_s = now_s
        self._key_wanted = True
        self._pacing.restart(first)
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

    def close(self) -> None:
        """Free everything that was kept."""
        self._ring.clear()
        self._audio.clear()
        self._outbox.drop_connection()

    # Private.

    def _control_now(self, control: Pause | Resume | AudioEnd | AudioClear, now_s: float) -> None:
        """Controls that act on the session itself are answered at once."""
        position_us: float | None = None
        match control:
            case Pause():
                self.paused = True
                self._pacing.pause(now_s)
            case Resume():
                self.paused = False
                self._pacing.resume(now_s)
            case AudioEnd():
                check_supported(self.info, "speech", control.event_id)
                self._audio.end()
            case AudioClear():
                check_supported(self.info, "speech", control.event_id)
                position_us = self.position_us(now_s)
                self._barge_in(position_us)
        chunk = self.chunks + self._controls.under_way - self.dropping
        coming = self._budget.under_way_frames(besides=self.dropping)
        self.say(
            Applied(
                event_id=control.event_id,
                chunk=chunk,
                pts_us=self.info.media_us(self.frames + coming),
                position_us=position_us,
            )
        )

    def _barge_in(self, position_us: float) -> None:
        self._audio.clear()
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
            frames=chunk.frames,
            audio=chunk.audio,
        )

    def _update_state(self, now_s: float) -> None:
        """Report the state when anything but its figures changed."""
        if not self.attached or self.failure:
            return
        position_us = self.position_us(now_s)
        state = State(
            received=self._audio.receiving(now_s),
            talking=self._ring.talking_at(position_us),
            paused=self.paused,
            queued_audio_ms=self._audio.queued_ms,
            scene=self.scene,
            pts_us=position_us,
        )
        if self._reports.changed(state):
            self.say(state)

    def _now(self, now_s: float, sessions: int) -> Now:
        return Now(
            chunk=self.chunks,
            lead_us=self._pacing.lead_us(now_s),
            target_kbps=self.target_kbps,
            skipped_frames=self.skipped_frames,
            sessions=sessions,
            queued_audio_ms=self.queued_audio_ms,
        )
