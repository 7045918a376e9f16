"""LiveAvatar's LITE contract: a session by HTTP, speech by a WebSocket, the avatar in a room.

`POST /v1/sessions/token`, `/start` and `/stop`, then the socket that `/start` names. As the plugin
of LiveKit Agents 1.8 uses it; its own account of what was heard is what it sent, so transcripts run
ahead of the ear: the other contract is exact.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
from collections import OrderedDict
from dataclasses import dataclass, field
from secrets import compare_digest, token_urlsafe
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from ..errors import ClientError
from ..talker import Utterance
from .avatar import CannotAppear
from .avatars import Avatars, Full
from .invitation import BadInvitation, Invitation, check_room
from .launch import json_body, refusal, text_of
from .voice import Voice

RATE = 24_000
MAX_UNSTARTED = 100
DONE = 1000
"""The `code` of what went well."""

log = logging.getLogger(__name__)


class LiteEars:
    """Hears one socket, and tells it how each segment goes.

    A segment is said to have started when its first piece is here: the plugin sends no interruption
    before that, and one that nobody hears of would be spoken to its end.
    """

    agent: str | None = None

    def __init__(self) -> None:
        self._voice: Voice | None = None
        self._socket: WebSocket | None = None
        self._utterance: Utterance | None = None
        self._told = asyncio.Lock()

    @property
    def is_listening(self) -> bool:
        """Whether somebody is at the socket."""
        return self._socket is not None

    def attach(self, voice: Voice) -> None:
        """From here on segments are spoken by this voice."""
        self._voice = voice

    async def turned(self) -> None:
        """The next segment is at its turn."""
        await self._tell("agent.speak_started")

    async def started(self) -> None:
        """That was told already."""

    async def finished(self, position_s: float, interrupted: bool) -> None:
        """The segment is over; of what was interrupted the answer to that tells."""
        if not interrupted:
            await self._tell("agent.speak_ended")

    async def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            with contextlib.suppress(RuntimeError):
                await self._socket.close()

    async def listen(self, socket: WebSocket) -> None:
        """Hear an accepted socket until it closes."""
        self._socket = socket
        await self._tell("session.state_updated", state="connected")
        try:
            # it may be hung up while a message is obeyed
            while socket.application_state is WebSocketState.CONNECTED:
                await self._take(await socket.receive_text())
        except (WebSocketDisconnect, KeyError):
            pass
        self._socket = None

    async def _take(self, text: str) -> None:
        try:
            message = json.loads(text)
            kind = message["type"]
            if kind == "agent.speak":
                self._speak(message["audio"])
            elif kind == "agent.speak_end":
                self._end()
            elif kind == "agent.interrupt":
                await self._interrupt()
        except (ValueError, KeyError, TypeError) as error:
            await self._tell("error", error={"message": f"a message is wrong: {error!r}"})

    def _speak(self, audio: str) -> None:
        samples = np.frombuffer(base64.b64decode(audio, validate=True), "<i2")
        if self._voice is not None:
            self._utterance = self._utterance or self._voice.begin(RATE)
            self._utterance.write(samples.astype(np.int16))

    def _end(self) -> None:
        if self._utterance is not None:
            self._utterance.end()
            self._utterance = None

    async def _interrupt(self) -> None:
        self._utterance = None
        if self._voice is not None:
            try:
                await self._voice.interrupt()
            except ClientError as error:
                log.warning("the server did not answer an interruption: %s", error)
        # both: after the first alone the plugin believes that the avatar goes on speaking
        await self._tell("agent.speak_interrupted")
        await self._tell("agent.speak_ended")

    async def _tell(self, kind: str, **more: Any) -> None:
        message = {"type": kind, "event_id": token_urlsafe(8), **more}
        async with self._told:
            if self._socket is not None:
                with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                    await self._socket.send_json(message)


@dataclass
class LiteSession:
    """What `/token` was asked for; `ears` once `/start` has brought the avatar."""

    invitation: Invitation
    token: str = field(default_factory=lambda: token_urlsafe(24))
    key: str = field(default_factory=lambda: token_urlsafe(24))
    """In the socket's address."""
    ears: LiteEars | None = None


