"""A real TURN server between a peer and ours, on loopback: what the ICE settings are for."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rollcast.server.secret import Secret

from ..running import running
from .watching_peer import peer

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(
        shutil.which("turnserver") is None, reason="coturn is not installed (make peers)"
    ),
]
USER, CREDENTIAL = "someone", "what only some know"


@asynccontextmanager
async def turn_server(folder: Path) -> AsyncIterator[str]:
    """coturn, for peers of this machine alone; its address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "turn.log"
    process = await asyncio.create_subprocess_exec(
        *("turnserver", "-n", "--no-cli", "--no-tls", "--no-dtls", "--lt-cred-mech"),
        *("--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1", "--listening-port", str(port)),
        *("--realm", "rollcast", "--user", f"{USER}:{CREDENTIAL}", "--allow-loopback-peers"),
        *("--log-file", str(log), "--simple-log", "--pidfile", str(folder / "turn.pid")),
        *("--userdb", str(folder / "turn.db")),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(30):
            while not (log.exists() and "DB connection success" in log.read_text()):
                await asyncio.sleep(0.05)
        yield f"turn:127.0.0.1:{port}?transport=udp"
    finally:
        process.terminate()
        await process.wait()


def at_a_closed_port(offer: str) -> str:
    """The peer's address, for which the relay is opened, and not where it is to be reached."""
    return re.sub(r"(a=candidate:\S+ \d udp \d+ \S+) \d+ ", r"\1 9 ", offer)


def relays_only(answer: str) -> str:
    """Of the server's addresses those of the relay."""
    return re.sub(r"a=candidate:(?!.* typ relay).*\r\n", "", answer)


async def test_a_peer_that_cannot_be_reached_comes_by_the_relay(tmp_path: Path) -> None:
    answers: list[str] = []

    def answered(answer: str) -> str:
        answers.append(answer)
        return relays_only(answer)

    async with (
        turn_server(tmp_path) as turn,
        running(
            webrtc_addresses=("127.0.0.1",),
            ice_servers=(turn,),
            ice_username=USER,
            ice_credential=Secret(CREDENTIAL),
        ) as server,
        peer(server, offered=at_a_closed_port, answered=answered) as viewer,
    ):
        assert " typ relay" in answers[0]
        await viewer.open()
        await viewer.until(lambda: len(viewer.pictures) > 25)
        assert viewer.barcodes() == sorted(viewer.barcodes())
        assert (await viewer.control("prompt", text="a red wall"))["type"] == "applied"


async def test_who_does_not_know_the_relays_password_has_no_relay(tmp_path: Path) -> None:
    answers: list[str] = []

    def answered(answer: str) -> str:
        answers.append(answer)
        return answer

    async with (
        turn_server(tmp_path) as turn,
        running(
            webrtc_addresses=("127.0.0.1",),
            ice_servers=(turn,),
            ice_username=USER,
            ice_credential=Secret("a guess"),
        ) as server,
        peer(server, answered=answered) as viewer,
    ):
        assert " typ relay" not in answers[0]
        await viewer.open()  # they reach each other without one
