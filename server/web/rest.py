"""The HTTP side: health, readiness, metrics, models, sessions and the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from pydantic import BaseModel

from ..engine.engine import Engine
from ..engine.health import Health
from ..engine.hosted_model import Condition
from ..engine.hosted_stream import HostedStream
from ..engine.parking_lot import Where
from ..protocol.hello import describe, server_version
from ..protocol.server_messages import ModelDescription
from ..recordings.recordings import NoClip, Recordings
from .admin import permits
from .failed_logins import FailedLogins
from .page import CLIENT_DIR
from .security import bearer

_BLOCK = 1 << 16
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


class ModelHealth(BaseModel):
    """How one model is, since when (seconds since 1970), and why if it is not well."""

    name: str
    condition: Condition
    since_s: float
    why: str | None = None


class HealthReport(BaseModel):
    """Whether the process works, each of its models, and how many streams are parked."""

    status: Literal["ok", "failed"]
    engine: Health
    why: str | None = None
    models: list[ModelHealth]
    parked: int
    version: str


class Readiness(BaseModel):
    """Whether new streams are accepted, and how many more fit."""

    ready: bool
    engine: Health
    sessions: int
    places: int


class SessionReport(BaseModel):
    """One stream, without anything that would let another client take it over."""

    session_id: str
    model: str
    scene: str | None
    attached: bool
    paused: bool
    parked: Where | None
    chunks: int
    frames: int
    lead_ms: float
    queued_audio_ms: int
    target_kbps: int
    codec: str
    encoder: str | None
    skipped_frames: int
    viewers: int
    expires_in_s: float | None


def add_routes(
    router: APIRouter, engine: Engine, logins: FailedLogins, recordings: Recordings
) -> None:
    """Add the routes of one server; `SafeHeaders` makes each answer HEAD as well.

    They take a millisecond at most, less than what threads would take from each other.
    """

    @router.get("/health")
    async def health(response: Response) -> HealthReport:
        """200 while the process works, 503 while it cannot: nothing is made, or something hangs."""
        why = engine.unwell
        response.status_code = 503 if why else 200
        return HealthReport(
            status="failed" if why else "ok",
            engine=engine.health,
            why=why or None,
            models=[
                ModelHealth(
                    name=model.name,
                    condition=model.condition,
                    since_s=round(model.since_s, 3),
                    why=model.why or None,
                )
                for model in engine.hosted.values()
            ],
            parked=len(engine.parking),
            version=server_version(),
        )

    @router.get("/ready")
    async def ready(response: Response) -> Readiness:
        """200 once warm-up is over and while one more stream would be admitted, else 503."""
        places = engine.free_places()
        is_ready = engine.health == "ready" and places > 0
        response.status_code = 200 if is_ready else 503
        return Readiness(
            ready=is_ready,
            engine=engine.health,
            sessions=len(engine.streams),
            places=places,
        )

    @router.get("/metrics")
    async def metrics() -> Response:
        """Prometheus metrics."""
        return Response(engine.metrics.render(), media_type=PROMETHEUS)

    @router.get("/v1/models", response_model_exclude_none=True)
    async def models() -> list[ModelDescription]:
        """The models that streams can be opened with."""
        return [describe(info) for info in engine.models.values()]

    @router.get("/v1/models/{model}/scenes/{scene}/thumbnail")
    async def thumbnail(model: str, scene: str) -> Response:
        """A small picture of a scene, JPEG or PNG."""
        info = engine.models.get(model)
        found = next((each for each in info.scenes if each.name == scene), None) if info else None
        if found is None or found.thumbnail is None:
            raise HTTPException(404, "no such thumbnail")
        kind = "image/png" if found.thumbnail.startswith(b"\x89PNG") else "image/jpeg"
        cache = {"cache-control": "max-age=3600"}
        return Response(found.thumbnail, media_type=kind, headers=cache)

    @router.get("/v1/sessions", dependencies=[Depends(permits(engine, logins, "sessions"))])
    async def sessions() -> list[SessionReport]:
        """The streams of this server."""
        return [_report(stream, engine.now_s()) for stream in engine.streams]

    @router.get("/v1/sessions/{session_id}/log")
    async def log(session_id: str, request: Request) -> Response:
        """What was written down of a stream so far, for whoever has its resume token."""
        token = _stream_token(request)
        every = (model.host.logs for model in engine.hosted.values())
        found = (logs.fetched(session_id, token) for logs in every if logs is not None)
        path = next((each for each in found if each is not None), None)
        if path is None:
            raise HTTPException(404, "no log of such a stream, or not by this token")
        name = f'attachment; filename="{path.name}"'
        headers = {"cache-control": "no-store", "content-disposition": name}
        return StreamingResponse(
            _as_it_is(path), media_type="application/octet-stream", headers=headers
        )

    @router.get("/v1/sessions/{session_id}/clip")
    async def clip(session_id: str, request: Request, seconds: float | None = None) -> Response:
        """The last seconds of a stream as a film, for whoever has its resume token."""
        try:
            data, kind = await recordings.clip(session_id, _stream_token(request), seconds)
        except NoClip:
            raise HTTPException(404, "no clip of such a stream, or not by this token") from None
        name = f'attachment; filename="{session_id}.{kind}"'
        headers = {"cache-control": "no-store", "content-disposition": name}
        return Response(data, media_type=f"video/{kind}", headers=headers)

    _add_page(router)


def _stream_token(request: Request) -> str:
    token = bearer(request.headers.get("authorization"))
    if token is None:
        raise HTTPException(
            401, "the stream's resume_token is the token", {"www-authenticate": "Bearer"}
        )
    return token


def _as_it_is(path: Path) -> Iterator[bytes]:
    """The bytes that a file has now: what is written meanwhile is left out."""
    left = path.stat().st_size
    with path.open("rb") as file:
        while left and (block := file.read(min(left, _BLOCK))):
            left -= len(block)
            yield block


def _add_page(router: APIRouter) -> None:
    @router.get("/v1/stream", include_in_schema=False)
    async def no_upgrade() -> Response:
        """What a client gets whose request for a WebSocket lost its Upgrade on the way."""
        text = "This is a WebSocket. A proxy on the way has to pass the Upgrade header on.\n"
        return PlainTextResponse(text, 426, {"upgrade": "websocket", "connection": "upgrade"})

    @router.get("/", include_in_schema=False)
    async def page() -> Response:
        """The page."""
        if not (CLIENT_DIR / "index.html").is_file():
            raise HTTPException(404, "the page is not installed")
        return FileResponse(CLIENT_DIR / "index.html", headers={"cache-control": "no-store"})


def _report(stream: HostedStream, now_s: float) -> SessionReport:
    session = stream.session
    return SessionReport(
        session_id=stream.session_id,
        model=session.info.name,
        scene=session.scene,
        attached=session.attached,
        paused=session.paused,
        parked=stream.parked,
        chunks=session.chunks,
        frames=session.frames,
        lead_ms=round((session.deadline_s(now_s) - now_s) * 1e3, 1),
        queued_audio_ms=session.queued_audio_ms,
        target_kbps=session.target_kbps,
        codec=session.codec,
        encoder=session.encoder,
        skipped_frames=session.skipped_frames,
        viewers=len(stream.audience),
        expires_in_s=session.expires_in_s(now_s),
    )