class LiteSessions:
    """Sessions by id; those that are never started are forgotten when there are too many."""

    def __init__(self, avatars: Avatars) -> None:
        self._avatars = avatars
        self._sessions: OrderedDict[str, LiteSession] = OrderedDict()

    def create(self, invitation: Invitation) -> tuple[str, LiteSession]:
        """A new session and its id."""
        waiting = [name for name, each in self._sessions.items() if each.ears is None]
        if len(waiting) >= MAX_UNSTARTED:
            del self._sessions[waiting[0]]
        session_id, session = token_urlsafe(12), LiteSession(invitation)
        self._sessions[session_id] = session
        return session_id, session

    def find(self, session_id: str, token: str) -> LiteSession | None:
        """The session that this token is for."""
        session = self._sessions.get(session_id)
        if session is None or not compare_digest(session.token.encode(), token.encode()):
            return None
        return session

    async def start(self, session_id: str, session: LiteSession) -> None:
        """Bring the avatar. Raises CannotAppear."""
        if session.ears is None:
            session.ears = LiteEars()
            try:
                await self._avatars.bring(session.invitation, session.ears, session_id)
            except CannotAppear:
                session.ears = None
                raise

    async def stop(self, session_id: str) -> None:
        """Send the avatar away and forget the session."""
        self._sessions.pop(session_id, None)
        await self._avatars.send_away(session_id)

    async def serve(self, session_id: str, key: str, socket: WebSocket) -> None:
        """Hear a socket; the session ends with it."""
        session = self._sessions.get(session_id)
        right = session is not None and compare_digest(session.key.encode(), key.encode())
        if session is None or session.ears is None or not right or session.ears.is_listening:
            await socket.close(4404, "no such session")
            return
        await socket.accept()
        try:
            await session.ears.listen(socket)
        finally:
            await self.stop(session_id)


async def token(request: Request) -> Response:
    """`POST /v1/sessions/token`: note what is wanted."""
    try:
        body = await json_body(request)
        config = body.get("livekit_config")
        if not isinstance(config, dict):
            raise BadInvitation("livekit_config is missing: only LITE mode is here", "mode")
        url, secret = text_of(config, "livekit_url"), text_of(config, "livekit_client_token")
        check_room(url, secret, request.app.state.room_servers)
        scene, room = text_of(body, "avatar_id"), text_of(config, "livekit_room", "")
    except BadInvitation as error:
        return refusal(422, str(error), error.field)
    sessions: LiteSessions = request.app.state.lite
    session_id, session = sessions.create(Invitation(url, secret, room, scene=scene or None))
    return _done({"session_id": session_id, "session_token": session.token})


async def start(request: Request) -> Response:
    """`POST /v1/sessions/start`: bring the avatar, and say where the socket is."""
    sessions: LiteSessions = request.app.state.lite
    found = await _session(request)
    if isinstance(found, Response):
        return found
    session_id, session = found
    try:
        await sessions.start(session_id, session)
    except Full as error:
        return refusal(503, str(error))
    except CannotAppear as error:
        return refusal(502, str(error))
    base = request.url_for("lite-socket", session_id=session_id, key=session.key)
    scheme = "wss" if base.scheme in ("https", "wss") else "ws"
    return _done({"session_id": session_id, "ws_url": str(base.replace(scheme=scheme))})


async def stop(request: Request) -> Response:
    """`POST /v1/sessions/stop`: send the avatar away."""
    sessions: LiteSessions = request.app.state.lite
    found = await _session(request)
    if isinstance(found, Response):
        # the socket's end was first
        return found if found.status_code != 404 else _done(None, code=100)
    await sessions.stop(found[0])
    return _done(None, code=100)


async def socket(websocket: WebSocket) -> None:
    """The socket of one session."""
    sessions: LiteSessions = websocket.app.state.lite
    names = websocket.path_params
    await sessions.serve(names["session_id"], names["key"], websocket)


async def _session(request: Request) -> tuple[str, LiteSession] | Response:
    try:
        session_id = text_of(await json_body(request), "session_id")
    except BadInvitation as error:
        return refusal(422, str(error), error.field)
    sessions: LiteSessions = request.app.state.lite
    given = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
    session = sessions.find(session_id, given)
    return (session_id, session) if session else refusal(404, "no such session", "session_id")


def _done(data: object, code: int = DONE) -> JSONResponse:
    return JSONResponse({"code": code, "data": data})
