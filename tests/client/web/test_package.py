"""The JavaScript client as npm packs it: installed elsewhere, type-checked, run as its example."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from ...server.running import running

ROOT = Path(__file__).parents[3]
WEB = ROOT / "client" / "web"
TSC = WEB / "node_modules" / "typescript" / "bin" / "tsc"
pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(
        shutil.which("npm") is None or not TSC.exists(),
        reason="npm or the type checker is not installed (make types)",
    ),
]


def done(*command: str, cwd: Path) -> str:
    ended = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example in an empty folder with nothing but the package, compiled."""
    folder = tmp_path_factory.mktemp("package")
    # packed from a copy: what it makes for that would be in the way of who reads the sources now
    web = folder / "client" / "web"
    shutil.copytree(WEB, web, ignore=shutil.ignore_patterns("node_modules"))
    (web / "node_modules").symlink_to(WEB / "node_modules")
    for path in ("client/LICENSE", "docs/javascript.md"):
        (folder / path).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / path, folder / path)
    packed = json.loads(done("npm", "pack", "--offline", "--json", "--silent", cwd=web))
    if isinstance(packed, dict):  # by name, from npm 11 on
        (packed,) = packed.values()
    else:
        (packed,) = packed
    names = {each["path"] for each in packed["files"]}
    assert {"LICENSE", "README.md", "net/stream.js", "types/net/messages.d.ts"} <= names
    assert not {"index.html", "main.js", "package.tsconfig.json"} & names
    assert not (web / "types").exists()
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "package.json").write_text('{"private": true, "type": "module"}')
    install = ("npm", "install", "--offline", "--no-audit", "--no-fund", "--silent")
    done(*install, str(web / packed["filename"]), cwd=elsewhere)
    shutil.copy(ROOT / "examples" / "stream.ts", elsewhere)
    check = ("--module", "nodenext", "--target", "es2022", "--strict", "--types", "")
    done("node", str(TSC), *check, "stream.ts", cwd=elsewhere)
    return elsewhere / "stream.js"


async def run(program: Path, url: str) -> asyncio.subprocess.Process:
    # a flag that makes a WebSocket where it is not there anyway, and is taken where it is
    return await asyncio.create_subprocess_exec(
        *("node", "--experimental-websocket", "--no-warnings", str(program), url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_the_example_speaks_and_interrupts_itself(program: Path) -> None:
    async with running() as server:
        output, errors = await (await run(program, server.http)).communicate()
    assert not errors
    report = json.loads(output)
    assert report["model"] == "test-pattern"
    assert report["frames"] >= 25
    # it has a second of loud samples, of which so much lies ahead of what is shown
    assert 500 < report["heardMs"] < 8_000
    started, cleared = report["told"]
    assert (started["phase"], cleared["phase"]) == ("started", "cleared")
    assert cleared["played_ms"] == report["heardMs"]


async def test_types_find_a_wrong_control(program: Path) -> None:
    wrong = program.with_name("wrong.ts")
    wrong.write_text(
        'import { connect } from "rollcast-client";\n'
        'const stream = await connect("http://127.0.0.1:1");\n'
        'await stream.control("prompt", { text: "a red wall" });\n'
        'await stream.control("prompt", { words: "a red wall" });\n'
        'await stream.control("scenes", {});\n'
    )
    check = ("--module", "nodenext", "--target", "es2022", "--strict", "--noEmit", "--types", "")
    command = ["node", str(TSC), *check, wrong.name]
    ended = subprocess.run(command, cwd=wrong.parent, capture_output=True, text=True, check=False)
    found = [line for line in ended.stdout.splitlines() if line.startswith("wrong.ts")]
    assert [line.split("(")[1].split(",")[0] for line in found] == ["4", "5"], ended.stdout


async def test_a_server_that_refuses_says_why(program: Path) -> None:
    async with running(token="what only some know") as server:
        process = await run(program, server.http)
        output, errors = await process.communicate()
    assert process.returncode == 1 and not output
    assert errors.startswith(b"unauthorized: ")


def test_it_has_the_version_of_the_server() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert json.loads((WEB / "package.json").read_text())["version"] == project["version"]
