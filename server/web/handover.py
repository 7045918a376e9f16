"""How a gateway of the fleet gives this server a stream, takes one away, and sees how it is."""

from __future__ import annotations

import asyncio
import os
import time

import msgspec
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from ..engine.engine import Engine
from ..handover.lease import BadLease, Lease, Role, read_lease
from ..handover.records import unpack_adoption
from ..handover.replica_state import HeldStream, ReplicaState
from ..media.encoder import Encoders
from ..protocol.errors import Capacity, StreamError, UnknownSession
from ..protocol.hello import server_hello
from ..protocol.messages import encode_message
from ..recordings.recordings import Recordings
from .security import bearer

ADOPT_S = 60.0
"""In which the chunks have to be made again that a client may not have seen."""
MOST_BYTES = 1 << 31


def build_handover_router(engine: Engine, encoders: Encoders, recordings: Recordings) -> APIRouter:
    """The routes of a replica; each request has a lease."""
    router = APIRouter(include_in_schema=False)

    @router.get("/fleet/hello")
    async def hello(request: Request) -> Response:
        """What clients are greeted with."""
        _lease(engine, request, "keeper")
        said = server_hello(
            engine.models.values(),
            encoders.usable(engine.now_s()),
            None,
            max_viewers=engine.config.max_viewers,
            clip_s=engine.config.clip_s,
            may_record=recordings.may_ask,
        )
        return Response(encode_message(said), media_type="application/json")

    @router.get("/fleet/state")
    async def state(request: Request) -> Response:
        """How it is."""
        _lease(engine, request, "keeper")
        chunks_s = [info.chunk_us / 1e6 for info in engine.models.values()]
        said = ReplicaState(
            name=engine.config.name,
            pid=os.getpid(),
            ready=engine.health == "ready" and not engine.rehearses,
            draining=engine.draining,
            models=list(engine.models),
            places=engine.places.total,
            free=engine.free_places(),
            chunk_s=max(chunks_s, default=0.0),
            clock_ms=engine.now_s() * 1e3,
            streams=[
                HeldStream(
                    session=each.session_id, epoch=each.epoch, attached=each.session.attached
                )
                for each in engine.streams
            ],
        )
        return Response(msgspec.json.encode(said), media_type="application/json")

    @router.post("/fleet/adopt")
    async def adopt(request: Request) -> Response:
        """Go on with a stream; 204 once what its client may have missed is there again."""
        lease = _lease(engine, request, "keeper")
        try:
            adoption = unpack_adoption(await request.body())
            _check(lease, adoption.origin.options.session_id, adoption.epoch)
            stream = engine.adopt(adoption)
            recordings.begin(stream)
            async with asyncio.timeout(ADOPT_S):
                await stream.whole.wait()
        except (StreamError, ValueError, TimeoutError) as error:
            raise _refused(error) from error
        return Response(status_code=204)

    @router.post("/fleet/release/{session}")
    async def release(session: str, request: Request) -> Response:
        """Let go of a stream; over its socket comes all that is known of it, then it is closed."""
        lease = _lease(engine, request, "keeper")
        _check(lease, session, lease.epoch)
        try:
            engine.release(session, lease.epoch)
        except StreamError as error:
            raise _refused(error) from error
        return Response(status_code=204)

    return router


def _lease(engine: Engine, request: Request, role: Role) -> Lease:
    key = engine.config.fleet_key
    assert key is not None, "the server is a replica"
    token = bearer(request.headers.get("authorization"))
    try:
        return read_lease(token, key.reveal(), role, replica=engine.config.name, now_s=time.time())
    except BadLease as error:
        raise HTTPException(401, str(error)) from error


def _check(lease: Lease, session: str, epoch: int) -> None:
    if (lease.session, lease.epoch) != (session, epoch):
        raise HTTPException(403, f"the lease is for {lease.session} in epoch {lease.epoch}")


def _refused(error: Exception) -> HTTPException:
    """409: the stream is elsewhere; 503: there is no room; 422: the record is none."""
    if isinstance(error, UnknownSession):
        return HTTPException(409, error.message)
    if isinstance(error, Capacity | TimeoutError):
        return HTTPException(503, str(error) or "the stream did not come", {"retry-after": "1"})
    return HTTPException(422, str(error))
