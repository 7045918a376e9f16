"""Logs of streams: what is written is made again bit for bit, wherever the log ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
import zipfile
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest

from rollcast.benchmarks.stream.server_process import ServerProcess
from rollcast.client import ClientError, connect
from rollcast.models.contract import (
    FULL,
    CameraMotion,
    Controls,
    Economy,
    Model,
    StreamRequest,
    TrackEvent,
)
from rollcast.models.pipeline.batched import Batched
from rollcast.models.pipeline.events import Event, Restarted, Saved
from rollcast.models.pipeline.executor import Executor, make_chunk, make_rest
from rollcast.models.pipeline.past import Past
from rollcast.models.pipeline.pipeline import Pipeline
from rollcast.models.pipeline.sequential import Sequential
from rollcast.models.registry import load_model
from rollcast.models.test_pattern import TestPattern, read_barcode
from rollcast.server.cli.app import main
from rollcast.server.engine.model_host import ModelHost
from rollcast.server.stream_log.bundle import write_bundle
from rollcast.server.stream_log.log_folder import LogFolder
from rollcast.server.stream_log.machine import differences, machine_of
from rollcast.server.stream_log.recorded import Recorded
from rollcast.server.stream_log.records import MAGIC, Dropped, Made, NoLog, encode_record
from rollcast.server.stream_log.replay import Comparison, read_log, replay, replay_behind
from rollcast.server.stream_log.stream_logs import StreamLogs

from ...models.pipeline.running import OFTEN, PATIENT, tiny
from ...models.pipeline.tiny import TinyModel, control_log
from ...pictures import RED, portrait
from ..other_models import YuvPattern
from ..running import running, viewing

MACHINE = {"threads": "1", "torch": "2"}
SPEECH = np.random.default_rng(7).integers(-9000, 9000, 2560).astype(np.int16)
TOLD = (
    Controls(prompt="a blue wall", transition_chunks=3),
    Controls(audio=SPEECH),
    Controls(tracks=(TrackEvent(1, "down", 0.4, 0.6),), camera=CameraMotion((1.0, 0.0, 0.5))),
    Controls(tracks=(TrackEvent(1, "move", 0.5, 0.6),), audio=SPEECH[::-1].copy()),
    Controls(seed=3, clear_tracks=None, clear_audio=True),
    Controls(reset=True),
    Controls(),
)


def recorded(
    folder: Path,
    model: Model[Any],
    most_bytes: int = 10**8,
    name: str = "test-pattern",
    *,
    executor: Callable[[Any], Executor] = Sequential,
    all_streams: bool = True,
) -> Recorded:
    return Recorded(
        executor(model),
        StreamLogs.of(LogFolder(folder, most_bytes), all_streams=all_streams),
        model=name,
        arguments={"name": name, "threads": 1},
        machine=MACHINE,
    )


def stream(executor: Recorded, key: str = "s", told: tuple[Controls, ...] = TOLD) -> None:
    executor.open(key, StreamRequest(seed=5, prompt="a red wall"))
    for controls in told:
        make_chunk(executor, key, controls)


def only(folder: Path) -> Path:
    (path,) = folder.glob("*.rclog")
    return path


def compare(path: Path, model: Model[Any]) -> Comparison:
    compared = Comparison()
    deque(replay(model, read_log(path), compared), maxlen=0)
    return compared


def test_a_log_is_private_and_replays_bit_for_bit(tmp_path: Path) -> None:
    executor = recorded(tmp_path / "logs", TestPattern())
    executor.start()
    stream(executor)
    executor.close("s")
    path = only(tmp_path / "logs")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    compared = compare(path, TestPattern())
    assert (compared.same, compared.different, compared.unknown) == (len(TOLD), [], 0)
    assert read_log(path).header.request == StreamRequest(seed=5, prompt="a red wall")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pocket", "toy-world"])
def test_own_models_replay_bit_for_bit_as_rows_of_their_batches(tmp_path: Path, name: str) -> None:
    model = load_model(name, threads=1)
    executor = recorded(tmp_path, model, name=name, executor=lambda each: Batched(each, 2))
    for key, scene in zip("ab", model.info.scenes, strict=False):
        executor.open(key, StreamRequest(seed=5, prompt="a red wall", scene=scene.name))
    # told nothing: with speech and drags bits also depend on a row's place in its batch
    busy = Economy(tiny_decoder=True, steps=1, frame_every=2)
    # the last ones alone
    for keys, economy in (("ab", FULL), ("ab", busy), ("ab", FULL), ("a", busy), ("a", FULL)):
        for key in keys:
            executor.submit(key, Controls(economy=economy))
        executor.poll(0.0)
    path = next(tmp_path.glob("*-a.rclog"))
    log = read_log(path)
    assert [then.rows for _, then in log.steps if then is not None] == [2, 2, 2, 1, 1]
    compared = compare(path, model)
    assert (compared.same, compared.different) == (5, [])


def test_frames_that_are_planes_are_known_again(tmp_path: Path) -> None:
    stream(recorded(tmp_path, YuvPattern()))
    compared = compare(only(tmp_path), YuvPattern())
    assert compared.same and not compared.different
    assert compare(only(tmp_path), TestPattern()).same == 0


def test_the_first_chunk_that_differs_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Otherwise(TestPattern):
        def step(self, state: Any, controls: Controls) -> Any:
            chunk = super().step(state, controls)
            if chunk.index >= 3:
                chunk.frames[-1, -1, -1, -1] ^= 1
            return chunk

    stream(recorded(tmp_path, Otherwise()))
    compared = compare(only(tmp_path), TestPattern())
    assert (compared.same, compared.different) == (3, [3, 4, 5, 6])
    assert compared.what == "its pictures"
    with pytest.raises(SystemExit) as end:
        main(["replay", str(only(tmp_path)), "--verify"])
    said = " ".join(capsys.readouterr().err.split())
    assert end.value.code == 1
    assert "the first chunk that differs is 3: its pictures" in said
    assert "torch: 2 then" in said, "and why it may"


@pytest.mark.slow
def test_wherever_a_log_is_cut_it_replays_up_to_there(tmp_path: Path) -> None:
    """As `kill -9` and full disks leave it."""
    stream(recorded(tmp_path, TestPattern()))
    path = only(tmp_path)
    data = path.read_bytes()
    first = len(MAGIC) + len(encode_record(read_log(path).header))
    counts: set[int] = set()
    for size in range(first, len(data), 67):
        path.write_bytes(data[:size])
        compared = compare(path, TestPattern())
        assert not compared.different
        counts.add(compared.same)
    assert counts == set(range(len(TOLD)))
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert compare(path, TestPattern()).same == len(TOLD) - 1, "a broken record is none"


@pytest.mark.parametrize("data", [b"", b"ftypmp42", MAGIC, MAGIC + b"\0" * 40])
def test_what_is_no_log_is_said(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(NoLog):
        read_log(tmp_path / "x")


def test_pictures_of_clients_are_not_written_without_their_consent(tmp_path: Path) -> None:
    executor = recorded(tmp_path, TestPattern())
    executor.open("own", StreamRequest(picture=portrait(RED)))
    assert not list(tmp_path.iterdir())
    stream(executor, told=(Controls(), Controls(picture=portrait(RED)), Controls()))
    log = read_log(only(tmp_path))
    assert len(log.steps) == 1
    assert "picture" in log.why
    assert portrait(RED)[:64] not in only(tmp_path).read_bytes()


def test_the_folder_stays_as_large_as_it_may_be(tmp_path: Path) -> None:
    most = 30_000
    executor = recorded(tmp_path, TestPattern(), most_bytes=most)
    for number in range(12):
        stream(executor, f"s{number}")
        executor.close(f"s{number}")
        assert sum(each.stat().st_size for each in tmp_path.iterdir()) <= most
    names = sorted(each.stem.rsplit("-", 1)[1] for each in tmp_path.iterdir())
    assert "s11" in names and "s0" not in names
    stream(executor, "long", told=(Controls(audio=SPEECH),) * 20)
    assert sum(each.stat().st_size for each in tmp_path.iterdir()) <= most
    (path,) = tmp_path.glob("*-long.rclog")
    compared = compare(path, TestPattern())
    assert 3 < compared.same < 20 and not compared.different


def test_a_folder_that_cannot_be_written_disturbs_no_stream(tmp_path: Path) -> None:
    executor = recorded(tmp_path / "logs", TestPattern())
    (tmp_path / "logs").rmdir()
    stream(executor)
    assert not (tmp_path / "logs").exists()


def test_a_bundle_has_no_paths_and_replays(tmp_path: Path) -> None:
    stream(recorded(tmp_path / "logs", TestPattern()))
    log = read_log(only(tmp_path / "logs"))
    paths = {name: f"/home/me/{name}.pth" for name in ("decoder", "tiny_decoder", "encoder")}
    log.header.arguments.update(weights=["/home/me/w.safetensors"], **paths)
    write_bundle(tmp_path / "b.zip", log, Comparison(), ["threads: 1 then, 2 now"])
    with zipfile.ZipFile(tmp_path / "b.zip") as packed:
        everything = b"".join(packed.read(name) for name in packed.namelist())
    assert b"/home" not in everything and b"w.safetensors" in everything
    assert compare(tmp_path / "b.zip", TestPattern()).same == len(TOLD)


def test_what_differs_between_machines_is_named() -> None:
    now = machine_of("pocket", (), 2)
    assert len(now["weights"]) == 64 and now["threads"] == "2" and now["torch"]
    assert machine_of("pocket-256", (), 2)["weights"] == now["weights"], "they are the same files"
    assert len(machine_of("toy-world", (), 1)["weights"]) == 64
    assert "weights" not in machine_of("test-pattern", (), None)
    assert differences(now, now) == []
    assert differences({"threads": "1"}, {"threads": "2"}) == ["threads: 1 then, 2 now"]


async def test_a_stream_of_a_real_server_is_replayed_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = tmp_path / "logs"
    machine = machine_of("test-pattern", (), 1)
    kept = StreamLogs.of(LogFolder(logs, 10**8))
    host = ModelHost(
        "test-pattern",
        lambda: Recorded(
            Sequential(TestPattern()),
            kept,
            model="test-pattern",
            arguments={"name": "test-pattern", "threads": 1},
            machine=machine,
        ),
        logs=kept,
    )
    async with (
        running(hosts=[host], record_dir=logs) as server,
        viewing(server.ws, seed=9) as viewer,
    ):
        assert viewer.ready["recorded"]
        await viewer.control("prompt", text="a blue wall")
        await viewer.speak(SPEECH)
        await viewer.wait_frames(24)
        await viewer.say("session.close")
        assert await viewer.wait_closed() == 1000
    path = only(logs)
    assert viewer.ready["resume_token"].encode() not in path.read_bytes()
    run("replay", str(path), "--verify")
    assert "0 differ" in capsys.readouterr().err
    run("replay", str(path), "--out", str(tmp_path / "a.mp4"), "--scale", "2")
    with av.open(str(tmp_path / "a.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert frames[0].shape == (256, 256, 3)
    assert [read_barcode(frame[::2, ::2]) for frame in frames[:20]] == list(range(20))
    bundle = tmp_path / "report.zip"
    run("replay", str(path), "--bundle", str(bundle))
    with zipfile.ZipFile(bundle) as packed:
        report = json.loads(packed.read("report.json"))
        assert report["replay"]["different"] == [] and report["differs"] == []
    run("replay", str(bundle), "--verify")


@pytest.mark.processes
async def test_the_log_of_a_server_that_was_killed_replays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--record", str(tmp_path / "logs"))
    with ServerProcess("test-pattern", max_sessions=1, threads=1, options=options) as server:
        await asyncio.to_thread(server.wait_ready)
        with pytest.raises(ClientError):
            async with connect(server.url, prompt="a red wall", decode=False) as shown:
                frames = shown.frames()
                while (await anext(frames)).seq < 12:
                    pass
                os.kill(server.pid, signal.SIGKILL)
                shown.ready = replace(shown.ready, grace_s=0.0)
                async for _ in frames:
                    pass
    run("replay", str(only(tmp_path / "logs")), "--verify")
    assert "0 differ" in capsys.readouterr().err


def run(*arguments: str) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert not end.value.code


@pytest.mark.processes
def test_chunks_that_stages_dropped_replay_with_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(sys.modules[TinyModel.__module__].__file__ or "").parent
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    spec, told = tiny(steps=2, decode_s=0.05), control_log(9)
    executor = recorded(
        tmp_path, TinyModel(), name="tiny", executor=lambda _: Pipeline(spec, 2, patience=PATIENT)
    )
    executor.start()
    try:
        executor.open("s", StreamRequest(seed=1))
        for number, controls in enumerate(told):
            executor.submit("s", controls)
            if number == 5:
                executor.drop("s")
        make_rest(executor)
    finally:
        executor.stop()
    log = read_log(only(tmp_path))
    assert any(isinstance(then, Dropped) for _, then in log.steps)
    compared = Comparison()
    deque(replay(TinyModel(steps=2), log, compared), maxlen=0)
    assert compared.same and not compared.different and not compared.unknown


def test_only_who_asks_is_written_down_and_pictures_by_consent(tmp_path: Path) -> None:
    executor = recorded(tmp_path, TestPattern(), all_streams=False)
    consents = executor._logs.consents
    assert consents.give("yes", "a", record=True, pictures=True).pictures
    assert not consents.give("no", "b", record=False, pictures=True).written
    own = StreamRequest(picture=portrait(RED))
    for key in ("yes", "no"):
        executor.open(key, own)
        make_chunk(executor, key, Controls())
        make_chunk(executor, key, Controls(picture=portrait(RED)))
    path = only(tmp_path)
    assert compare(path, TestPattern()).same == 2
    assert read_log(path).has_pictures
    packed = read_log(path).without_pictures()
    assert not packed.has_pictures and not packed.steps and packed.why
    assert consents.may_fetch("yes", "a")
    assert not consents.may_fetch("yes", "b") and not consents.may_fetch("no", "b")


def test_a_model_that_was_rebuilt_is_a_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Otherwise(TestPattern):
        def step(self, state: Any, controls: Controls) -> Any:
            chunk = super().step(state, controls)
            chunk.frames[-1, -1, -1, -1] ^= chunk.index >= 2
            return chunk

    executor = recorded(tmp_path, Otherwise())
    stream(executor, told=TOLD[:2])
    executor._noted([Restarted(0.1, exact=False)])
    for controls in TOLD[2:]:
        make_chunk(executor, "s", controls)
    assert read_log(only(tmp_path)).rebuilt == (2,)
    with pytest.raises(SystemExit):
        main(["replay", str(only(tmp_path)), "--verify"])
    assert "the model was lost at chunk 2" in " ".join(capsys.readouterr().err.split())


async def test_a_client_fetches_the_log_of_its_own_stream(tmp_path: Path) -> None:
    kept = StreamLogs.of(LogFolder(tmp_path, 10**8), all_streams=False)
    host = ModelHost(
        "test-pattern",
        lambda: Recorded(
            Sequential(TestPattern()),
            kept,
            model="test-pattern",
            arguments={"name": "test-pattern", "threads": 1},
            machine=MACHINE,
        ),
        logs=kept,
    )
    async with (
        running(hosts=[host]) as server,
        httpx.AsyncClient(base_url=server.http) as http,
    ):

        async def fetch(name: str, token: str | None) -> tuple[int, bytes]:
            headers = {} if token is None else {"authorization": f"Bearer {token}"}
            found = await http.get(f"/v1/sessions/{name}/log", headers=headers)
            return found.status_code, found.content

        async with viewing(server.ws) as other:
            assert not other.ready["recorded"]
            async with viewing(server.ws, record=True) as viewer:
                assert viewer.ready["recorded"] and not viewer.ready["recorded_pictures"]
                await viewer.wait_frames(8)
                name, token = viewer.ready["session_id"], viewer.ready["resume_token"]
                status, data = await fetch(name, token)
            assert status == 200 and data.startswith(MAGIC)
            assert (await fetch(name, None))[0] == 401
            assert (await fetch(name, other.ready["resume_token"]))[0] == 404
            mine = other.ready["session_id"], other.ready["resume_token"]
            assert (await fetch(*mine))[0] == 404, "nothing is written of it"
    (tmp_path / "fetched").write_bytes(data)
    assert compare(tmp_path / "fetched", TestPattern()).same


def events_of(executor: Recorded, told: list[Controls]) -> list[Event]:
    events: list[Event] = []
    for controls in told:
        executor.submit("s", controls)
        while executor.waiting:
            events += executor.poll(0.02)
    return events + executor.finish()


@pytest.mark.processes
def test_where_another_server_had_the_stream_a_log_begins_behind_its_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(sys.modules[TinyModel.__module__].__file__ or "").parent
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    told, begun = control_log(24), 17
    pipeline = Pipeline(
        tiny(steps=2), 1, patience=PATIENT, snapshot_share=OFTEN, snapshot_chunks=4,
        tells_snapshots=True,
    )  # fmt: skip
    pipeline.start()
    try:
        one, other = (
            recorded(tmp_path / key, TestPattern(), executor=lambda _: pipeline) for key in "ab"
        )
        one.open("s", StreamRequest(seed=1))
        events = events_of(one, told[:begun])
        one.close("s")
        saved = [each for each in events if isinstance(each, Saved)][2]
        rest = told[saved.index + 1 : begun]
        request = StreamRequest(seed=1)
        past = Past(request, saved.parts, saved.index, rest, begun - 2, small=saved.small)
        other.adopt("s", past)
        events_of(other, told[begun:])
        other.close("s")
        before = compare(only(tmp_path / "a"), TinyModel(steps=2))
        assert (before.same, before.different) == (begun, [])
        log = read_log(only(tmp_path / "b"))
        assert log.hidden == begun - 2 - saved.index - 1 > 0
        assert log.gone_on is not None and not log.gone_on.small
        behind = Comparison()
        deque(replay_behind(pipeline, log, behind), maxlen=0)
        assert (behind.same, behind.different, behind.unknown) == (len(told) - begun + 2, [], 0)
        assert not log.without_pictures().why
        log.steps[-1] = log.steps[-1][0], Made(4, 1, 2)
        changed = Comparison()
        deque(replay_behind(pipeline, log, changed), maxlen=0)
        assert changed.different == [len(told) - 1], "what differs is named"
    finally:
        pipeline.stop()
