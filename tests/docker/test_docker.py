"""The container files by rule: pinned, unprivileged, watched, and true to this repository."""

from __future__ import annotations

import asyncio
import json
import re
import runpy
import tomllib
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollcast.server.cli.app import main
from rollcast.server.metrics import Metrics

from ..server.running import FailingPattern, running, viewing

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "docker").glob("Dockerfile.*"))


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
        assert re.search(r":[\w.-]*\d+\.\d+\.\d+[\w.-]*( AS \w+)?$", base), base
        assert "latest" not in base


def test_runs_as_a_user_of_its_own(dockerfile: Path) -> None:
    (user,) = arguments_of(last_stage(dockerfile), "USER")
    assert user.isdigit()
    assert int(user) > 1000


def test_health_is_watched_by_a_program_that_is_in_the_image(dockerfile: Path) -> None:
    (check,) = arguments_of(last_stage(dockerfile), "HEALTHCHECK")
    command = json.loads(check.partition("CMD ")[2])
    copied = [rest.split() for rest in arguments_of(last_stage(dockerfile), "COPY")]
    assert ["docker/healthcheck.py", command[-1]] in copied


def healthcheck() -> Any:
    return runpy.run_path(str(ROOT / "docker" / "healthcheck.py"))["is_healthy"]


@pytest.mark.parametrize("tls", [False, True])
async def test_health_is_seen_with_and_without_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tls: bool
) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    is_healthy = healthcheck()
    async with running(self_signed=tls, state_dir=tmp_path) as server:
        assert await asyncio.to_thread(is_healthy, server.port)
        port = server.port
    assert not await asyncio.to_thread(is_healthy, port)


async def test_a_server_whose_model_failed_is_not_healthy() -> None:
    async with running(lambda: [FailingPattern()]) as server:
        async with viewing(server.ws) as viewer:
            await viewer.say("prompt", event_id="e", text="break")
            await viewer.wait_closed()
        assert not await asyncio.to_thread(healthcheck(), server.port)


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
    ours = compose()["services"]["rollcast"]
    assert ":?" in ours["environment"]["ROLLCAST_TOKEN"]
    assert ours["read_only"]
    assert ours["cap_drop"] == ["ALL"]
    assert (ROOT / "docker" / ours["build"]["context"] / ours["build"]["dockerfile"]).exists()


def test_prometheus_reads_our_server_and_our_metrics() -> None:
    scrape = yaml.safe_load((ROOT / "docker" / "prometheus.yml").read_text())
    assert scrape["scrape_configs"][0]["static_configs"][0]["targets"] == ["rollcast:8000"]
    known = Metrics().render().decode()
    rules = yaml.safe_load((ROOT / "docker" / "alerts.yml").read_text())["groups"][0]["rules"]
    for rule in rules:
        for name in re.findall(r"rollcast_\w+", rule["expr"]):
            assert f"# TYPE {name} " in known, name


def test_mounted_files_exist() -> None:
    for volume in compose()["services"]["prometheus"]["volumes"]:
        assert (ROOT / "docker" / volume.split(":")[0]).is_file()
