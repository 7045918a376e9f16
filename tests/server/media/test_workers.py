"""Threads for codecs: one that hangs costs its own call, and nothing waits for it."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncIterator
from contextlib import nullcontext

import pytest

from rollcast.server.media.workers import Hung, Workers

from ..running import until


@pytest.fixture
async def release() -> AsyncIterator[threading.Event]:
    """Ends what hangs, at the end of a test at the latest."""
    event = threading.Event()
    yield event
    event.set()


async def test_calls_give_what_they_give_and_raise_what_they_raise() -> None:
    workers = Workers(2)
    assert await asyncio.gather(*(workers.run(lambda k=k: k * k) for k in range(50))) == [
        k * k for k in range(50)
    ]
    with pytest.raises(ZeroDivisionError):
        await workers.run(lambda: 1 // 0)
    workers.close()
    assert not any(thread.name == "codec" for thread in threading.enumerate())


async def test_calls_that_hang_are_given_up_and_hold_nobody_up(release: threading.Event) -> None:
    """As many as there are threads; others come later, and are told what they wait for."""
    workers = Workers(2, limit_s=0.5)
    hanging = [asyncio.create_task(workers.run(release.wait)) for _ in range(4)]
    assert await workers.run(lambda: "done") == "done"
    results = await asyncio.gather(*hanging, return_exceptions=True)
    assert all(isinstance(each, Hung) for each in results)
    assert workers.hung == 4
    release.set()
    await until(lambda: workers.hung == 0)
    assert await workers.run(lambda: "done") == "done"
    workers.close()


async def test_a_call_that_nobody_waits_for_any_more_is_watched_too(
    release: threading.Event,
) -> None:
    workers = Workers(1, limit_s=0.3)
    started = threading.Event()

    def hang() -> None:
        started.set()
        release.wait()

    task = asyncio.create_task(workers.run(hang))
    await until(started.is_set)
    task.cancel()
    await until(lambda: workers.hung == 1)
    assert await workers.run(lambda: "done") == "done"
    workers.close()


async def test_threads_that_hang_do_not_grow_without_end(release: threading.Event) -> None:
    workers = Workers(1, limit_s=0.3, most_hung=2)
    for _ in range(2):
        with pytest.raises(Hung, match=r"did not come back within 0\.3 s"):
            await workers.run(release.wait)
    with pytest.raises(Hung, match="2 calls hang already"):
        await workers.run(release.wait)
    workers.close()


async def test_a_process_that_stood_still_blames_no_call() -> None:
    """The clock went on, the call did not: its time is counted in turns of the loop."""
    workers = Workers(1, limit_s=0.5)
    go_on = threading.Event()
    call = asyncio.create_task(workers.run(go_on.wait))
    await asyncio.sleep(0.1)
    threading.Event().wait(1.5)  # nothing else of this process's loop runs
    await asyncio.sleep(0)
    go_on.set()
    assert await call
    workers.close()


async def test_what_a_call_was_about_is_freed_with_it() -> None:
    class Frame:
        pass

    def failing(frame: Frame) -> None:
        raise MemoryError

    workers = Workers(1)
    refs: list[weakref.ref[Frame]] = []
    gc.disable()
    try:
        for call in (failing, id):
            frame = Frame()
            refs.append(weakref.ref(frame))
            with pytest.raises(MemoryError) if call is failing else nullcontext():
                await workers.run(lambda f=frame, c=call: c(f))
            del frame
        await until(lambda: not any(ref() for ref in refs))
    finally:
        gc.enable()
        workers.close()


def test_a_process_ends_while_calls_hang() -> None:
    code = (
        "import asyncio, threading\n"
        "from rollcast.server.media.workers import Hung, Workers\n"
        "async def main():\n"
        "    workers = Workers(2, limit_s=0.3)\n"
        "    calls = [workers.run(threading.Event().wait) for _ in range(2)]\n"
        "    print(await asyncio.gather(*calls, return_exceptions=True))\n"
        "    workers.close()\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], timeout=120, capture_output=True, check=False
    )
    assert done.returncode == 0 and b"Hung" in done.stdout, done.stderr
