"""A picture may take so much time and memory; the next one is looked at all the same."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import subprocess
import sys

import msgspec
import pytest

from rollcast.benchmarks.attack.hostile_picture import many_scans
from rollcast.models.contract import ModelInfo
from rollcast.models.picture import MAX_BYTES, MAX_SCANS
from rollcast.server.media.killable_process import KillableProcess
from rollcast.server.media.picture_process import Answer, Task, look_at
from rollcast.server.media.pictures import MOST_WAITING, PictureReader
from rollcast.server.protocol.errors import InvalidField, RateLimited

from ...pictures import RED, portrait
from ..session.session_bench import INFO

pytestmark = pytest.mark.processes

GOOD = base64.b64encode(portrait(RED)).decode()


async def refusal(reader: PictureReader, text: str, info: ModelInfo = INFO) -> InvalidField:
    with pytest.raises(InvalidField) as caught:
        await reader.read(text, info, "e")
    assert (caught.value.field, caught.value.event_id) == ("picture", "e")
    return caught.value


async def test_a_picture_that_takes_too_long_is_given_up_and_the_next_one_is_not() -> None:
    data = many_scans(4096, MAX_SCANS - 20)
    assert len(data) < MAX_BYTES
    reader = PictureReader(most_cpu_s=0.4)
    error = await refusal(reader, base64.b64encode(data).decode())
    assert "longer than 0.4 s" in error.message and "ordinary JPEG" in error.hint
    assert await reader.read(GOOD, INFO)
    await reader.close()


async def test_thousands_of_scans_are_refused_before_any_is_decoded() -> None:
    reader = PictureReader(most_cpu_s=1)
    error = await refusal(reader, base64.b64encode(many_scans(512, 12_399)).decode())
    assert "scans" in error.message
    await reader.close()


async def test_a_decoder_that_dies_costs_one_picture() -> None:
    reader = PictureReader()
    assert await reader.read(GOOD, INFO)
    assert reader._process.pid is not None
    os.kill(reader._process.pid, signal.SIGKILL)
    error = await refusal(reader, GOOD)
    assert "decoder failed" in error.message
    assert await reader.read(GOOD, INFO)
    await reader.close()


def test_want_of_memory_is_not_called_a_broken_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*_: object, **__: object) -> None:
        raise MemoryError

    for place in ("PIL.Image.open", "PIL.ImageOps.exif_transpose", "PIL.ImageOps.fit"):
        with monkeypatch.context() as patched:
            patched.setattr(place, short)
            answer = look_at(Task(GOOD, 64, 64))
        assert answer.memory_short and not answer.message, place


async def test_want_of_memory_is_told_as_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    async def short(*_: object) -> bytes:
        return msgspec.msgpack.encode(Answer(memory_short=True))

    monkeypatch.setattr(KillableProcess, "ask", short)
    reader = PictureReader()
    error = await refusal(reader, GOOD)
    assert "memory" in error.message and "broken" not in error.message
    await reader.close()


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA limits memory on Linux alone")
def test_the_process_gets_no_more_memory_than_its_limit() -> None:
    script = (
        "from rollcast.server.media.killable_process import limit_memory\n"
        "limit_memory(200 << 20)\n"
        "try:\n    bytearray(300 << 20)\n"
        "except MemoryError:\n    raise SystemExit(7)\n"
    )
    ended = subprocess.run([sys.executable, "-P", "-c", script], check=False)
    assert ended.returncode == 7


async def test_only_so_many_pictures_wait() -> None:
    reader = PictureReader()
    reads = [asyncio.create_task(reader.read(GOOD, INFO, f"e{n}")) for n in range(MOST_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(RateLimited) as caught:
        await reader.read(GOOD, INFO, "late")
    assert caught.value.event_id == "late" and caught.value.retry_after_s
    assert all(await asyncio.gather(*reads))
    await reader.close()


async def test_who_no_longer_waits_leaves_nothing_half_said() -> None:
    reader = PictureReader()
    assert await reader.read(GOOD, INFO)
    read = asyncio.create_task(reader.read(base64.b64encode(many_scans(4096, 20)).decode(), INFO))
    await asyncio.sleep(0.05)
    read.cancel()
    await asyncio.gather(read, return_exceptions=True)
    assert await reader.read(GOOD, INFO) == await reader.read(GOOD, INFO)
    await reader.close()
    assert reader._process.pid is None
