"""Stages on several machines: the second machine is a process that knows only an address."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rollcast.models.contract import StreamRequest
from rollcast.models.pipeline.cluster import Cluster
from rollcast.models.pipeline.events import Finished
from rollcast.models.pipeline.executor import make_chunk
from rollcast.models.pipeline.launchers import (
    START,
    Listener,
    LocalLauncher,
    RemoteLauncher,
    connect,
)
from rollcast.models.pipeline.messages import ModelSpec
from rollcast.models.pipeline.pipeline import Pipeline

from .running import same, sequential
from .tiny import control_log

KEY = b"secret"
TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "x",
    "RANK": "1",
    "WORLD_SIZE": "2",
    "MASTER_ADDR": "first",
    "MASTER_PORT": "29400",
    "ROLLCAST_STAGE_KEY": "secret",
}


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_torchrun_says_who_is_who() -> None:
    cluster = Cluster.of_environment(TORCHRUN, 2)
    assert cluster == Cluster(1, 2, ("first", 29401), KEY)
    assert Cluster.of_environment({}, 2) is None
    with pytest.raises(ValueError, match="one for each stage"):
        Cluster.of_environment(TORCHRUN, 3)
    with pytest.raises(ValueError, match="ROLLCAST_STAGE_KEY"):
        Cluster.of_environment({**TORCHRUN, "ROLLCAST_STAGE_KEY": ""}, 2)


def test_a_stage_under_an_agent_is_as_good_as_one_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit; it is started again when it is lost; and it ends with the executor."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")  # as torchrun does
    listener = Listener(("127.0.0.1", 0), KEY)
    code = (
        "from rollcast.models.pipeline.agent import keep_stage\n"
        f"keep_stage(('127.0.0.1', {listener.port}), {KEY!r}, 1)"
    )
    agent = subprocess.Popen([sys.executable, "-P", "-c", code])
    try:
        launchers = [
            LocalLauncher(shared=True),
            RemoteLauncher(listener.admit("agent 1"), listener, 1),
        ]
        pipeline = Pipeline(ModelSpec("tiny:TinyModel"), 2, launchers=launchers, host="127.0.0.1")
        pipeline.start()
        log = control_log(24)
        pipeline.open("a", StreamRequest(seed=1))
        done = [f for controls in log[:10] for f in make_chunk(pipeline, "a", controls)]
        (stage,) = children(agent.pid)
        os.kill(stage, signal.SIGSTOP)
        for controls in log[10:]:
            pipeline.submit("a", controls)
        end_s = time.monotonic() + 40
        while len(done) < len(log):
            assert time.monotonic() < end_s
            done += [event for event in pipeline.poll(0.05) if isinstance(event, Finished)]
        assert pipeline.restarts == 1
        assert same(done, sequential(log))
        (stage,) = children(agent.pid)
        pipeline.stop()
        launchers[1].agent.close()
        assert agent.wait(10) == 0
        assert not Path(f"/proc/{stage}").exists()
    finally:
        agent.kill()
        agent.wait()
        listener.close()


def test_an_agent_that_was_lost_may_come_again() -> None:
    listener = Listener(("127.0.0.1", 0), KEY)
    address = ("127.0.0.1", listener.port)
    first = connect(address, KEY, "agent 1")
    launcher = RemoteLauncher(listener.admit("agent 1"), listener, 1)
    first.close()
    second = connect(address, KEY, "agent 1")
    end_s = time.monotonic() + 20
    while "agent 1" not in listener._inside:
        assert time.monotonic() < end_s
        time.sleep(0.01)
    launcher.launch(None)
    assert second.recv_bytes() == START
    assert launcher.connect() is None, "its process has not come, and is not waited for"
    for connection in (second, launcher.agent):
        connection.close()
    listener.close()


def test_the_door_stays_shut_for_who_does_not_know_the_key() -> None:
    listener = Listener(("127.0.0.1", 0), KEY)
    code = (
        "from rollcast.models.pipeline.launchers import connect\n"
        f"import time\nconnect(('127.0.0.1', {listener.port}), {KEY!r}, 'agent 1')\ntime.sleep(20)"
    )
    stranger = (
        "from rollcast.models.pipeline.launchers import connect\n"
        f"connect(('127.0.0.1', {listener.port}), b'guess', 'agent 1')"
    )
    first = subprocess.Popen([sys.executable, "-P", "-c", stranger], stderr=subprocess.DEVNULL)
    friend: subprocess.Popen[bytes] | None = None
    try:
        time.sleep(0.4)
        friend = subprocess.Popen([sys.executable, "-P", "-c", code])
        connection = listener.admit("agent 1")
        assert first.wait(10) != 0
        assert friend.poll() is None
        connection.close()
    finally:
        for process in (first, friend):
            if process is not None:
                process.kill()
                process.wait()
        listener.close()
