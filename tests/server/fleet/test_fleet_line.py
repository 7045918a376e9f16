"""Who came first is served first, at whichever gateway that was."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from rollcast.server.fleet.controller_app import CONTROLLER, create_controller_app
from rollcast.server.fleet.directory import authorization
from rollcast.server.fleet.fleet_line import FleetLine
from rollcast.server.fleet.ledger import Ledger

KEY = "a key that all of the fleet have"


def test_places_go_by_time_over_all_gateways() -> None:
    line = FleetLine()
    line.hear("a", {"first": 9.0, "third": 2.0}, 10.0)
    line.hear("b", {"second": 5.0}, 10.0)
    assert [line.ahead(name) for name in ("first", "second", "third", "new")] == [0, 1, 2, 3]
    line.hear("b", {"second": 5.2}, 11.0)
    assert line.ahead("second") == 1, "a message that took long costs nobody a place"
    line.served("first")
    assert [line.ahead(name) for name in ("second", "third")] == [0, 1]
    line.forget("b")
    assert line.ahead("third") == 0 and len(line) == 1
    line.hear("a", {}, 12.0)
    assert not len(line)


class Control:
    """The controller, without Ray."""

    def __init__(self) -> None:
        self.ledger, self.line, self.at_s = Ledger(), FleetLine(), 1.0

    def now_s(self) -> float:
        return self.at_s

    def report(self, report: Any) -> list[str]:
        self.line.hear(report.url, report.waiting, self.at_s)
        return []

    def status(self) -> dict[str, Any]:
        return {"waiting": len(self.line)}

    def drain(self, name: str) -> bool:
        return self.ledger.drain(name)

    def upgrade(self) -> int:
        return 0

    def free(self, places: int) -> None:
        self.ledger.add("r", "http://r")
        self.ledger.hear(
            "r",
            ready=True,
            draining=False,
            models=(),
            places=places,
            free=places,
            chunk_s=0.1,
            streams=(),
            now_s=self.at_s,
        )


async def test_who_comes_later_gets_no_place_before_those_who_wait() -> None:
    control = Control()
    transport = httpx.ASGITransport(create_controller_app(control, KEY))
    headers = authorization(KEY, CONTROLLER)
    async with httpx.AsyncClient(transport=transport, base_url="http://c", headers=headers) as http:

        async def report(url: str, **waiting: float) -> dict[str, int]:
            answer = await http.post("/report", json={"url": url, "waiting": waiting})
            return answer.json()["positions"]

        async def place(session: str) -> bool:
            answer = await http.post("/place", json={"session": session})
            return answer.json()["replica"] is not None

        assert await report("a", old=8.0, young=1.0) == {"old": 1, "young": 2}
        assert await report("b", middle=4.0) == {"middle": 2}
        control.free(1)
        assert not await place("young") and not await place("new")
        assert await place("old")
        control.at_s += 20.0
        control.free(2)
        assert await place("middle") and await place("young")


@pytest.mark.parametrize("path", ["/place", "/report"])
async def test_nobody_asks_without_a_lease(path: str) -> None:
    transport = httpx.ASGITransport(create_controller_app(Control(), KEY))
    async with httpx.AsyncClient(transport=transport, base_url="http://c") as http:
        answer = await http.post(path, json={"session": "s", "url": "u"})
        assert answer.status_code == 401
