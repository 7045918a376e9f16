"""The container files by rule: pinned, unprivileged, watched, and true to this repository."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import signal
import subprocess
import sys
import threading
import tomllib
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollcast.server.cli.app import main
from rollcast.server.config import ServerConfig
from rollcast.server.metrics import Metrics
from rollcast.server.web.app import END_S

from ..server.running import running

ROOT = Path(__file__).parents[2]
DIGEST = "@sha256:[0-9a-f]{64}"
FILES = sorted((ROOT / "docker").glob("Dockerfile.*"))


def script(name: str) -> Any:
    """A program of the folder, as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docker" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


health = script("health")


def instructions(path: Path) -> list[tuple[str, str]]:
    """(instruction, arguments) with continued lines joined and comments dropped."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    pairs = (line.partition(" ") for line in joined.splitlines() if line.strip())
    return [(name, rest.strip()) for name, _, rest in pairs]


def last_stage(path: Path) -> list[tuple[str, str]]:
    steps = instructions(path)
    begin = max(i for i, (name, _) in enumerate(steps) if name == "FROM")
    return steps[begin:]


def arguments_of(steps: list[tuple[str, str]], name: str) -> list[str]:
    return [rest for each, rest in steps if each == name]


@pytest.fixture(params=FILES, ids=lambda path: path.name)
def dockerfile(request: pytest.FixtureRequest) -> Path:
    return request.param


def compose() -> dict:
    return yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())


def test_both_kinds_are_there() -> None:
    assert [path.name for path in FILES] == ["Dockerfile.cpu", "Dockerfile.cuda"]


def test_base_images_are_pinned(dockerfile: Path) -> None:
    for base in arguments_of(instructions(dockerfile), "FROM"):
        assert re.search(rf":[\w.-]*\d+\.\d+\.\d+[\w.-]*{DIGEST}( AS \w+)?$", base), base
        assert "latest" not in base
    assert len({base.split()[0] for base in arguments_of(instructions(dockerfile), "FROM")}) == 1


def locked(name: str) -> dict[str, tuple[str, list[str]]]:
    """Version and hashes of each package of a file that images install."""
    text = (ROOT / "docker" / name).read_text().replace("\\\n", "")
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            package, _, rest = line.partition("==")
            version = rest.split()[0].rstrip(";")
            found[package] = version, re.findall(r"--hash=sha256:([0-9a-f]{64})(?= |$)", line)
    return found


def test_every_file_that_images_fetch_has_a_hash() -> None:
    for name in ("locked.txt", "locked-torch.txt"):
        assert all(hashes for _, hashes in locked(name).values())
    assert "torch" not in locked("locked.txt") and "torch" in locked("locked-torch.txt")


def test_images_have_the_versions_that_are_developed_with() -> None:
    lines = (ROOT / "constraints.txt").read_text().split()
    pinned = dict(line.lower().replace("_", "-").split("==") for line in lines)
    packages = locked("locked.txt") | locked("locked-torch.txt")
    for name, (version, _) in packages.items():
        if not name.startswith(("cuda-", "nvidia-", "colorama")):
            assert pinned[name] == version, name
    for project in ("pyproject.toml", "client/pyproject.toml"):
        needs = tomllib.loads((ROOT / project).read_text())["project"]["dependencies"]
        names = {re.split(r"[^\w-]", need)[0] for need in needs} - {"rollcast-client"}
        assert names <= packages.keys(), "run make lock"


def test_nothing_is_installed_without_its_hash(dockerfile: Path) -> None:
    """Our own code apart, which needs nothing more, and torch from an index that is named."""
    for step in arguments_of(instructions(dockerfile), "RUN"):
        for command in re.findall(r"pip install [^;&]*", step):
            ours = "--no-deps --no-build-isolation ./client ." in command
            other_torch = command.split()[2:] == [
                *("--no-deps", "--constraint", "constraints.txt", "torch")
            ]
            assert ours or other_torch or "--require-hashes" in command, command
            assert not other_torch or "PIP_EXTRA_INDEX_URL" in step


def test_runs_as_a_user_of_its_own(dockerfile: Path) -> None:
    (user,) = arguments_of(last_stage(dockerfile), "USER")
    assert user.isdigit()
    assert int(user) > 1000


def test_health_is_watched_by_a_program_that_is_in_the_image(dockerfile: Path) -> None:
    (check,) = arguments_of(last_stage(dockerfile), "HEALTHCHECK")
    assert json.loads(check.partition("CMD ")[2]) == ["python", "/opt/rollcast/health.py"]
    copied = arguments_of(last_stage(dockerfile), "COPY")
    assert "docker/health.py /opt/rollcast/health.py" in copied
    script = (ROOT / "docker" / "health.py").read_text()
    assert '/health"' in script and '"/health"' in (ROOT / "server/web/rest.py").read_text()


def test_our_folders_never_shadow_distributions(dockerfile: Path) -> None:
    assert "PYTHONSAFEPATH=1" in " ".join(arguments_of(last_stage(dockerfile), "ENV"))


def test_package_lists_are_removed_and_nothing_else_is_pulled_in(dockerfile: Path) -> None:
    for step in arguments_of(instructions(dockerfile), "RUN"):
        if "apt-get install" in step:
            assert "--no-install-recommends" in step
            assert "rm -rf /var/lib/apt/lists/*" in step
        assert "curl" not in step
        assert "sudo" not in step


def test_every_package_is_copied_and_let_through(dockerfile: Path) -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    within = {name for name in config["packages"] if name not in config["package-dir"]}
    folders = {name.split(".")[1] for name in within} | {"client"}
    copied = {rest.split()[0] for rest in arguments_of(instructions(dockerfile), "COPY")}
    assert folders <= copied
    allowed = (ROOT / ".dockerignore").read_text().split()
    assert {f"!{folder}" for folder in folders} <= set(allowed)


def test_copied_files_exist(dockerfile: Path) -> None:
    for rest in arguments_of(instructions(dockerfile), "COPY"):
        if not rest.startswith("--from"):
            assert all((ROOT / source).exists() for source in rest.split()[:-1]), rest


def test_the_command_is_one_of_ours(dockerfile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = last_stage(dockerfile)
    (entry,), (command,) = arguments_of(steps, "ENTRYPOINT"), arguments_of(steps, "CMD")
    assert json.loads(entry) == ["rollcast"]
    served: list[object] = []
    monkeypatch.setenv("ROLLCAST_TOKEN", "secret")
    monkeypatch.setattr(
        "rollcast.server.web.app.serve", lambda config, *_, **__: served.append(config)
    )
    monkeypatch.setattr("rollcast.server.cli.serve.listen", lambda config: nullcontext())
    with pytest.raises(SystemExit) as end:
        main(json.loads(command))
    assert not end.value.code
    assert served


def test_compose_is_pinned_private_and_needs_a_token() -> None:
    for name, service in compose()["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name
        assert not service["image"].endswith(":latest")
        assert ":" in service["image"]
        assert "build" in service or re.search(f"{DIGEST}$", service["image"])
    ours = compose()["services"]["rollcast"]
    assert ":?" in ours["environment"]["ROLLCAST_TOKEN"]
    assert (ROOT / "docker" / ours["build"]["context"] / ours["build"]["dockerfile"]).exists()


def test_no_service_can_take_the_machine_or_write_to_its_image() -> None:
    for name, service in compose()["services"].items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["mem_limit"] == service["memswap_limit"], name
        assert 0 < service["pids_limit"] <= 1024, name
        assert 1024 < service["ulimits"]["nofile"] <= 65_536, name
        assert all("size=" in place for place in service["tmpfs"]), name


def test_a_server_that_stays_unwell_is_started_again() -> None:
    ours = compose()["services"]["rollcast"]
    assert ours["init"], "nothing can kill the first process of a container from within it"
    check = ours["healthcheck"]
    assert check["test"][:3] == ["CMD", "python", "/opt/rollcast/health.py"]
    assert "--end" in check["test"] and ours["restart"] == "unless-stopped"
    within_s = float(check["test"][check["test"].index("--within") + 1])
    assert within_s + 2 * health.STOP_S < float(check["timeout"].removesuffix("s"))
    assert float(ours["stop_grace_period"].removesuffix("s")) > ServerConfig().drain_s + END_S


def test_the_health_check_finds_the_port() -> None:
    for words, port in (
        (["rollcast", "serve"], 8000),
        (["rollcast", "serve", "--port", "9000", "--no-open"], 9000),
        (["rollcast", "serve", "--port=9001"], 9001),
    ):
        assert health.port_of(words) == port


@pytest.mark.parametrize("tls", [False, True])
async def test_the_health_check_says_what_the_server_says(tls: bool, tmp_path: Path) -> None:
    settings = {"self_signed": True, "state_dir": tmp_path} if tls else {}
    async with running(**settings) as server:
        assert await asyncio.to_thread(health.works, server.port)
        server.engine.mind(lambda: "something hangs")
        assert not await asyncio.to_thread(health.works, server.port)
    assert not health.works(server.port)


@pytest.mark.parametrize("stubborn", [False, True])
def test_the_health_check_ends_a_process(stubborn: bool) -> None:
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN);" if stubborn else ""
    code = f"import signal, time; {ignore} print(flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        waiting = threading.Thread(target=process.wait)
        waiting.start()
        health.end(process.pid, stop_s=2.0)
        waiting.join(60)
        assert process.returncode == -(signal.SIGKILL if stubborn else signal.SIGTERM)


def test_prometheus_reads_our_server_and_our_metrics() -> None:
    scrape = yaml.safe_load((ROOT / "docker" / "prometheus.yml").read_text())
    assert scrape["scrape_configs"][0]["static_configs"][0]["targets"] == ["rollcast:8000"]
    known = Metrics().render().decode()
    rules = yaml.safe_load((ROOT / "docker" / "alerts.yml").read_text())["groups"][0]["rules"]
    for rule in rules:
        for name in re.findall(r"rollcast_\w+", rule["expr"]):
            assert f"# TYPE {name} " in known, name


def test_mounted_files_exist() -> None:
    named = compose()["volumes"]
    for volume in compose()["services"]["prometheus"]["volumes"]:
        source = volume.split(":")[0]
        assert source in named or (ROOT / "docker" / source).is_file()
