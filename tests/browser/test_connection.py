"""The connection's life: leaving, reloading, cuts, refusals, slow links."""

from typing import Any

import pytest
from playwright.async_api import Browser, expect

from ..server.running import FailingPattern, running, settled, until
from ..server.web.slow_proxy import slow_proxy
from .studio import Studio, disc_at, open_tab, studio_at


async def streams(server: Any) -> list[str]:
    return [stream.session.options.session_id for stream in server.engine.streams]


async def streams_become(server: Any, count: int) -> None:
    await until(lambda: len(server.engine.streams) == count)


@pytest.mark.long
async def test_a_closed_tab_frees_its_stream_after_the_grace_time(browser: Browser) -> None:
    async with running(grace_s=0.3) as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        listed = await (await studio.page.context.request.get(f"{server.http}/v1/sessions")).json()
        assert [each["attached"] for each in listed] == [True]
        other = await studio.page.context.new_page()
        await studio.page.close()
        await streams_become(server, 0)
        listed = await (await other.context.request.get(f"{server.http}/v1/sessions")).json()
        assert listed == []


@pytest.mark.long
async def test_the_end_button_frees_it_at_once_and_start_again_opens_another(
    browser: Browser,
) -> None:
    async with running(grace_s=60) as server, studio_at(browser, server.http) as studio:
        first = (await studio.until_playing())["session"]["session_id"]
        await studio.page.get_by_role("button", name="End the stream").click()
        await studio.until_state("ended")
        await streams_become(server, 0)
        await studio.page.get_by_role("button", name="Start again").click()
        second = (await studio.until_playing())["session"]["session_id"]
        assert second != first


async def test_after_a_cut_the_same_stream_goes_on(browser: Browser) -> None:
    async with (
        running() as server,
        slow_proxy(server.port) as proxy,
        studio_at(browser, f"http://127.0.0.1:{proxy.port}", expected_problems=True) as studio,
    ):
        before = await studio.until_playing(20)
        proxy.cut()
        await studio.until_state("reconnecting")
        at_cut = (await studio.snapshot())["player"]["lastSeq"]
        after = await studio.until_playing(10)
        assert after["session"]["session_id"] == before["session"]["session_id"]
        assert after["session"]["resumed"]
        seen = await studio.watch(20)
        # The painted numbers go on too: it is the same stream, not a new one.
        assert [frame["number"] for frame in seen] == [frame["seq"] for frame in seen]
        assert at_cut <= seen[0]["seq"] < at_cut + 40
        assert len(await streams(server)) == 1


async def test_a_reload_finds_the_stream_again(browser: Browser) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        before = await studio.until_playing(20)
        await studio.page.reload()
        after = await studio.until_playing(5)
        assert after["session"]["session_id"] == before["session"]["session_id"]
        assert after["player"]["lastSeq"] > before["player"]["lastSeq"]
        assert len(await streams(server)) == 1


@pytest.mark.long
async def test_the_next_tab_goes_on_with_the_stream_of_a_closed_one(browser: Browser) -> None:
    async with running(max_sessions=1) as server, studio_at(browser, server.http) as studio:
        before = await studio.until_playing(20)
        page = await studio.page.context.new_page()
        await studio.page.close(run_before_unload=True)
        next_tab = await open_tab(page, server.http)
        after = await next_tab.until_playing(5)
        assert after["session"]["session_id"] == before["session"]["session_id"]
        assert after["player"]["lastSeq"] > before["player"]["lastSeq"]
        # Two open tabs do not fight over it.
        third = await open_tab(await studio.page.context.new_page(), server.http)
        await third.until_state("refused")
        assert (await next_tab.snapshot())["status"]["state"] == "live"


@pytest.mark.long
async def test_what_is_held_through_a_cut_is_held_after_it(browser: Browser) -> None:
    async with (
        running() as server,
        slow_proxy(server.port) as proxy,
        studio_at(browser, f"http://127.0.0.1:{proxy.port}", expected_problems=True) as studio,
    ):
        await studio.until_playing()
        await studio.page.mouse.move(*await studio.place(0.3, 0.6))
        await studio.page.mouse.down()
        await studio.until_frame(lambda f: disc_at(f, 0.3, 0.6), "the disc")
        proxy.cut()
        await studio.until_state("reconnecting")
        await studio.until_playing(8)
        await studio.page.mouse.move(*await studio.place(0.7, 0.6), steps=4)
        await studio.until_frame(lambda f: disc_at(f, 0.7, 0.6), "the disc still held")


