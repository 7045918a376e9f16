"""`rollcast livekit` before the first room: what it refuses, and what it does without."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rollcast.server.cli.app import main


def test_strangers_cannot_be_let_in_without_a_secret(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ROLLCAST_LIVEKIT_SECRET", raising=False)
    with pytest.raises(SystemExit) as end:
        main(["livekit", "--host", "0.0.0.0"])
    assert end.value.code == 2
    assert "ROLLCAST_LIVEKIT_SECRET" in capsys.readouterr().err


def test_without_livekit_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "multipart", None)
    with pytest.raises(SystemExit) as end:
        main(["livekit"])
    assert end.value.code == 2
    assert "rollcast-client[livekit]" in capsys.readouterr().err


def test_the_worker_loads_neither_torch_nor_the_server() -> None:
    code = (
        "import sys, rollcast.client.livekit.app; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'rollcast.server')))"
    )
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0
