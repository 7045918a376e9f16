"""Frameworks that tests meet as they are: where their Python is, and a network of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / "build" / "peers" / "bin" / "python"
"""What `make peers` installs."""

LIMIT_S = 280
_WAYS = (["unshare", "--net"], ["unshare", "--user", "--map-root-user", "--net"])
_INTERFACES = (
    "ip link set lo up && ip link add veth0 type veth peer name veth1 && "
    "ip addr add 10.97.0.1/24 dev veth0 && ip link set veth0 up && ip link set veth1 up && "
    'exec "$@"'
)


def secluded(command: list[str]) -> list[str]:
    """The command in a network of its own, if this system lets us make one.

    LiveKit's SDK wants an interface that is not the loopback; elsewhere it takes the machine's.
    """
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return command
    for way in _WAYS:
        start = [*way, "sh", "-c", _INTERFACES, "sh"]
        if subprocess.run([*start, "true"], capture_output=True, check=False).returncode == 0:
            return [*start, *command]
    return command


def run_scene(
    contract: str, rooms: int, plan: object, short: int = 0, *, watch: bool = False
) -> dict[str, Any]:
    """The report of `livekit/scene.py`, played without a network."""
    scene = [sys.executable, "-m", "tests.client.livekit.scene"]
    arguments = [contract, str(PYTHON), str(rooms), json.dumps(plan), str(short), str(int(watch))]
    return _report([*scene, *arguments])


def come_to_rooms(count: int) -> list[dict[str, int]]:
    """What `livekit/come_and_go.py` holds after each fifth of so many visits."""
    return _report([sys.executable, "-m", "tests.client.livekit.come_and_go", str(count)])


def come_to_pipelines(url: str, count: int) -> list[dict[str, int]]:
    """The same of `pipecat/come_and_go.py`."""
    return _report(
        [str(PYTHON), "-m", "tests.client.pipecat.come_and_go", url, str(count)], secludes=False
    )


def run_pipeline(url: str, rate: int, plan: list[list[Any]]) -> list[str]:
    """The command that plays `pipecat/pipeline.py`."""
    program = ROOT / "tests" / "client" / "pipecat" / "pipeline.py"
    return [str(PYTHON), "-P", str(program), url, str(rate), json.dumps(plan)]


def last_line(output: bytes) -> Any:
    """The report that a program printed last."""
    return json.loads(output.splitlines()[-1])


def _report(command: list[str], *, secludes: bool = True) -> Any:
    """What it prints last."""
    # from the repository's root `tests` is a package, and nothing else that lies there may be one
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    # or what threads have given back would look like what they keep
    environment["MALLOC_ARENA_MAX"] = "1"
    environment.pop("PYTHONSAFEPATH", None)
    ended = subprocess.run(
        secluded(command) if secludes else command,
        cwd=ROOT / "build",
        env=environment,
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )
    if ended.returncode:
        raise RuntimeError(ended.stderr.decode()[-4_000:])
    return last_line(ended.stdout)