@pytest.mark.long
async def test_a_second_tab_with_the_same_stream_takes_it_over(browser: Browser) -> None:
    async with (
        running() as server,
        studio_at(browser, server.http, expected_problems=True) as studio,
    ):
        before = await studio.until_playing()
        saved = await studio.page.evaluate("sessionStorage.getItem('rollcast.session')")
        copy = await studio.page.context.new_page()
        await copy.add_init_script(f"sessionStorage.setItem('rollcast.session', {saved!r})")
        second = await open_tab(copy, server.http)
        after = await second.until_playing()
        assert after["session"]["session_id"] == before["session"]["session_id"]
        await studio.until_state("refused")
        await expect(studio.page.locator("#curtain-title")).to_have_text(
            "This stream is open in another tab"
        )
        await studio.page.get_by_role("button", name="Use it here").click()
        await studio.until_playing()
        await second.until_state("refused")


@pytest.mark.long
async def test_who_waits_for_a_place_is_told_keeps_the_turn_and_is_let_in(
    browser: Browser,
) -> None:
    async with (
        running(max_sessions=1, max_waiting=1, grace_s=0.1) as server,
        studio_at(browser, server.http) as first,
        studio_at(browser, server.http) as second,
        studio_at(browser, server.http, expected_problems=True) as third,
    ):
        await first.until_playing()
        await second.until_state("queued")
        await expect(second.page.locator("#status-label")).to_have_text("In line · 1st")
        await expect(second.page.locator("#curtain-title")).to_contain_text("You are 1st")
        refused = await third.until_state("refused")
        assert refused["connection"]["code"] == "capacity"
        assert refused["connection"]["retryAtMs"] is not None
        await expect(third.page.locator("#status-label")).to_contain_text("In line")
        await expect(third.page.locator("#curtain-title")).to_contain_text("All places are taken")
        ticket = await second.page.evaluate("sessionStorage.getItem('rollcast.ticket')")
        await second.page.reload()
        await second.until_state("queued")
        kept = await second.page.evaluate("sessionStorage.getItem('rollcast.ticket')")
        assert kept == ticket
        await first.page.get_by_role("button", name="End the stream").click()
        await second.until_playing()


@pytest.mark.long
async def test_a_token_is_asked_for_and_kept_out_of_the_address(browser: Browser) -> None:
    async with (
        running(token="open sesame") as server,
        studio_at(browser, server.http, expected_problems=True) as studio,
    ):
        await studio.until(lambda s: s["connection"]["code"] == "unauthorized", "refused")
        field = studio.page.get_by_label("Access token")
        await field.fill("wrong")
        await field.press("Enter")
        await studio.until(lambda s: s["connection"]["code"] == "unauthorized", "refused again")
        await field.fill("open sesame")
        await studio.page.get_by_role("button", name="Connect").click()
        await studio.until_playing()

        link = await studio.page.context.new_page()
        other = await open_tab(link, f"{server.http}/#token=open%20sesame")
        await other.until_playing()
        assert link.url == f"{server.http}/"
        await link.reload()
        await other.until_playing()


async def test_a_model_that_fails_is_said_with_the_time_of_the_next_attempt(
    browser: Browser,
) -> None:
    async with (
        running(lambda: [FailingPattern()]) as server,
        studio_at(browser, server.http, expected_problems=True) as studio,
    ):
        await studio.until_playing()
        await studio.page.locator("#prompt").fill("break")
        await studio.page.keyboard.press("Enter")
        await studio.until(lambda s: s["connection"]["code"] == "engine_failed", "the failure")
        await expect(studio.page.locator("#curtain-title")).to_have_text("The model stopped")
        await expect(studio.page.locator("#curtain-detail")).to_contain_text("Next attempt in")


@pytest.mark.long
async def test_a_slow_link_bounds_the_delay_instead_of_the_picture_growing_old(
    browser: Browser,
) -> None:
    async with (
        running() as server,
        slow_proxy(server.port) as proxy,
        studio_at(browser, f"http://127.0.0.1:{proxy.port}") as studio,
    ):
        await studio.until_playing(10)
        proxy.bytes_per_s = 50_000
        frame = (await studio.snapshot())["player"]["lastSeq"]
        await studio.until(lambda s: s["player"]["lastSeq"] > frame + 150, "six seconds of video")
        seen = await studio.watch(15)
        snapshot = await studio.snapshot()
        assert snapshot["status"]["state"] in ("live", "waiting")
        assert snapshot["figures"]["latencyMs"] < 1500
        assert snapshot["figures"]["kbps"] < 420
        assert [frame["number"] for frame in seen] == [frame["seq"] for frame in seen]


