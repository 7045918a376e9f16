"""The controls of a live stream: what can be asked of it, and the server's answers."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager
from itertools import count
from time import monotonic
from typing import Literal

import numpy as np
import simplejpeg

from .address import share_link
from .errors import ClientError, ProtocolError, Rejected
from .messages import (
    Applied,
    AudioBegin,
    AudioClear,
    AudioEnd,
    CameraChange,
    Control,
    ImageChange,
    Outgoing,
    Pause,
    PictureChange,
    Prompt,
    Reset,
    Resume,
    SceneChange,
    SeedChange,
    SessionInfo,
    SessionQuery,
    SessionRecord,
    SessionRecording,
    SessionShare,
    SessionShared,
    Speech,
    TrackPoint,
    Tracks,
    TracksClear,
    VideoChange,
)
from .picture_file import picture_text
from .speech import SpeechFeed
from .wire import frame_packet

LOOK_EVERY_S = 0.02
VIDEO_QUALITY = 85

Answer = Applied | SessionInfo | SessionRecording | SessionShared


class Steering(ABC):
    """Verbs that wait for the server's answer.

    `Applied` says from which chunk and media time a control holds; `Rejected` is raised with
    code, field and hint; another ClientError when the stream ended before the answer. Those with
    `at_us` wait for the first chunk that starts at or after this media time. Speech is int16 mono
    at `audio_rate` samples per second.
    """

    def __init__(self, answer_timeout_s: float, feed: SpeechFeed) -> None:
        self._answer_timeout_s = answer_timeout_s
        self._event_ids = count(1)
        self._answers: dict[str, asyncio.Future[Answer]] = {}
        self._started: dict[str, asyncio.Future[Speech]] = {}
        self._spoken: dict[str, asyncio.Future[Speech]] = {}
        self._fed: dict[str, int] = {}
        """Samples of each utterance in `_spoken`, the last of them being that which is fed."""
        self._speech = feed
        self._frame_seqs = count()

    @property
    def audio_rate(self) -> int:
        """Samples per second of the speech that is sent."""
        return self._speech.rate

    @property
    @abstractmethod
    def position_us(self) -> float:
        """Media time that is shown now."""

    @property
    @abstractmethod
    def _url(self) -> str:
        """Where the server is."""

    @abstractmethod
    def _hushed(self) -> AbstractContextManager[None]:
        """Silence what has come and was not given out, and what comes meanwhile."""

    @abstractmethod
    async def _tell_position(self) -> None:
        """Tell the server how far the showing is."""

    @abstractmethod
    async def _send(self, message: Outgoing | bytes) -> None:
        """Send when connected; raise when the stream has ended."""

    async def prompt(
        self, text: str, *, transition_chunks: int = 0, at_us: float | None = None
    ) -> Applied:
        """Change the prompt, blending over `transition_chunks` chunks."""
        blend = transition_chunks
        control = Prompt(event_id=self._id(), text=text, transition_chunks=blend, at_us=at_us)
        return await self._control(control, at_us)

    async def scene(self, name: str, *, at_us: float | None = None) -> Applied:
        """Show another scene or avatar."""
        return await self._control(SceneChange(event_id=self._id(), scene=name, at_us=at_us), at_us)

    async def picture(self, picture: bytes, *, at_us: float | None = None) -> Applied:
        """Show this picture of a face, as `load_picture` reads it, as the avatar.

        From here on `scene("picture")` shows it again.
        """
        return await self._control(
            PictureChange(event_id=self._id(), picture=picture_text(picture), at_us=at_us), at_us
        )

    async def image(self, image: bytes, *, at_us: float | None = None) -> Applied:
        """Start anew from this image, as `load_image` reads it, or refer to it."""
        control = ImageChange(event_id=self._id(), image=picture_text(image), at_us=at_us)
        return await self._control(control, at_us)

    async def camera(
        self,
        *,
        right: float = 0.0,
        down: float = 0.0,
        forward: float = 0.0,
        pitch: float = 0.0,
        yaw: float = 0.0,
        roll: float = 0.0,
        at_us: float | None = None,
    ) -> Applied:
        """Move the camera like this until told otherwise; without arguments it stands.

        In widths of the picture a second, -4 to 4, and degrees a second, -360 to 360: `pitch` up,
        `yaw` right, `roll` clockwise.
        """
        control = CameraChange(
            event_id=self._id(),
            translation=(right, down, forward),
            rotation=(pitch, yaw, roll),
            at_us=at_us,
        )
        return await self._control(control, at_us)

    async def feed_video(self, frame: np.ndarray | bytes) -> None:
        """Send a frame of your own video at once: uint8 RGB [H, W, 3], or a JPEG.

        No answer is awaited; `stats` counts those that the model was given and those that were
        dropped. Send as many a second as the model's input `video` says, at its size.
        """
        jpeg = frame if isinstance(frame, bytes) else _jpeg(frame)
        await self._send(frame_packet(jpeg, next(self._frame_seqs), monotonic() * 1e6))

    async def tracks(self, points: Iterable[TrackPoint], *, at_us: float | None = None) -> Applied:
        """Pointer events in order, as from `drag` points: press, move, release, pin."""
        control = Tracks(event_id=self._id(), points=list(points), at_us=at_us)
        return await self._control(control, at_us)

    async def clear_tracks(
        self, ids: Iterable[int] | None = None, *, at_us: float | None = None
    ) -> Applied:
        """Release these tracks, or all of them."""
        chosen = None if ids is None else list(ids)
        control = TracksClear(event_id=self._id(), ids=chosen, at_us=at_us)
        return await self._control(control, at_us)

    async def video(
        self,
        *,
        max_kbps: int | None = None,
        max_width: int | None = None,
        max_height: int | None = None,
        max_fps: int | None = None,
    ) -> Applied:
        """Bound the video from the next frame on; what is not named stays as it is."""
        control = VideoChange(
            event_id=self._id(),
            max_kbps=max_kbps,
            max_width=max_width,
            max_height=max_height,
            max_fps=max_fps,
        )
        return await self._control(control)

    async def query(self) -> SessionInfo:
        """What is in force now."""
        event_id = self._id()
        answer = await self._ask(SessionQuery(event_id=event_id), event_id)
        assert isinstance(answer, SessionInfo), type(answer)
        return answer

    async def feed(self, samples: np.ndarray) -> None:
        """Send speech at once, as from a microphone: int16 [n]. No answer is awaited."""
        for packet in self._speech.packets(samples):
            await self._send(packet)
        if self._fed:
            self._fed[next(reversed(self._fed))] += len(samples)

    async def say(
        self, samples: np.ndarray, *, ahead_s: float = 1.0, item_id: str | None = None
    ) -> Applied:
        """Speak a whole utterance, int16 [n], sent at most `ahead_s` before its time.

        `spoken` says when one with an `item_id` was heard.
        """
        if item_id is not None:
            await self.begin_audio(item_id)
        start_us = self.position_us
        for begin in range(0, len(samples), self._speech.block):
            due_us = start_us + 1e6 * (begin / self._speech.rate - ahead_s)
            while self.position_us < due_us:
                await asyncio.sleep(LOOK_EVERY_S)
            await self.feed(samples[begin : begin + self._speech.block])
        return await self.end_audio()

    async def begin_audio(self, item_id: str) -> Applied:
        """What is fed from here on is the utterance `item_id`."""
        for packet in self._speech.rest():
            await self._send(packet)
        answer = await self._control(AudioBegin(event_id=self._id(), item_id=item_id))
        loop = asyncio.get_running_loop()
        self._started[item_id], self._spoken[item_id] = loop.create_future(), loop.create_future()
        self._fed[item_id] = 0
        return answer

    async def end_audio(self, item_id: str | None = None) -> Applied:
        """The utterance is complete: play what is queued without waiting for more.

        With an `item_id` that one and no other; Rejected says that it is not the one being fed.
        """
        for packet in self._speech.rest():
            await self._send(packet)
        return await self._control(AudioEnd(event_id=self._id(), item_id=item_id))

    async def started(self, item_id: str) -> Speech:
        """Wait until an utterance is heard; one that is cleared before that is over, as it says.

        Raises KeyError for one that was not begun or was asked for with `spoken` before.
        """
        return await asyncio.shield(self._started[item_id])

    async def spoken(self, item_id: str) -> Speech:
        """Wait until an utterance is over: it has ended, or was cleared after `played_ms`.

        Raises KeyError for one that was not begun or was asked for before.
        """
        over = await asyncio.shield(self._spoken[item_id])
        for known in (self._spoken, self._started, self._fed):
            known.pop(item_id, None)
        return over

    async def clear_audio(self) -> Applied:
        """Barge in: drop the speech that was not shown yet, here and on the server.

        `position_us` says where it stopped, `played_ms` how much of the utterance `item_id` was
        heard.
        """
        self._speech.rest()
        with self._hushed():
            # so that it knows how much was heard
            await self._tell_position()
            return await self._control(AudioClear(event_id=self._id()))

    async def share(self, expires_in_s: int = 3600) -> str:
        """A link by which others may come and watch for so long, and do nothing else.

        It is the page's address, for people, and what `watch` takes.
        """
        event_id = self._id()
        message = SessionShare(event_id=event_id, expires_in_s=expires_in_s)
        answer = await self._ask(message, event_id)
        if not isinstance(answer, SessionShared) or answer.share_token is None:
            raise ProtocolError("the server answered session.share without a token")
        return share_link(self._url, answer.share_token)

    async def share_microphone(self, expires_in_s: int = 3600) -> str:
        """A token by which another may speak here for so long, over WHIP, and do nothing else.

        It is what OBS and ffmpeg take as the Bearer token for the server's `/v1/whip`.
        """
        event_id = self._id()
        message = SessionShare(event_id=event_id, expires_in_s=expires_in_s, publish=True)
        answer = await self._ask(message, event_id)
        if not isinstance(answer, SessionShared) or answer.share_token is None:
            raise ProtocolError("the server answered session.share without a token")
        return answer.share_token

    async def stop_sharing(self) -> None:
        """Send all who watch away; the links that they came by are not good any more."""
        event_id = self._id()
        await self._ask(SessionShare(event_id=event_id, expires_in_s=0, revoke=True), event_id)

    async def record(self, format: Literal["mp4", "webm"] = "mp4") -> None:
        """Have the stream recorded on the server, where it lets clients do that.

        Raises Rejected where it does not.
        """
        event_id = self._id()
        await self._ask(SessionRecord(event_id=event_id, on=True, format=format), event_id)

    async def stop_recording(self) -> float:
        """End that; how many seconds were recorded."""
        event_id = self._id()
        answer = await self._ask(SessionRecord(event_id=event_id, on=False), event_id)
        return answer.seconds if isinstance(answer, SessionRecording) else 0.0

    async def pause(self) -> Applied:
        """Stop media time."""
        return await self._control(Pause(event_id=self._id()))

    async def resume(self) -> Applied:
        """Let media time go on."""
        return await self._control(Resume(event_id=self._id()))

    async def reset(self, seed: int | None = None, *, at_us: float | None = None) -> Applied:
        """Start the content anew, from its seed or this one."""
        return await self._control(Reset(event_id=self._id(), seed=seed, at_us=at_us), at_us)

    async def seed(self, seed: int, *, at_us: float | None = None) -> Applied:
        """Change the seed of what is generated from here on."""
        return await self._control(SeedChange(event_id=self._id(), seed=seed, at_us=at_us), at_us)

    def _id(self) -> str:
        return str(next(self._event_ids))

    async def _control(self, control: Control, at_us: float | None = None) -> Applied:
        answer = await self._ask(control, control.event_id, at_us)
        assert isinstance(answer, Applied), type(answer)
        return answer

    async def _ask(self, message: Outgoing, event_id: str, at_us: float | None = None) -> Answer:
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answers[event_id] = answer
        until_us = self.position_us if at_us is None else at_us
        timeout_s = self._answer_timeout_s + max(0.0, until_us - self.position_us) / 1e6
        try:
            async with asyncio.timeout(timeout_s):
                await self._send(message)
                return await answer
        except TimeoutError as error:
            raise ProtocolError(
                f"no answer to {type(message).__name__} in {timeout_s:.1f} s"
            ) from error
        finally:
            self._answers.pop(event_id, None)

    def _settle(self, event_id: str | None, result: Answer | Rejected) -> None:
        waiting = self._answers.get(event_id or "")
        if waiting is None or waiting.done():
            return
        if isinstance(result, Rejected):
            waiting.set_exception(result)
        else:
            waiting.set_result(result)

    def _hear_of(self, speech: Speech) -> None:
        waiting = [self._started.get(speech.item_id)]
        if speech.phase != "started":
            waiting.append(self._spoken.get(speech.item_id))
        for each in waiting:
            if each is not None and not each.done():
                each.set_result(speech)

    async def _ask_what_is_over(self) -> None:
        """Settle the utterances whose end was told to a connection that was lost."""
        waiting = [name for name, over in self._spoken.items() if not over.done()]
        while waiting:
            try:
                info = await self.query()
            except ProtocolError:
                continue  # no answer in time
            except ClientError:
                return  # lost again, or ended: the next connection asks
            for name in set(waiting) - set(info.items):
                samples = self._fed.get(name, 0)
                self._hear_of(
                    Speech(
                        item_id=name,
                        phase="ended",
                        pts_us=self.position_us,
                        samples=samples,
                        played_ms=1e3 * samples / self._speech.rate,
                    )
                )
            return

    def _fail_answers(self, reason: ClientError) -> None:
        for waiting in self._answers.values():
            if not waiting.done():
                waiting.set_exception(reason)

    def _fail_spoken(self, reason: ClientError) -> None:
        for waiting in (*self._started.values(), *self._spoken.values()):
            if not waiting.done():
                waiting.set_exception(reason)
                waiting.exception()  # who never asks is not warned


def _jpeg(frame: np.ndarray) -> bytes:
    return simplejpeg.encode_jpeg(np.ascontiguousarray(frame), quality=VIDEO_QUALITY)
