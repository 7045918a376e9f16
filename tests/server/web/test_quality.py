"""A model that is too slow for its streams, over a real socket."""

from __future__ import annotations

import pytest

from ..running import SlowPattern, running, viewing


@pytest.mark.slow
async def test_a_stream_on_a_busy_machine_is_told_what_it_gives_up_and_nobody_joins() -> None:
    async with (
        running(lambda: [SlowPattern(0.2)], keep_quality=False) as server,
        viewing(server.ws) as viewer,
    ):
        first = await viewer.wait_message(lambda each: each["type"] == "stats")
        assert first["quality"]["level"] in (0, 1)
        told = await viewer.wait_message(
            lambda each: each["type"] == "stats" and each["quality"]["level"] == 1
        )
        assert told["quality"]["why"] == "the server is busy: more is made ahead"
        (model,) = server.engine.hosted.values()
        assert model.ladder is not None
        assert server.engine.free_places() == 0
        model.ladder.level = 3
        async with viewing(server.ws, acks=False) as late:
            assert late.ready["code"] == "capacity"
            assert "too busy" in late.ready["message"]
        text = server.engine.metrics.render().decode()
        assert 'rollcast_quality_level{model="test-pattern"} 1.0' in text
