"""The fleet's examples: the gateway alone is open, nothing runs as it likes, secrets are needed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from rollcast.server.cli.commands import app

ROOT = Path(__file__).resolve().parents[2]


def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker" / "compose.fleet.yaml").read_text())


def kube() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((ROOT / "docker" / "kuberay.yaml").read_text()))


def test_only_the_gateway_is_open_and_only_to_this_machine() -> None:
    services = compose()["services"]
    assert [name for name, each in services.items() if "ports" in each] == ["gateway"]
    assert all(port.startswith("127.0.0.1:") for port in services["gateway"]["ports"])
    assert compose()["networks"]["fleet"]["internal"]
    assert [n for n, each in services.items() if "public" in each["networks"]] == ["gateway"]


def test_no_service_can_take_the_machine_or_write_to_its_image() -> None:
    for name, service in compose()["services"].items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["mem_limit"] == service["memswap_limit"], name
        assert 0 < service["pids_limit"] <= 1024, name
        assert all("size=" in place for place in service["tmpfs"]), name


def test_secrets_are_asked_for_and_ray_wants_a_token() -> None:
    services = compose()["services"]
    for name in ("head", "gateway"):
        for secret in ("ROLLCAST_TOKEN", "ROLLCAST_FLEET_KEY"):
            assert ":?" in services[name]["environment"][secret], (name, secret)
    for name in ("head", "node"):
        assert services[name]["environment"]["RAY_AUTH_MODE"] == "token"
        assert ":?" in services[name]["environment"]["RAY_AUTH_TOKEN"]


def test_replicas_do_not_stand_behind_other_programs() -> None:
    for name in ("head", "node"):
        assert compose()["services"][name]["environment"]["RAY_worker_niceness"] == "0"
    for group in (kube()[0]["spec"]["headGroupSpec"], *kube()[0]["spec"]["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        assert {"name": "RAY_worker_niceness", "value": "0"} in container["env"]


def test_versions_are_pinned() -> None:
    text = (ROOT / "docker" / "compose.fleet.yaml").read_text()
    assert re.findall(r"(ray|picows)==\d+\.\d+\.\d+", text) == ["ray", "picows"]


def _commands() -> list[list[str]]:
    head = " ".join(compose()["services"]["head"]["command"])
    launch = head[head.index("rollcast fleet") : head.index("&& exec")].split()
    exec_ = kube()[0]["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    start = exec_["lifecycle"]["postStart"]["exec"]["command"][-1]
    container = kube()[1]["spec"]["template"]["spec"]["containers"][0]
    return [
        launch,
        compose()["services"]["gateway"]["command"],
        start[start.index("rollcast fleet") : start.index(";")].split(),
        [*container["command"], *container["args"]],
    ]


@pytest.mark.parametrize("words", _commands(), ids=["head", "gateway", "kube head", "kube gateway"])
def test_commands_have_the_options_that_they_are_given(words: list[str]) -> None:
    assert words[0] == "rollcast"
    path = [word for word in words[1:] if not word.startswith("--")]
    shown = CliRunner().invoke(app, [*path, "--help"], terminal_width=200).output
    for word in words[1:]:
        if word.startswith("--"):
            assert word.partition("=")[0] in shown, word


def test_kubernetes_opens_the_gateway_and_closes_ray() -> None:
    kinds = [each["kind"] for each in kube()]
    assert kinds == ["RayCluster", "Deployment", "Service", "NetworkPolicy"]
    cluster, gateway, service, policy = kube()
    assert service["spec"]["selector"] == gateway["spec"]["selector"]["matchLabels"]
    assert policy["spec"]["podSelector"]["matchLabels"] == {"ray.io/cluster": "rollcast"}
    assert gateway["spec"]["replicas"] == 2
    container = gateway["spec"]["template"]["spec"]["containers"][0]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    for env in container["env"]:
        assert "value" not in env, "secrets come from a Secret"
    group = cluster["spec"]["workerGroupSpecs"][0]
    assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
