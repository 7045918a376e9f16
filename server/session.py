"""One viewer's stream as a state machine: messages and chunks in, answers and media out.

It does no I/O and reads no clock; every method that needs the time is passed it. After any call
that may have produced output the caller drains `next_output`.
"""

from __future__ import annotations

import hmac
import math
from dataclasses import dataclass, replace

from ..models.stream import Chunk, Controls, ModelInfo
from .audio_queue import AudioQueue
from .errors import (
    InvalidField,
    NotSupported,
    OutOfOrder,
    StreamError,
    Timeout,
    UnknownScene,
    WrongResumeToken,
)
from .limits import MAX_KBPS, MAX_QUEUED_AUDIO_MS
from .link import Link, default_kbps
from .media import AudioPiece, ChunkRing, MediaChunk, VideoFrame, mute
from .messages import (
    Ack,
    Applied,
    AudioClear,
    AudioEnd,
    ClientMessage,
    KeyRequest,
    Pause,
    Ping,
    Pong,
    Prompt,
    Reset,
    Resume,
    SceneChange,
    SeedChange,
    ServerMessage,
    State,
    Stats,
    Tracks,
    TracksClear,
)
from .outbox import MAX_MESSAGES, Outbox, Output
from .packets import Packet, samples
from .pending import Event, ModelControl, PendingControls
from .playhead import EXTRAPOLATE_S, Playhead
from .protocol import answer
from .rates import Figures, Rates

STATS_EVERY_S = 1.0
LATE_SHARE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """What a stream is opened with."""

    session_id: str
    resume_token: str
    seed: int
    scene: str
    prompt: str
    audio: bool = True
    max_kbps: int = MAX_KBPS
    max_lead_chunks: float = 2.0
    grace_s: float = 30.0
    idle_timeout_s: float = 60.0


