"""Models whose prompts have to be read first: no chunk waits for one, and their order stays."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import numpy as np

from rollcast.models.pipeline.sequential import Sequential
from rollcast.models.test_pattern import TestPattern
from rollcast.models.wan.text.reader import TextFailed
from rollcast.server.engine.model_host import ModelHost
from rollcast.server.engine.prompt_desk import MAX_WAITING

from ..running import Viewer, running, until, viewing


class HeldReader:
    """Reads nothing until the test says so."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.asked: dict[str, Future[None]] = {}
        self.warmed = 0
        self.closed = False

    def has(self, text: str) -> bool:
        return text in self.known

    def read(self, text: str) -> Future[None]:
        return self.asked.setdefault(text, Future())

    def warm(self) -> None:
        self.warmed += 1

    def close(self) -> None:
        self.closed = True

    def finish(self, text: str) -> None:
        self.known.add(text)
        self.asked[text].set_result(None)

    def fail(self, text: str) -> None:
        self.asked[text].set_exception(TextFailed("out of memory in a file of the operator's"))


def hosting(reader: HeldReader) -> Any:
    given: Any = reader
    return running(
        hosts=[ModelHost("test-pattern", lambda: Sequential(TestPattern()), reader=given)]
    )


def is_blue(picture: np.ndarray) -> bool:
    """Whether the band of the prompt's colour is blue; without a prompt it is red."""
    red, _, blue = picture[16, 64].astype(int)
    return bool(blue > red)


def answers(viewer: Viewer, type_: str = "applied") -> list[str]:
    """The events that were answered so, in their order."""
    return [m["event_id"] for m in viewer.messages if m["type"] == type_ and "event_id" in m]


async def test_chunks_go_on_while_a_prompt_is_read_and_it_acts_once_it_is() -> None:
    reader = HeldReader()
    async with hosting(reader) as server, viewing(server.ws) as viewer:
        assert reader.warmed == 1
        await viewer.wait_frames(4)
        await viewer.say("prompt", event_id="p", text="a blue wall")
        await viewer.say("seed", event_id="s", seed=3)
        await until(lambda: "a blue wall" in reader.asked)
        chunk = viewer.video[-1].chunk
        await viewer.wait_chunk(chunk + 3)
        assert answers(viewer) == ["s"], "other controls do not wait for it"
        reader.finish("a blue wall")
        applied = await viewer.wait_message(lambda m: m.get("event_id") == "p")
        assert applied["type"] == "applied" and applied["chunk"] > chunk + 3
        await viewer.wait_chunk(applied["chunk"] + 1)
        pictures, chunks = viewer.frames(), {p.seq: p.chunk for p in viewer.video}
        blue = {chunks[seq]: is_blue(picture) for seq, picture in pictures.items()}
        assert blue == {number: number >= applied["chunk"] for number in blue}
    assert reader.closed


async def test_of_prompts_that_wait_the_newest_is_read_and_all_are_answered_in_order() -> None:
    reader = HeldReader()
    reader.known.add("known")
    async with hosting(reader) as server, viewing(server.ws) as viewer:
        for event_id, text in (("1", "first"), ("2", "second"), ("3", "third"), ("4", "known")):
            await viewer.say("prompt", event_id=event_id, text=text)
            await until(lambda: "first" in reader.asked)
        await viewer.say("seed", event_id="s", seed=3)
        await viewer.wait(lambda: answers(viewer) == ["s"])
        reader.finish("first")
        await viewer.wait(lambda: answers(viewer) == ["s", "1"])
        await until(lambda: "known" in reader.asked)
        assert set(reader.asked) == {"first", "known"}, "what is replaced is not read"
        reader.finish("known")
        await viewer.wait(lambda: answers(viewer) == ["s", "1", "2", "3", "4"])
        chunks = {m["chunk"] for m in viewer.messages if m.get("event_id") in ("2", "3", "4")}
        assert len(chunks) == 1
        assert (await viewer.control("prompt", text="known"))["type"] == "applied"


async def test_a_prompt_that_cannot_be_read_is_rejected_and_the_stream_goes_on() -> None:
    reader = HeldReader()
    async with hosting(reader) as server, viewing(server.ws) as viewer:
        await viewer.say("prompt", event_id="p", text="bad")
        await until(lambda: "bad" in reader.asked)
        reader.fail("bad")
        answer = await viewer.wait_message(lambda m: m.get("event_id") == "p")
        assert (answer["type"], answer["code"]) == ("rejected", "engine_failed")
        assert "operator" not in str(answer) and "log" in answer["hint"]
        await viewer.wait_chunk(viewer.video[-1].chunk + 2 if viewer.video else 2)
        assert viewer.close_code is None


async def test_a_stream_begins_behind_the_reading_of_its_first_prompt() -> None:
    reader = HeldReader()
    async with hosting(reader) as server, viewing(server.ws, prompt="a blue wall") as viewer:
        assert viewer.ready["type"] == "session.ready", "the client is not kept waiting for that"
        async with viewing(server.ws) as other:
            await other.wait_chunk(3)
            assert not viewer.video, "and others are not kept waiting either"
        reader.finish("a blue wall")
        await viewer.wait_frames(4)
        assert viewer.video[0].seq == 0
        assert is_blue(viewer.frames()[0])


async def test_a_stream_whose_first_prompt_cannot_be_read_is_ended() -> None:
    reader = HeldReader()
    async with hosting(reader) as server, viewing(server.ws, prompt="bad") as viewer:
        reader.fail("bad")
        assert await viewer.wait_closed() == 4500
        error = viewer.messages[-1]
        assert (error["code"], error["message"]) == (
            "engine_failed",
            "the prompt could not be read",
        )


async def test_a_stream_that_ends_while_its_prompt_is_read_is_not_opened() -> None:
    reader = HeldReader()
    async with hosting(reader) as server:
        async with viewing(server.ws, prompt="slow") as viewer:
            await viewer.say("session.close")
            await viewer.wait_closed()
        reader.finish("slow")
        async with viewing(server.ws) as again:
            await again.wait_frames(4)
            assert len(server.engine.streams) == 1


async def test_prompts_that_wait_are_bounded() -> None:
    reader = HeldReader()
    async with hosting(reader) as server, viewing(server.ws) as viewer:
        for number in range(MAX_WAITING + 1):
            await viewer.say("prompt", event_id=str(number), text=f"text {number}")
        answer = await viewer.wait_message(lambda m: m.get("event_id") == str(MAX_WAITING))
        assert (answer["type"], answer["code"]) == ("rejected", "rate_limited")
