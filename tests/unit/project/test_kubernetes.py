"""The manifests in `deploy/kubernetes`, against Kubernetes' own schemas and against each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from nudging.engines.spec import parse_spec

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy" / "kubernetes"
ROLES = ("base", "nudge", "coordinator")
VERSIONS = ("1.30", "1.37")
"""The oldest in which a container may wait before it stops (`sleep`), and the newest known."""


def manifests(role: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / f"{role}.yaml").read_text()))


def one(role: str, kind: str) -> Any:
    (found,) = [each for each in manifests(role) if each["kind"] == kind]
    return found


def workload(role: str) -> Any:
    return one(role, "Deployment" if role == "coordinator" else "StatefulSet")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("role", ROLES)
def test_they_are_what_kubernetes_knows(role: str, version: str) -> None:
    for manifest in manifests(role):
        kubernetes_validate.validate(manifest, version, strict=True)


def test_the_checker_refuses_what_is_wrong() -> None:
    wrong = workload("coordinator")
    wrong["spec"]["template"]["spec"]["containers"][0]["livenessprobe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("role", ROLES)
def test_they_fit_each_other(role: str) -> None:
    work, service, scaler = (
        workload(role),
        one(role, "Service"),
        one(role, "HorizontalPodAutoscaler"),
    )
    labels = work["spec"]["template"]["metadata"]["labels"]
    assert work["spec"]["selector"]["matchLabels"] == labels == service["spec"]["selector"]
    (container,) = work["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    (port,) = service["spec"]["ports"]
    assert port.get("targetPort", port["port"]) in (*ports, *ports.values())
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] in ports
    target = scaler["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == (work["kind"], work["metadata"]["name"])
    assert "replicas" not in work["spec"]  # the scaler's, which an update must not undo


def test_coordinators_know_all_servers_that_there_may_be() -> None:
    config = tomllib.loads(one("coordinator", "ConfigMap")["data"]["config.toml"])
    for role in ("base", "nudge"):
        spec = parse_spec(config["pairs"]["main"][role])
        most = one(role, "HorizontalPodAutoscaler")["spec"]["maxReplicas"]
        service = workload(role)["spec"]["serviceName"]
        assert service == one(role, "Service")["metadata"]["name"]
        port = one(role, "Service")["spec"]["ports"][0]["port"]
        assert [member.path for member in spec.replicas] == [
            f"http://{role}-{number}.{service}:{port}/v1" for number in range(most)
        ]
        arguments = workload(role)["spec"]["template"]["spec"]["containers"][0]["args"]
        name = arguments[arguments.index("--served-model-name") + 1]
        assert {member.model for member in spec.replicas} == {name}


def test_a_coordinator_is_started_by_options_that_there_are() -> None:
    pod = workload("coordinator")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    known = (ROOT / "docs" / "help.md").read_text().partition("## nudge serve")[2]
    flags = [word for word in container["args"] if word.startswith("--")]
    assert set(flags) <= set(re.findall(r"--[a-z-]+", known))
    drain = int(container["args"][container["args"].index("--drain") + 1])
    waits = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] >= drain + waits + 10
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    config = container["args"][container["args"].index("--config") + 1]
    assert str(Path(config).parent) in mounted
