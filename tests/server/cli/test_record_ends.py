"""However a recording ends, what came is a file that plays, and the exit code says how it ended."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import av
import pytest

from rollcast.server.cli.app import main

from ..running import WAIT_S, running


def frames_of(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


async def start(url: str, path: Path) -> Process:
    """A recording in a process of its own that has written something."""
    command = [sys.executable, "-P", "-m", "rollcast.server.cli", "record", url, str(path)]
    process = await asyncio.create_subprocess_exec(*command, "--seconds", "600", stderr=PIPE)
    async with asyncio.timeout(4 * WAIT_S):
        while not (path.exists() and path.stat().st_size > 10_000):
            assert process.returncode is None
            await asyncio.sleep(0.05)
    return process


async def said(process: Process) -> str:
    async with asyncio.timeout(WAIT_S):
        _, errors = await process.communicate()
    text = errors.decode()
    assert "Traceback" not in text
    return text


@pytest.mark.processes
@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.long),
        (signal.SIGKILL, -9),
    ],
)
async def test_a_signal_keeps_what_came(tmp_path: Path, number: int, code: int) -> None:
    async with running() as server:
        process = await start(server.http, tmp_path / "a.mp4")
        process.send_signal(number)
        text = await said(process)
    assert process.returncode == code
    assert frames_of(tmp_path / "a.mp4") >= 10
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert code == -9 or "What came is kept" in text


@pytest.mark.processes
async def test_a_second_interrupt_ends_at_once(tmp_path: Path) -> None:
    async with running() as server:
        process = await start(server.http, tmp_path / "a.mp4")
        process.send_signal(signal.SIGINT)
        await asyncio.sleep(0.01)
        process.send_signal(signal.SIGINT)
        await said(process)
    assert process.returncode
    assert frames_of(tmp_path / "a.mp4") >= 10


async def fails(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        await asyncio.to_thread(main, ["record", *arguments])
    assert isinstance(end.value.code, int)
    return end.value.code


async def test_a_server_that_stops_leaves_what_came(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.mp4"
    async with running() as server:
        recording = asyncio.create_task(fails(server.http, str(path), "--seconds", "600"))
        async with asyncio.timeout(WAIT_S):
            while not (path.exists() and path.stat().st_size > 10_000):
                await asyncio.sleep(0.05)
    assert await recording == 3
    assert "What came is kept" in capsys.readouterr().err
    assert frames_of(path) >= 10


async def test_a_file_is_replaced_only_when_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"dear to me")
    async with running() as server:
        assert await fails(server.http, str(path)) == 2
        assert "--overwrite" in capsys.readouterr().err
        assert path.read_bytes() == b"dear to me"
        with pytest.raises(SystemExit) as end:
            again = ["record", server.http, str(path), "--seconds", "0.4", "--overwrite"]
            await asyncio.to_thread(main, again)
        assert not end.value.code
    assert frames_of(path) == 10


async def test_a_refused_stream_leaves_nothing_and_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "old.mp4").write_bytes(b"dear to me")
    async with running() as server:
        url = server.http
        assert await fails(url, str(tmp_path / "new.mp4"), "--scene", "none") == 3
        old = (str(tmp_path / "old.mp4"), "--overwrite")
        assert await fails(url, *old, "--scene", "none") == 3
    assert [path.name for path in tmp_path.iterdir()] == ["old.mp4"]
    assert (tmp_path / "old.mp4").read_bytes() == b"dear to me"


async def test_what_is_read_is_not_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    speech = Path(__file__).parents[2] / "fixtures" / "inputs" / "joined.mp3"
    (tmp_path / "said.mp4").write_bytes(speech.read_bytes())
    (tmp_path / "link.mp4").symlink_to("said.mp4")
    for out in ("said.mp4", "link.mp4"):
        options = ("--overwrite", "--audio", str(tmp_path / "said.mp4"))
        assert await fails("http://127.0.0.1:1", str(tmp_path / out), *options) == 2
        assert "is what is read" in capsys.readouterr().err
    assert (tmp_path / "said.mp4").read_bytes() == speech.read_bytes()


@pytest.mark.parametrize(
    ("name", "code", "why"),
    [
        ("folder.mp4", 2, "is there already"),
        ("x" * 300 + ".mp4", 1, "name too long"),
        ("none/a.mp4", 1, "there is no folder"),
        ("a.avi", 2, "is not an .mp4"),
    ],
)
async def test_a_file_that_cannot_be_is_said_before_the_server_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, code: int, why: str
) -> None:
    (tmp_path / "folder.mp4").mkdir()
    assert await fails("http://127.0.0.1:1", str(tmp_path / name)) == code
    said = capsys.readouterr().err.lower()
    assert why in said and "cannot reach" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["folder.mp4"]


async def test_a_full_disk_is_not_called_a_lost_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.mp4").symlink_to("/dev/full")
    async with running() as server:
        assert await fails(server.http, str(tmp_path / "a.mp4"), "--overwrite") == 1
    said = capsys.readouterr().err
    assert "No space left" in said and "reach" not in said


@pytest.mark.parametrize("seconds", ["inf", "nan", "-1", "1e308", "0"])
async def test_a_length_that_is_none_is_refused(tmp_path: Path, seconds: str) -> None:
    out = str(tmp_path / "a.mp4")
    assert await fails("http://127.0.0.1:1", out, "--seconds", seconds) == 2
    with pytest.raises(SystemExit) as end:
        main(["render", out, "--model", "test-pattern", "--seconds", seconds])
    assert end.value.code == 2 and not os.listdir(tmp_path)


@pytest.mark.parametrize("name", ["12:30.mp4", "x" * 251 + ".mp4", "[red] ü.mp4"])
async def test_odd_names_are_names(tmp_path: Path, name: str) -> None:
    async with running() as server:
        with pytest.raises(SystemExit) as end:
            out = str(tmp_path / name)
            await asyncio.to_thread(main, ["record", server.http, out, "--seconds", "0.2"])
        assert not end.value.code
    assert os.listdir(tmp_path) == [name]


async def test_a_speech_without_sound_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = str(Path(__file__).parents[2] / "fixtures" / "inputs" / "empty.wav")
    out = str(tmp_path / "a.mp4")
    assert await fails("http://127.0.0.1:1", out, "--audio", empty) == 2
    with pytest.raises(SystemExit) as end:
        main(["render", out, "--model", "test-pattern", "--audio", empty])
    assert end.value.code == 2 and not os.listdir(tmp_path)
    assert capsys.readouterr().err.count("no sound in it") == 2
