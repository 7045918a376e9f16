"""What a server's model needs is begun before the server is imported, and only that."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rollcast.models.own_models import DEFAULT_MODEL, OWN_MODELS
from rollcast.models.registry import preload
from rollcast.server.cli.head_start import begun


@pytest.mark.parametrize("name", OWN_MODELS)
def test_what_is_begun_is_what_the_server_asks_for_later(name: str) -> None:
    assert begun(["--model", name]) == begun([f"--model={name}"]) == list(preload(name))


def test_whatever_stands_around_it_each_model_counts_once() -> None:
    both = [*("--port", "1", "--model", "toy-world"), "--no-open", "--model=pocket", "--steps"]
    assert set(begun(both)) == {*preload("toy-world"), *preload("pocket")}
    assert len(begun(both)) == len(set(begun(both)))
    assert begun([]) == begun(["--port", "8001"]) == list(preload(DEFAULT_MODEL))


@pytest.mark.parametrize(
    "options",
    [
        ["--model", "test-pattern"],
        ["--model", "a-model-of-a-stranger"],
        ["--help"],
        ["--stages", "2"],
        ["--stages=2", "--model", "pocket"],
        ["--model"],
    ],
    ids=" ".join,
)
def test_nothing_is_begun_that_may_not_be_needed(options: list[str]) -> None:
    assert begun(options) == []


def test_it_waits_for_nothing_that_takes_time_itself() -> None:
    code = (
        "import sys, rollcast.server.cli.app, rollcast.server.cli.head_start\n"
        "print(*({'numpy', 'msgspec', 'torch', 'typer', 'rich'} & set(sys.modules)))"
    )
    imported = subprocess.run(
        [sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True
    )
    assert imported.stdout.split() == []
