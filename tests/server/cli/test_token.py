"""`rollcast token`: what it prints lets a client in, for as long as it says."""

from __future__ import annotations

import time

import pytest

from rollcast.server.cli.app import main
from rollcast.server.cli.token import seconds_of
from rollcast.server.web.client_tokens import read_token

from ..running import running, viewing

SECRET = "a secret of 20 chars"


def made(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    with pytest.raises(SystemExit) as end:
        main(["token", *options])
    said = capsys.readouterr()
    assert not end.value.code, said.err
    return said.out.strip()


def test_it_permits_what_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    claims = read_token(SECRET, made(capsys, "--token", SECRET))
    assert claims is not None and claims.scope == {"stream"} and claims.subject == ""
    assert claims.expires_s == pytest.approx(time.time() + 3600, abs=30)
    options = ("--scope", "stream", "--scope", "sessions", "--expires", "2d", "--subject", "ann")
    claims = read_token(SECRET, made(capsys, "--token", SECRET, *options))
    assert claims is not None and claims.scope == {"stream", "sessions"}
    assert claims.subject == "ann"
    assert claims.expires_s == pytest.approx(time.time() + 2 * 86_400, abs=30)


async def test_a_client_comes_in_with_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROLLCAST_TOKEN", SECRET)
    token = made(capsys, "--expires", "5m")
    async with running(token=SECRET) as server, viewing(server.ws, token=token) as viewer:
        assert viewer.ready["type"] == "session.ready"


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("1h", 3600), ("7d", 604_800)]
)
def test_durations(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "8d", "1.5h", "-1s", "1w", "soon"])
def test_what_is_no_duration_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="--expires"):
        seconds_of(text)


def test_mistakes_are_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ROLLCAST_TOKEN", raising=False)
    for options, said in (
        ((), "ROLLCAST_TOKEN"),
        (("--token", SECRET, "--expires", "soon"), "--expires"),
        (("--token", SECRET, "--subject", "x" * 65), "64"),
        (("--token", SECRET, "--scope", "all"), "scope"),
    ):
        with pytest.raises(SystemExit) as end:
            main(["token", *options])
        assert end.value.code and said in capsys.readouterr().err
