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
    Inheritance,
    Launcher,
    LocalLauncher,
    RemoteLauncher,
)
from rollcast.models.pipeline.messages import ModelSpec
from rollcast.models.pipeline.pipeline import Pipeline
from rollcast.models.pipeline.secure_channel import Listener, connect
from rollcast.models.pipeline.stage_pool import Patience

from ...processes import alive
from .running import same, sequential
from .tiny import control_log

pytestmark = pytest.mark.processes

KEY = b"a secret of 16 bytes or more"
TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "x",
    "RANK": "1",
    "WORLD_SIZE": "2",
    "MASTER_ADDR": "first",
    "MASTER_PORT": "29400",
    "ROLLCAST_STAGE_KEY": KEY.decode(),
}


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_torchrun_says_who_is_who() -> None:
    cluster = Cluster.of_environment(TORCHRUN, 2)
    assert cluster == Cluster(1, 2, ("first", 29401), KEY)
    assert Cluster.of_environment({}, 2) is None
    with pytest.raises(ValueError, match="one for each stage"):
        Cluster.of_environment(TORCHRUN, 3)
    with pytest.raises(ValueError, match="set ROLLCAST_STAGE_KEY"):
        Cluster.of_environment({**TORCHRUN, "ROLLCAST_STAGE_KEY": ""}, 2)
    with pytest.raises(ValueError, match=r"could be guessed.*openssl rand"):
        Cluster.of_environment({**TORCHRUN, "ROLLCAST_STAGE_KEY": "hunter2"}, 2)


def test_an_address_that_is_not_here_is_told_with_what_to_do() -> None:
    with pytest.raises(OSError, match=r"203\.0\.113\.7 port 5: .* must have the address"):
        Cluster(0, 2, ("203.0.113.7", 5), KEY).pipeline(ModelSpec("nothing"))


class Machines:
    """Agents of ranks 1 and up, each a process that knows an address and the secret."""

    def __init__(self, stages: int) -> None:
        self.listener = Listener(("127.0.0.1", 0), KEY)
        self.agents: list[subprocess.Popen[bytes]] = []
        launchers: list[Launcher] = [LocalLauncher()]
        for rank in range(1, stages):
            code = (
                "from rollcast.models.pipeline.agent import keep_stage\n"
                f"keep_stage(('127.0.0.1', {self.listener.port}), {KEY!r}, {rank})"
            )
            self.agents.append(subprocess.Popen([sys.executable, "-P", "-c", code]))
            agent = self.listener.admit(f"agent {rank}")
            launchers.append(RemoteLauncher(agent, self.listener, rank))
        self.pipeline = Pipeline(
            ModelSpec("tiny:TinyModel"),
            stages,
            launchers=launchers,
            listener=self.listener,
            patience=Patience(silent_s=4.0),
        )
        self._launchers = launchers

    def stop(self) -> None:
        """The executor leaves: agents end by themselves."""
        self.pipeline.stop()
        for launcher in self._launchers:
            if isinstance(launcher, RemoteLauncher):
                launcher.agent.close()
        self.listener.close()

    def kill(self) -> None:
        for agent in self.agents:
            agent.kill()
            agent.wait()


@pytest.mark.long
@pytest.mark.parametrize("stages", [2, 3])
def test_a_stage_under_an_agent_is_as_good_as_one_here(
    monkeypatch: pytest.MonkeyPatch, stages: int
) -> None:
    """Bit for bit; it is started again when it is lost; and it ends with the executor."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")  # as torchrun does
    machines = Machines(stages)
    pipeline = machines.pipeline
    try:
        pipeline.start()
        log = control_log(24)
        pipeline.open("a", StreamRequest(seed=1))
        done = [f for controls in log[:10] for f in make_chunk(pipeline, "a", controls)]
        (stage,) = children(machines.agents[-1].pid)
        assert listening(stage) == set(), "whoever is on the way can only meet the listener"
        os.kill(stage, signal.SIGSTOP)
        for controls in log[10:]:
            pipeline.submit("a", controls)
        end_s = time.monotonic() + 90
        while len(done) < len(log):
            assert time.monotonic() < end_s
            done += [event for event in pipeline.poll(0.05) if isinstance(event, Finished)]
        assert pipeline.restarts == 1
        assert same(done, sequential(log))
        stages_left = [pid for agent in machines.agents for pid in children(agent.pid)]
        machines.stop()
        assert [agent.wait(20) for agent in machines.agents] == [0] * (stages - 1)
        assert not any(alive(pid) for pid in stages_left)
    finally:
        machines.kill()
        pipeline.stop()


def listening(pid: int) -> set[str]:
    """The TCP sockets on which a process waits for others, by inode."""
    inodes = {
        line.split()[9]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    }
    names = [os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()]
    own = {name[8:-1] for name in names if name.startswith("socket:[")}
    return inodes & own


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
    launcher.launch(Inheritance())
    assert second.recv_bytes() == START
    assert launcher.connect() is None, "its process has not come, and is not waited for"
    for connection in (second, launcher.agent):
        connection.close()
    listener.close()
