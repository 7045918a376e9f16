"""Hands what a client sends to its session, no faster than the answers leave."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from ..engine.hosted_stream import HostedStream
from ..protocol.client_messages import (
    Ack,
    ClientMessage,
    ImageChange,
    KeyRequest,
    PictureChange,
    Ping,
    Prompt,
    SceneChange,
    SessionClose,
    SessionRecord,
    SessionShare,
    Tracks,
    TracksClear,
)
from ..protocol.errors import (
    AudioOverflow,
    InvalidField,
    NotSupported,
    RateLimited,
    StreamError,
)
from ..protocol.messages import correlated
from ..protocol.packets import Kind, Packet
from ..protocol.server_messages import SessionShared
from ..session.arrivals import Arrival, LiveSound
from ..session.control_queue import check_supported
from ..session.pending import OwnImage, OwnPicture
from .client_tokens import PUBLISH, WATCH
from .services import Services
from .stream_socket import StreamSocket
from .video_intake import VideoIntake

MOST_UNSENT = 64
"""Messages that wait to be sent to a client of which more is read."""
TURNS = 8
"""Messages that are acted on before others have their turn in the event loop."""
MOST_BEHIND = 64
"""Controls that may wait for a picture to be looked at."""

InOrder = PictureChange | ImageChange | SceneChange | Tracks | TracksClear
"""Controls of which a later one decides what an earlier picture leads to."""


class Reader:
    """One client's way in. While a picture of it is looked at everything else goes on.

    Only controls that must not overtake the picture wait for it.
    """

    def __init__(
        self,
        socket: StreamSocket,
        services: Services,
        stream: HostedStream,
        *,
        ended: Callable[[], bool],
    ) -> None:
        self._socket = socket
        self._services = services
        self._stream = stream
        self._ended = ended
        """Whether another connection has the stream now."""
        self._behind: deque[InOrder] = deque()
        self._look: asyncio.Task[None] | None = None
        self._video: VideoIntake | None = None
        self._sent = asyncio.Event()
        self._unheard = False
        """Whether no answer will leave any more."""

    def sent(self) -> None:
        """A message has left: there may be room for more answers."""
        self._sent.set()

    def unheard(self) -> None:
        """No answer will leave any more: what came is read to its end without waiting for room."""
        self._unheard = True
        self._sent.set()

    async def run(self) -> bool:
        """Read until the connection ends, which raises, or session.close: true."""
        count = 0
        try:
            while True:
                await self._room_for_answers()
                try:
                    message = await self._socket.receive()
                except StreamError as error:
                    self._heard(None)
                    self._refuse(error)
                else:
                    if isinstance(message, SessionClose) and not self._ended():
                        return True
                    self._heard(message)
                    self._take(message)
                count += 1
                if count % TURNS == 0:
                    await asyncio.sleep(0)
        finally:
            look, self._look = self._look, None  # what it is cancelled with leads back here
            if look is not None:
                look.cancel()
            video, self._video = self._video, None
            if video is not None:
                await video.close()

    async def _room_for_answers(self) -> None:
        session = self._stream.session
        while session.unsent_messages > MOST_UNSENT and not (self._ended() or self._unheard):
            self._sent.clear()
            await self._sent.wait()

    def _heard(self, message: ClientMessage | Packet | Arrival | None) -> None:
        """For the journal: a message came, None: a faulty one."""
        journal = self._stream.journal
        if journal is None or self._ended():
            return
        journal.hear()
        if not isinstance(message, Ack | Ping | KeyRequest):
            journal.said()

    def _waits(self, message: ClientMessage) -> None:
        """For the journal: the message that came last waits for something."""
        if self._stream.journal is not None and message.event_id is not None:
            self._stream.journal.waits(message.event_id)

    def _acts(self, cause: ClientMessage | Packet) -> None:
        journal = self._stream.journal
        if journal is not None and not isinstance(cause, Packet) and cause.event_id is not None:
            journal.acted(cause.event_id)

    def _take(self, message: ClientMessage | Packet | Arrival) -> None:
        if isinstance(message, Arrival):
            self._arrived(message)
        elif self._look is None or not isinstance(message, InOrder):
            self._act(message)
        elif len(self._behind) < MOST_BEHIND:
            self._behind.append(message)
            self._waits(message)
        else:
            why = "too many controls wait for a picture to be looked at"
            self._refuse(correlated(RateLimited(why), message))

    def _arrived(self, arrival: Arrival) -> None:
        """Sound and news of the link, which nobody is answered for."""
        if self._ended():
            return
        session, now_s = self._stream.session, self._services.engine.now_s()
        # who cannot be told: what a model does not hear is not said to it
        with suppress(NotSupported, AudioOverflow):
            if isinstance(arrival, LiveSound):
                session.receive_sound(arrival, now_s)
            else:
                session.receive(arrival, now_s)
        self._moved()

    def _act(
        self, cause: ClientMessage | Packet, picture: OwnPicture | OwnImage | None = None
    ) -> None:
        """Act on what came; `picture` is what was made of a picture."""
        if self._ended():
            return
        if isinstance(cause, PictureChange | ImageChange) and picture is None:
            self._waits(cause)
            self._look = asyncio.create_task(self._look_at(cause), name="look at picture")
            return
        session, now_s = self._stream.session, self._services.engine.now_s()
        prompts = self._stream.prompts
        if isinstance(cause, Prompt) and prompts is not None and prompts.keep(cause):
            self._waits(cause)
            return
        self._acts(cause)
        try:
            with self._services.engine.metrics.time("control"):
                if isinstance(cause, Packet) and cause.kind is Kind.VIDEO_IN:
                    self._video_intake().offer(cause)
                elif isinstance(cause, Packet):
                    session.receive_audio(cause, now_s)
                elif isinstance(cause, SessionShare):
                    self._share(cause)
                elif isinstance(cause, SessionRecord):
                    self._services.recordings.wish(self._stream, cause)
                else:
                    session.receive(picture or cause, now_s)
        except StreamError as error:
            self._refuse(correlated(error, cause))
        else:
            self._moved()

    def _share(self, wish: SessionShare) -> None:
        """Make the token of a share link. Raises InvalidField, or NotSupported."""
        stream = self._stream
        if not (wish.publish or self._services.engine.config.max_viewers):
            raise NotSupported(
                "streams of this server cannot be shared",
                hint="Its operator may permit it: --max-viewers.",
            )
        if wish.revoke:
            stream.audience.revoke()
        elif not wish.expires_in_s:
            raise InvalidField("a link that is good for 0 s is none", field="expires_in_s")
        token = expires_s = None
        if wish.expires_in_s:
            epoch = stream.audience.epoch
            token, expires_s = self._services.links.make(
                stream.session_id, epoch, wish.expires_in_s, PUBLISH if wish.publish else WATCH
            )
        stream.session.say(
            SessionShared(event_id=wish.event_id, share_token=token, expires_s=expires_s)
        )

    def _video_intake(self) -> VideoIntake:
        """What takes the client's video. Raises NotSupported if the model takes none."""
        session = self._stream.session
        check_supported(session.info, "video")
        if self._video is None:
            assert session.info.inputs.video is not None, "it is among the inputs"
            self._video = VideoIntake(
                session.info.inputs.video,
                session,
                now_s=self._services.engine.now_s,
                moved=self._moved,
                refuse=self._refuse,
            )
        return self._video

    async def _look_at(self, message: PictureChange | ImageChange) -> None:
        """Look at a picture, then act on what had to wait for it."""
        try:
            picture = await self._services.pictures.control(message, self._stream.session.info)
        except StreamError as error:
            self._acts(message)
            self._refuse(correlated(error, message))
        else:
            self._act(message, picture)
        self._look = None
        while self._behind and self._look is None:
            self._act(self._behind.popleft())

    def _refuse(self, error: StreamError) -> None:
        self._services.engine.metrics.errors.labels(error.code).inc()
        if not self._ended():
            self._stream.session.refuse(error)
            self._moved()

    def _moved(self) -> None:
        """The session may have something to generate or to say."""
        self._services.engine.wake()
        self._stream.notify()
