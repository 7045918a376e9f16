"""An avatar that says back what it heard, with the system's recogniser and synthesiser."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ..server.running import running
from .test_examples import load

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(
        shutil.which("pocketsphinx_continuous") is None or shutil.which("espeak-ng") is None,
        reason="pocketsphinx or espeak-ng is not installed (make peers)",
    ),
]


async def test_what_is_heard_is_said(tmp_path: Path) -> None:
    question = tmp_path / "question.wav"
    subprocess.run(["espeak-ng", "-v", "en", "-s", "130", "-w", str(question), "hello"], check=True)
    async with running() as server:
        said = await load("talk_back").run(server.http, question, tmp_path)
        assert said  # a recogniser made for people understands few words of a machine
    assert all(text == text.lower() for text in said)
