"""A gateway's directory in a fleet: the controller gives places, and where it is away, we do.

Replicas are looked at from here as well, so that a stream can be moved whatever has become of the
controller: its replica knows best whether it has room, and epochs keep two of us from having one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from ..logs import logger
from .controller_app import CONTROLLER
from .directory import LocalDirectory, authorization
from .http_call import NoAnswer, call
from .ledger import Placement, Replica

REPORT_EVERY_S = 0.5
ASK_S = 0.3
AWAY_S = 1.0
"""So long a controller that did not answer is not asked again."""


class FleetDirectory:
    """See `Directory`; `controller` is its address, `own_url` that of this gateway for others."""

    def __init__(self, key: str, controller: str, own_url: str) -> None:
        self.local = LocalDirectory(key)
        self.counts: Callable[[], tuple[dict[str, float], int]] = lambda: ({}, 0)
        """Who waits here and for how long, and how many streams there are."""
        self._positions: dict[str, int] = {}
        self._key = key
        self._controller = controller
        self._own_url = own_url
        self._ended: list[str] = []
        self._others: list[str] = []
        self._away_until_s = 0.0
        self._task: asyncio.Task[None] | None = None
        self._notes: set[asyncio.Task[None]] = set()
        self._log = logger("rollcast.fleet")

    @property
    def replicas(self) -> Mapping[str, Replica]:
        """See `Directory`."""
        return self.local.replicas

    def start(self) -> None:
        """Hear of the controller from now on."""
        self._task = asyncio.create_task(self._report_on(), name="report")

    async def close(self) -> None:
        """Hear no more."""
        tasks = [each for each in (self._task, *self._notes) if each is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.local.close()

    async def acquire(self, session: str, model: str | None) -> Placement | None:
        """See `Directory`."""
        wish = {"session": session, "model": model}
        try:
            place = _place(session, await self._ask("POST", "/place", wish))
        except NoAnswer:
            return await self.local.acquire(session, model)
        return place

    async def move(
        self, session: str, epoch: int, model: str | None, besides: Collection[str]
    ) -> Placement | None:
        """See `Directory`: as we know the replicas, for a viewer waits, or as the controller does.

        Who gives the place does not matter, for the replica itself knows whether it has room, and
        only this gateway moves the stream.
        """
        place = await self.local.move(session, epoch, model, besides)
        if place is not None:
            return place
        wish = {"session": session, "model": model, "epoch": epoch, "besides": list(besides)}
        with suppress(NoAnswer):
            return _place(session, await self._ask("POST", "/place", wish))
        return None

    async def where(self, session: str) -> Placement | None:
        """See `Directory`: as who looked at the replicas last knows, here or there."""
        here = await self.local.where(session)
        with suppress(NoAnswer):
            there = _place(session, await self._ask("GET", f"/where/{session}", None))
            if there is not None and (here is None or there.epoch > here.epoch):
                return there
        return here

    async def gateways(self) -> list[str]:
        """See `Directory`."""
        return self._others

    def position(self, session: str) -> int | None:
        """See `Directory`: as the controller said last, while it is there."""
        return self._positions.get(session)

    def settle(self, session: str) -> None:
        """See `Directory`: the controller sees it at the replica."""
        self.local.settle(session)

    def release(self, session: str) -> None:
        """See `Directory`."""
        self.local.release(session)
        self._ended.append(session)

    def suspect(self, replica: str) -> None:
        """See `Directory`."""
        self.local.suspect(replica)
        self._note(f"/suspect/{replica}")

    def full(self, replica: str) -> None:
        """See `Directory`."""
        self.local.full(replica)
        self._note(f"/full/{replica}")

    def _note(self, path: str) -> None:
        """Tell the controller, if it is there."""

        async def note() -> None:
            with suppress(NoAnswer):
                await self._ask("POST", path, None)

        task = asyncio.create_task(note(), name="note")
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    async def _ask(self, method: str, path: str, body: Any) -> Any:
        """What the controller answers. Raises NoAnswer, at once while it is away."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._away_until_s:
            raise NoAnswer("the controller is away")
        try:
            answer = await call(
                method,
                self._controller + path,
                body=b"" if body is None else msgspec.json.encode(body),
                headers={
                    "content-type": "application/json",
                    **authorization(self._key, CONTROLLER),
                },
                timeout_s=ASK_S,
            )
            if answer.status >= 300:
                raise NoAnswer(f"the controller answers {answer.status} {answer.body[:200]!r}")
        except NoAnswer:
            self._away_until_s = loop.time() + AWAY_S
            raise
        return msgspec.json.decode(answer.body) if answer.body else None

    async def _report_on(self) -> None:
        here = True
        while True:
            was_here = here
            try:
                await self._report()
                here = True
            except NoAnswer as error:
                here = False
                if was_here:
                    self._log.warning("the controller is away", reason=str(error))
            if here and not was_here:
                self._log.info("the controller is there again")
            await asyncio.sleep(REPORT_EVERY_S)

    async def _report(self) -> None:
        waiting, streams = self.counts()
        ended, self._ended = self._ended, []
        report = {"url": self._own_url, "waiting": waiting, "streams": streams, "ended": ended}
        try:
            told = await self._ask("POST", "/report", report)
        except NoAnswer:
            self._ended = [*ended, *self._ended][-4096:]
            self._positions = {}
            raise
        self._positions = told["positions"]
        self._others = told["gateways"]
        listed = told["replicas"]
        for name, each in listed.items():
            self.local.add(name, each["url"])
            if each["condition"] == "draining":
                self.local.ledger.drain(name)
        for name in set(self.local.replicas) - set(listed):
            # a controller that was just started may not have found all of them
            if not self._is_heard(name):
                self.local.remove(name)

    def _is_heard(self, name: str) -> bool:
        return self.local.now_s() - self.local.replicas[name].heard_s < AWAY_S * 5


def _place(session: str, said: Any) -> Placement | None:
    if not said or said.get("replica") is None:
        return None
    return Placement(session, said["replica"], said["url"], said["epoch"])
