"""A server to try the document on; only this file knows where it comes from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from ..server.running import RunningServer, running
from ..server.world_pattern import WorldPattern

Start = Callable[..., AbstractAsyncContextManager[RunningServer]]


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """The WebSocket of a server with the test pattern and no secret."""
    async with running() as server:
        yield server.ws


@pytest.fixture
async def world_url() -> AsyncIterator[str]:
    """The WebSocket of a server whose model takes an image, a camera's motion and video."""
    async with running(lambda: [WorldPattern()], models=("world",)) as server:
        yield server.ws


@pytest.fixture
def start() -> Start:
    """Start a server with settings; its `ws` and `http` are where it is."""

    def begin(**settings: Any) -> AbstractAsyncContextManager[RunningServer]:
        return running(**settings)

    return begin
