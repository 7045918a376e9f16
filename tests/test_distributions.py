"""Both distributions as they are built: the client stands alone, and no file is in both."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from rollcast.models.test_pattern import SIZE

from .server.running import running

ROOT = Path(__file__).resolve().parent.parent

# Installs what a user of the client has; nothing that the tests have can leak into it.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_NOT_BUILT = ".* build docs node_modules tests training typings var *.egg-info".split()

_WATCH = """
import asyncio, importlib.util, json, sys
from rollcast.client import Frame, connect

async def watch(url):
    async with connect(url) as stream:
        async for media in stream:
            if isinstance(media, Frame):
                return media.image.shape

shape = asyncio.run(watch(sys.argv[1]))
absent = ("torch", "fastapi", "rollcast.server", "rollcast.models")
print(json.dumps({"shape": shape, "found": [n for n in absent if importlib.util.find_spec(n)]}))
"""


@dataclass(frozen=True)
class Wheels:
    """What was built."""

    server: Path
    client: Path


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Wheels:
    folder = tmp_path_factory.mktemp("wheels")
    # In a copy: setuptools would add what an older build has left beside the sources.
    tree = folder / "tree"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*_NOT_BUILT), symlinks=True)
    parts = (str(tree / "client"), str(tree))
    _pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", str(folder), *parts)
    (client,), (server,) = folder.glob("rollcast_client-*"), folder.glob("rollcast-*")
    return Wheels(server, client)


@pytest.mark.long
def test_no_file_is_in_both(wheels: Wheels) -> None:
    server, client = (
        {name for name in zipfile.ZipFile(path).namelist() if ".dist-info/" not in name}
        for path in (wheels.server, wheels.client)
    )
    assert not server & client
    folders = {name.rpartition("/")[0] for name in client}
    assert folders == {f"rollcast/client{each}" for each in ("", "/livekit", "/pipecat")}
    assert {"rollcast/page/index.html", "rollcast/server/web/page.py"} <= server


@pytest.mark.long
async def test_the_client_alone_watches_a_stream_without_torch(
    wheels: Wheels, tmp_path: Path
) -> None:
    def install() -> Path:
        venv.create(tmp_path / "venv", with_pip=True, symlinks=True)
        python = tmp_path / "venv" / "bin" / "python"
        constraints = str(ROOT / "constraints.txt")
        _pip(str(python), "install", "--constraint", constraints, str(wheels.client))
        return python

    python = await asyncio.to_thread(install)
    async with running() as server:
        watched = await asyncio.create_subprocess_exec(
            *(str(python), "-P", "-c", _WATCH, server.http),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await watched.communicate()
    assert watched.returncode == 0
    assert json.loads(output) == {"shape": [SIZE, SIZE, 3], "found": []}


def _pip(python: str, *arguments: str) -> None:
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    done = subprocess.run([*pip, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
