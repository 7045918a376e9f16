"""What gateways and operators ask of the controller over HTTP; each request has a lease."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Protocol

from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel

from ..handover.lease import BadLease, read_lease
from ..web.security import bearer
from .fleet_line import FleetLine
from .ledger import Ledger, Placement

CONTROLLER = "controller"
"""Its name in leases."""


class Wanted(BaseModel):
    """A place that a gateway asks for; with `epoch`: elsewhere, for a stream that it moves."""

    session: str
    model: str | None = None
    epoch: int | None = None
    besides: list[str] = []


class Given(BaseModel):
    """The place, if there is one."""

    replica: str | None = None
    url: str = ""
    epoch: int = 0


class Report(BaseModel):
    """What a gateway says of itself: where it is, who waits there and for how long, what ended."""

    url: str
    waiting: dict[str, float] = {}
    streams: int = 0
    ended: list[str] = []


class Control(Protocol):
    """The controller, as its HTTP face sees it."""

    @property
    def ledger(self) -> Ledger:
        """Replicas and streams."""
        ...

    @property
    def line(self) -> FleetLine:
        """Who waits at which gateway."""
        ...

    def now_s(self) -> float:
        """The clock of the ledger."""
        ...

    def report(self, report: Report) -> list[str]:
        """A gateway speaks; the addresses of the others."""
        ...

    def status(self) -> dict[str, Any]:
        """All that an operator wants to see."""
        ...

    def drain(self, name: str) -> bool:
        """Empty a replica and let go of it; whether there is such a one."""
        ...

    def upgrade(self) -> int:
        """Replace every replica, one after the other; how many there are."""
        ...


def create_controller_app(control: Control, key: str) -> FastAPI:
    """The face of a controller."""

    def check(request: Request) -> None:
        token = bearer(request.headers.get("authorization"))
        try:
            read_lease(token, key, "keeper", replica=CONTROLLER, now_s=time.time())
        except BadLease as error:
            raise HTTPException(401, str(error)) from error

    app = FastAPI(title="rollcast fleet", docs_url=None, redoc_url=None, openapi_url=None)
    leased = [Depends(check)]

    @app.post("/place", dependencies=leased)
    async def place(wanted: Wanted) -> Given:
        """A place for a stream, or another one."""
        ledger, now_s = control.ledger, control.now_s()
        if wanted.epoch is None:
            found, line = None, control.line
            if ledger.total_free(now_s) > line.ahead(wanted.session):
                found = ledger.acquire(wanted.session, wanted.model, now_s, besides=wanted.besides)
            if found is not None:
                line.served(wanted.session)
        else:
            found = ledger.move(
                wanted.session, wanted.epoch, wanted.model, now_s, besides=wanted.besides
            )
        return _given(found)

    @app.get("/where/{session}", dependencies=leased)
    async def where(session: str) -> Given:
        """Where a stream is."""
        return _given(control.ledger.where(session))

    @app.post("/suspect/{name}", dependencies=leased, status_code=204)
    async def suspect(name: str) -> None:
        """A gateway has lost a stream there."""
        control.ledger.suspect(name, control.now_s())

    @app.post("/full/{name}", dependencies=leased, status_code=204)
    async def full(name: str) -> None:
        """It has refused a gateway's stream for want of room."""
        control.ledger.full(name)

    @app.post("/report", dependencies=leased)
    async def report(report: Report) -> dict[str, Any]:
        """A gateway speaks; it is told which replicas and other gateways there are."""
        others = control.report(report)
        replicas = {
            each.name: {"url": each.url, "condition": each.condition}
            for each in control.ledger.replicas.values()
        }
        positions = {session: control.line.ahead(session) + 1 for session in report.waiting}
        return {"replicas": replicas, "gateways": others, "positions": positions}

    _add_operators(app, control, leased)
    return app


def _add_operators(app: FastAPI, control: Control, leased: Sequence[Any]) -> None:
    @app.get("/status", dependencies=leased)
    async def status() -> dict[str, Any]:
        """For `rollcast fleet status`."""
        return control.status()

    @app.post("/drain/{name}", dependencies=leased, status_code=204)
    async def drain(name: str) -> None:
        """For `rollcast fleet drain`."""
        if not control.drain(name):
            raise HTTPException(404, f"there is no replica {name}")

    @app.post("/upgrade", dependencies=leased)
    async def upgrade() -> dict[str, int]:
        """For `rollcast fleet upgrade`."""
        return {"replicas": control.upgrade()}


def _given(place: Placement | None) -> Given:
    if place is None:
        return Given()
    return Given(replica=place.replica, url=place.url, epoch=place.epoch)