@pytest.mark.long
async def test_a_dead_link_is_noticed_and_a_living_one_taken_up(browser: Browser) -> None:
    async with (
        running() as server,
        slow_proxy(server.port) as proxy,
        studio_at(browser, f"http://127.0.0.1:{proxy.port}", expected_problems=True) as studio,
    ):
        before = await studio.until_playing()
        proxy.stalled = True
        await studio.until_state("waiting")
        await studio.until_state("reconnecting")
        proxy.cut()
        proxy.stalled = False
        after = await studio.until_playing()
        assert after["session"]["session_id"] == before["session"]["session_id"]


async def test_a_server_that_leaves_says_so(browser: Browser) -> None:
    async with (
        running(drain_s=1.0) as server,
        studio_at(browser, server.http, expected_problems=True) as studio,
    ):
        await studio.until_playing()
        server.server.should_exit = True
        await studio.until_state("draining")
        await studio.until(lambda s: s["status"]["state"] in ("refused", "reconnecting"), "gone")


async def test_a_page_from_the_back_forward_cache_goes_on(browser: Browser) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        before = await studio.until_playing()
        transition = "(type) => dispatchEvent(new PageTransitionEvent(type, { persisted: true }))"
        await studio.page.evaluate(transition, "pagehide")
        await until(lambda: not any(s.session.attached for s in server.engine.streams))
        await studio.page.evaluate(transition, "pageshow")
        after = await studio.until(lambda s: s["session"]["resumed"], "the stream again")
        await studio.until_playing()
        assert after["session"]["session_id"] == before["session"]["session_id"]


@pytest.mark.long
async def test_a_page_that_comes_before_its_server_waits_for_it(browser: Browser) -> None:
    async with (
        running() as server,
        slow_proxy(server.port) as proxy,
        studio_at(browser, f"http://127.0.0.1:{proxy.port}", expected_problems=True) as studio,
    ):
        await studio.until_playing()
        await studio.page.evaluate("sessionStorage.clear()")
        await studio.page.route_web_socket("**/v1/stream", lambda socket: socket.close())
        # where the page asks why
        await studio.page.route("**/v1/stream", lambda route: route.abort())
        await studio.page.reload()
        await studio.until_state("reconnecting")
        await expect(studio.page.locator("#curtain-title")).to_have_text(
            "The server does not answer yet"
        )


async def test_a_hidden_tab_that_nobody_hears_costs_nothing(browser: Browser) -> None:
    async with running() as server, studio_at(browser, server.http) as studio:
        await studio.until_playing()
        await hide(studio, True)
        await studio.until_state("paused")
        (stream,) = server.engine.streams
        await settled(lambda: stream.session.chunks)
        await hide(studio, False)
        await studio.until_playing()


async def hide(studio: Studio, hidden: bool) -> None:
    await studio.page.evaluate(
        """(hidden) => {
          Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


@pytest.mark.long
@pytest.mark.parametrize("failures", [1, 2])
async def test_a_decoder_that_dies_is_replaced_then_the_codec(
    browser: Browser, failures: int
) -> None:
    async with (
        running() as server,
        studio_at(browser, "about:blank") as studio,
    ):
        await studio.page.add_init_script(
            """{
              const Real = VideoDecoder;
              window.decoders = [];
              window.VideoDecoder = class extends Real {
                constructor(init) { super(init); window.decoders.push({ decoder: this, init }); }
              };
            }"""
        )
        await studio.page.goto(server.http)
        before = (await studio.until_playing(10))["session"]
        assert before["codec"] == "h264"
        for number in range(failures):
            await studio.page.evaluate(
                """() => {
                  const { decoder, init } = window.decoders.at(-1);
                  decoder.close();
                  init.error(new DOMException("broken by the test", "EncodingError"));
                }"""
            )
            if number + 1 < failures:
                await studio.until_playing(10)
        await studio.until_playing(10)
        after = await studio.until(
            lambda s: s["session"]["codec"] == ("h264" if failures == 1 else "vp8"), "the codec"
        )
        await studio.until_playing(5)
        assert after["session"]["session_id"] == before["session_id"]
        seen = await studio.watch(10)
        assert [frame["number"] for frame in seen] == [frame["seq"] for frame in seen]
