"""`watch` against a real server: what a share link shows, from Python and on the command line."""

from __future__ import annotations

import asyncio
from pathlib import Path

import av
import numpy as np
import pytest

from rollcast.client import Audio, Frame, Refused, connect, watch
from rollcast.client.address import share_link, watch_token
from rollcast.models.test_pattern import read_barcode
from rollcast.server.cli.app import main

from ..server.running import running, until
from ..server.web.slow_proxy import slow_proxy


async def test_who_watches_sees_and_hears_what_another_client_says() -> None:
    async with running(token="a secret of sixteen bytes") as server:
        page = f"{server.http}/#token=a%20secret%20of%20sixteen%20bytes"
        async with connect(page, audio_rate=24_000) as director:
            link = await director.share(60)
            assert link.startswith(f"{server.http}/#watch=rc1.")
            async with watch(link) as shown:
                saying = asyncio.create_task(director.say(np.full(8_000, 9_000, np.int16)))
                seen: list[Frame] = []
                heard: set[int] = set()
                async for media in shown:
                    if isinstance(media, Frame):
                        seen.append(media)
                    elif isinstance(media, Audio):
                        heard |= set(map(int, media.samples))
                    if len(seen) >= 12 and 9_000 in heard:
                        break
                await saying
                assert [read_barcode(each.image) for each in seen] == [each.seq for each in seen]
                assert (shown.viewers, shown.ready.model) == (1, "test-pattern")
                # as it was sent, and no copy that went through a filter
                assert shown.ready.sample_rate == 24_000 and heard <= {0, 9_000}
                await until(lambda: director.viewers == 1)
                await director.stop_sharing()
                with pytest.raises(Refused) as refused:
                    async for _ in shown:
                        pass
                assert refused.value.code == "ended"


async def test_a_lost_viewer_comes_back_by_itself() -> None:
    async with running() as server, slow_proxy(server.port) as proxy, connect(server.http) as own:
        link = (await own.share()).replace(str(server.port), str(proxy.port))
        async with watch(link) as shown:
            frames = shown.frames()
            before = await anext(frames)
            proxy.cut()
            await until(lambda: shown.reconnects == 1)
            after = [await anext(frames) for _ in range(10)]
            assert after[-1].seq > before.seq
            assert read_barcode(after[-1].image) == after[-1].seq


async def test_what_is_no_share_link_is_said_at_once() -> None:
    with pytest.raises(ValueError, match="#watch="):
        async with watch("http://127.0.0.1:1/"):
            pass


@pytest.mark.parametrize(
    ("url", "link"),
    [
        ("127.0.0.1:8000", "http://127.0.0.1:8000/#watch=T"),
        ("https://a.example/studio/#token=x", "https://a.example/studio/#watch=T"),
        ("wss://a.example/v1/stream", "https://a.example/#watch=T"),
    ],
)
def test_share_links_are_addresses_of_the_page(url: str, link: str) -> None:
    assert share_link(url, "T") == link
    assert watch_token(link) == "T"


async def test_a_share_link_is_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.mp4"
    async with running() as server, connect(server.http, pace="clock") as own:
        link = await own.share()
        reading = asyncio.create_task(_read(own))
        with pytest.raises(SystemExit) as end:
            await asyncio.to_thread(main, ["record", link, str(path), "--seconds", "0.8"])
        assert not end.value.code
        with pytest.raises(SystemExit) as end:
            await asyncio.to_thread(main, ["record", link, str(path), "--prompt", "red"])
        assert end.value.code == 2
        assert "cannot be steered" in capsys.readouterr().err
        reading.cancel()
    with av.open(str(path)) as container:
        numbers = [read_barcode(f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]
    assert len(numbers) == 20
    assert numbers == list(range(numbers[0], numbers[0] + 20))


async def _read(stream: object) -> None:
    async for _ in stream:  # pyright: ignore
        pass