class Session:
    """The state of one stream; it outlives its connections by `options.grace_s`."""

    def __init__(self, info: ModelInfo, options: SessionOptions, now_s: float) -> None:
        self.info = info
        self.options = options
        self.scene = options.scene
        self.prompt = options.prompt
        self.seed = options.seed
        self.generation = 0
        self.attached = True
        self.paused = False
        self.chunks = 0
        """Chunks generated; the next one has this index."""
        self.skipped_frames = 0
        self.failure: StreamError | None = None
        """Set when the connection has to say so and close."""
        self._heard_s = self._detached_s = now_s
        self._stepping: tuple[Controls, list[Event]] | None = None
        self._mute_step = False
        self._late = False
        self._key_wanted = True
        self._audio_seq = 0
        self._end_us = 0.0
        """Where the media ends that the viewer was or will be sent."""
        self._leaving_us = 0.0
        self._pending = PendingControls()
        self._audio = AudioQueue(
            sample_rate=info.sample_rate,
            chunk_samples=info.chunk_samples,
            max_queued_ms=MAX_QUEUED_AUDIO_MS,
        )
        self._playhead = Playhead(chunk_us=info.chunk_us, max_lead_chunks=options.max_lead_chunks)
        self._link = self._new_link()
        self._ring = ChunkRing(_ring_chunks(info, options))
        self._outbox = Outbox()
        self._state: State | None = None
        self._rates = Rates(now_s)

    # What the client sends.

    def receive(self, message: ClientMessage, now_s: float) -> None:
        """Act on a message. Raises a StreamError, to be passed to `refuse`, for a faulty one."""
        self._heard_s = now_s
        match message:
            case Ack():
                self._ack(message, now_s)
            case KeyRequest():
                self._key_wanted = True
                self._link.forget()
            case Ping():
                self.say(Pong(t_ms=message.t_ms, server_ms=now_s * 1e3))
            case Pause() | Resume() | AudioEnd() | AudioClear():
                self._control_now(message, now_s)
            case Prompt() | SceneChange() | Tracks() | TracksClear() | Reset() | SeedChange():
                self._control(message)
            case _:
                raise OutOfOrder(f"the stream is open already, {message.type} cannot follow")
        self._update_state(now_s)

    def receive_audio(self, packet: Packet, now_s: float) -> None:
        """Queue the client's audio. Raises AudioOverflow or NotSupported."""
        self._heard_s = now_s
        self._check_supported("audio", None)
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
        if not self.attached or self.paused or self._stepping or self.failure:
            return None
        if self._outbox.frames > self.info.chunk_frames:
            return None
        return self._playhead.next_step_s(now_s, self._end_us)

    def deadline_s(self, now_s: float) -> float:
        """When the viewer runs out of frames."""
        return now_s + self._lead_us(now_s) / 1e6

    def begin_step(self, now_s: float) -> Controls:
        """The controls of the next chunk. Call `finish_step` with what they gave."""
        assert self._stepping is None, "one step at a time"
        pending, self._pending = self._pending, self._pending.following()
        controls = pending.controls(self._audio.take(now_s))
        self._stepping = controls, pending.events
        return controls

    def finish_step(self, chunk: Chunk, step_s: float, now_s: float) -> None:
        """Take a generated chunk: answer what it applied, keep it, queue it for sending."""
        assert self._stepping is not None, "no step was begun"
        (controls, events), self._stepping = self._stepping, None
        self._rates.stepped(step_s)
        self._late = self._lead_us(now_s) < LATE_SHARE * self.info.chunk_us
        cut = controls.reset or controls.clear_audio or controls.scene is not None
        media = self._place(chunk, cut, now_s)
        if self._mute_step:
            media, self._mute_step = mute(media), False
        self._answer(events, chunk, media)
        self._remember(controls, chunk)
        self._ring.push(media)
        self.chunks += 1
        self._end_us = self._generated_us
        if self.attached:
            self._outbox.show(media.pieces(-1, self.options.audio))
        self._update_state(now_s)

    # What goes to the client.

    def next_output(self, now_s: float) -> Output | None:
        """What to send next; frames that would come too late are skipped and counted."""
        while (item := self._outbox.pop()) is not None:
            if not isinstance(item, VideoFrame):
                return item
            if not self._link.skip(self._max_lead_s, self.info.chunk_frames, now_s):
                self._leaving_us = self._pts_us(item.seq + 1)
                return item
            self.skipped_frames += 1
            if not self._outbox.frames:
                # The viewer cannot play up to a frame that it will never get.
                self._end_us = self._leaving_us
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
    def queued_audio_ms(self) -> int:
        """The client's audio that waits for the model."""
        return self._audio.queued_ms

    @property
    def underruns(self) -> int:
        """Utterances that ran dry before their end."""
        return self._audio.underruns

    @property
    def target_kbps(self) -> int:
        """The bitrate that the encoder should aim for."""
        return self._link.kbps

    def sent(self, item: AudioPiece | VideoFrame, byte_count: int, now_s: float) -> None:
        """A piece of media was handed to the socket."""
        frame = isinstance(item, VideoFrame)
        self._rates.sent(byte_count, frame=frame)
        if frame:
            self._link.sent(item.seq, now_s)

    # Time and life.

    def tick(self, now_s: float, sessions: int) -> None:
        """Let time pass: adapt the bitrate, report state and statistics, notice silence."""
        if not self.attached:
            return
        if not self.paused:
            self._link.adapt(self._max_lead_s, now_s)
        if now_s - self._heard_s > self.options.idle_timeout_s:
            self.fail(Timeout(f"nothing was heard for {self.options.idle_timeout_s:g} s"))
        self._update_state(now_s)
        if now_s - self._rates.since_s >= STATS_EVERY_S:
            figures, self._rates = self._rates.figures(now_s), self._rates.following(now_s)
            self.say(self._stats(figures, now_s, sessions))

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
        self._detached_s = now_s
        self._outbox.drop_connection()
        self._pending.release_held()

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
        if last_seq >= self.chunks * self.info.chunk_frames:
            raise InvalidField(f"seq {last_seq} was never generated", field="last_seq")

    def resume(self, last_seq: int, *, audio: bool, now_s: float) -> int:
        """Go on over a new connection after frame `last_seq`; returns the next video seq."""
        chunks = self._ring.after(last_seq)
        frames = self.info.chunk_frames
        first = max(last_seq + 1, chunks[0].first_seq) if chunks else self.chunks * frames
        self.options = replace(self.options, audio=audio)
        self.attached, self.failure = True, None
        self.generation += 1
        self._heard_s = now_s
        self._key_wanted = True
        self._link = self._new_link()
        self._playhead.restart(self._pts_us(first))
        self._leaving_us, self._end_us = self._pts_us(first), self._generated_us
        self._state = None
        self._rates = Rates(now_s)
        if chunks and first > last_seq + 1:
            chunks[0] = replace(chunks[0], discontinuity=True)
        for chunk in chunks:
            self._outbox.show(chunk.pieces(last_seq, audio))
        self._update_state(now_s)
        return first

    def position_us(self, now_s: float) -> float:
        """Media time on the viewer's screen."""
        return self._playhead.position_us(now_s, self._generated_us)

    def close(self) -> None:
        """Free everything that was kept."""
        self._ring.clear()
        self._audio.clear()
        self._outbox.drop_connection()

    # Private.

    @property
    def _generated_us(self) -> float:
        return float(self.chunks * self.info.chunk_us)

    @property
    def _max_lead_s(self) -> float:
        return self._playhead.max_lead_us / 1e6

    def _lead_us(self, now_s: float) -> float:
        return self._end_us - self.position_us(now_s)

    def _pts_us(self, seq: int) -> float:
        return seq * self.info.chunk_us / self.info.chunk_frames

    def _new_link(self) -> Link:
        usual = default_kbps(self.info.width, self.info.height, self.info.fps)
        return Link(max_kbps=min(usual, self.options.max_kbps))

    def _ack(self, ack: Ack, now_s: float) -> None:
        stalls = self._playhead.ack(ack.playhead_us, now_s, self._generated_us)
        self._link.ack(ack.last_seq, ack.decode_queue, now_s)
        if stalls and not self._late:
            self._link.stalled(now_s)

    def _check_supported(self, control: str, event_id: str | None) -> None:
        if control not in self.info.controls:
            known = ", ".join(sorted(self.info.controls))
            raise NotSupported(
                f"{self.info.name} takes no {control}, only {known}", event_id=event_id
            )

    def _control_now(self, control: Pause | Resume | AudioEnd | AudioClear, now_s: float) -> None:
        """Controls that act on the session itself are answered at once."""
        chunk = self.chunks + (self._stepping is not None)
        position_us: float | None = None
        match control:
            case Pause():
                self.paused = True
                self._playhead.pause(now_s, self._generated_us)
            case Resume():
                self.paused = False
                self._playhead.resume(now_s)
                self._link.forget()
            case AudioEnd():
                self._check_supported("audio", control.event_id)
                self._audio.end()
            case AudioClear():
                self._check_supported("audio", control.event_id)
                position_us = self.position_us(now_s)
                self._barge_in(position_us)
        self.say(
            Applied(
                event_id=control.event_id,
                chunk=chunk,
                pts_us=float(chunk * self.info.chunk_us),
                position_us=position_us,
            )
        )

    def _barge_in(self, position_us: float) -> None:
        self._audio.clear()
        self._pending.clear_audio()
        self._outbox.mute()
        self._ring.mute_from(position_us)
        self._mute_step = self._stepping is not None

    def _control(self, control: ModelControl) -> None:
        """Controls of the model wait for the next chunk, which answers them."""
        if not isinstance(control, Reset):
            name = "tracks" if isinstance(control, TracksClear) else control.type
            self._check_supported(name, control.event_id)
        if isinstance(control, SceneChange):
            check_scene(self.info, control.scene, control.event_id)
        self._pending.add(control)
        if isinstance(control, Reset):
            self._audio.clear()

    def _place(self, chunk: Chunk, cut: bool, now_s: float) -> MediaChunk:
        frames = self.info.chunk_frames
        return MediaChunk(
            index=self.chunks,
            first_seq=self.chunks * frames,
            pts_us=self._generated_us,
            frame_us=self.info.chunk_us / frames,
            talking=chunk.talking,
            discontinuity=cut,
            server_ms=now_s * 1e3,
            frames=chunk.frames,
            audio=chunk.audio,
        )

    def _answer(self, events: list[Event], chunk: Chunk, media: MediaChunk) -> None:
        for event in events:
            words = list(chunk.ignored_words) if event.type == "prompt" else None
            self.say(
                Applied(
                    event_id=event.event_id,
                    chunk=media.index,
                    pts_us=media.pts_us,
                    ignored_words=words or None,
                    scene=chunk.scene if event.type == "scene" else None,
                )
            )

    def _remember(self, controls: Controls, chunk: Chunk) -> None:
        self.scene = chunk.scene
        self.prompt = self.prompt if controls.prompt is None else controls.prompt
        self.seed = self.seed if controls.seed is None else controls.seed

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
        if self._state is None or _what(state) != _what(self._state):
            self._state = state
            self.say(state)

    def _stats(self, figures: Figures, now_s: float, sessions: int) -> Stats:
        return Stats(
            chunk=self.chunks,
            fps=round(figures.fps, 2),
            lead_ms=round(self._lead_us(now_s) / 1e3, 1),
            chunk_time_ms=round(figures.step_s * 1e3, 2),
            rtf=round(figures.step_s * 1e6 / self.info.chunk_us, 4),
            kbps=round(figures.kbps, 1),
            target_kbps=float(self.target_kbps),
            skipped_frames=self.skipped_frames,
            sessions=sessions,
            queued_audio_ms=self._audio.queued_ms,
        )


def check_scene(info: ModelInfo, name: str, event_id: str | None = None) -> None:
    """Raise UnknownScene, naming the known ones, unless the model has this scene."""
    known = [scene.name for scene in info.scenes]
    if name not in known:
        raise UnknownScene(
            f"{info.name} has no scene {name!r}, only {', '.join(known)}",
            field="scene",
            event_id=event_id,
        )


def _what(state: State) -> tuple[bool, bool, bool, str]:
    return state.received, state.talking, state.paused, state.scene


def _ring_chunks(info: ModelInfo, options: SessionOptions) -> int:
    """Enough for all that a client cannot have shown: the lead, and what ran on after its loss."""
    beyond_s = EXTRAPOLATE_S + 0.5
    return math.ceil(options.max_lead_chunks + beyond_s * 1e6 / info.chunk_us) + 1
