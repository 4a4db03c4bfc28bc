"""deploy/k8s: the schemas of Kubernetes, and that its parts name each other rightly."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner

from cli.commands.kong_env import command as kong_env_command
from tests.deploy.composed import ROOT, SERVICES

FOLDER = ROOT / "deploy/k8s"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
OBJECTS: list[dict[str, Any]] = [
    each for name in KUSTOMIZATION["resources"] for each in yaml.safe_load_all((FOLDER / name).read_text())
]
GID = 10542


def one(kind: str) -> dict[str, Any]:
    (found,) = [each for each in OBJECTS if each["kind"] == kind]
    return found


POD = one("Deployment")["spec"]["template"]["spec"]
CONTAINERS = {each["name"]: each for each in [*POD["initContainers"], *POD["containers"]]}


@pytest.mark.parametrize("made", OBJECTS, ids=lambda made: f"{made['kind']}-{made['metadata']['name']}")
def test_it_is_what_kubernetes_takes(made: dict[str, Any]) -> None:
    for version in ("1.29", "1.33"):
        kubernetes_validate.validate(made, version, strict=True)


def test_every_file_is_used() -> None:
    assert {path.name for path in FOLDER.glob("*.yaml")} == {
        *KUSTOMIZATION["resources"],
        "kustomization.yaml",
    }


def test_every_mount_has_its_volume_and_every_volume_a_mount() -> None:
    mounted = {mount["name"] for each in CONTAINERS.values() for mount in each["volumeMounts"]}
    assert mounted == {volume["name"] for volume in POD["volumes"]}
    maps = {volume["configMap"]["name"] for volume in POD["volumes"] if "configMap" in volume}
    assert maps == {each["name"] for each in KUSTOMIZATION["configMapGenerator"]}


def test_kongs_settings_are_what_kong_env_prints() -> None:
    args = [
        "--lane",
        "express",
        "--format",
        "compose",
        "--adapter-dir",
        "/opt/kgate/adapter",
        "--group",
        str(GID),
    ]
    assert f"kgate kong-env {' '.join(args)}" in (FOLDER / "deployment.yaml").read_text()
    printed = yaml.safe_load(CliRunner().invoke(kong_env_command, args).stdout)["environment"]
    env = {each["name"]: each["value"] for each in CONTAINERS["kong"]["env"]}
    assert printed.items() <= env.items()
    assert CONTAINERS["kong"]["image"] == SERVICES["kong-1"]["image"] == "kong:3.9"


def test_kong_and_the_server_share_folder_and_group() -> None:
    assert POD["securityContext"]["fsGroup"] == GID
    assert f"--group={GID}" in CONTAINERS["kgate"]["args"]
    mounts = {
        name: {mount["name"]: mount for mount in each["volumeMounts"]} for name, each in CONTAINERS.items()
    }
    assert mounts["kgate"]["run"] == {"name": "run", "mountPath": "/run"}
    assert mounts["kong"]["run"] == {"name": "run", "mountPath": "/run", "readOnly": True}
    # the folder is made by the server in the volume: the volume itself belongs to root
    assert "--run-dir=/run/kgate" in CONTAINERS["kgate"]["args"]
    assert mounts["adapter"]["adapter"]["mountPath"] in CONTAINERS["adapter"]["args"][0]
    assert mounts["kong"]["adapter"]["mountPath"] == "/opt/kgate/adapter"
    assert [name for name in CONTAINERS if "server" in mounts[name]] == ["kgate"]


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_container_is_locked_down(name: str) -> None:
    made = CONTAINERS[name]["securityContext"]
    assert made["runAsUser"] > 0
    assert made["allowPrivilegeEscalation"] is False
    assert made["readOnlyRootFilesystem"] is True
    assert made["capabilities"] == {"drop": ["ALL"]}
    assert CONTAINERS[name]["resources"]["limits"]["memory"]


def test_probes_ask_ports_and_paths_that_are_there() -> None:
    for made in CONTAINERS.values():
        ports = {port["name"] for port in made.get("ports", ())}
        probes = [made[kind] for kind in made if kind.endswith("Probe")]
        assert all(probe["httpGet"]["port"] in ports for probe in probes)
    kgate = CONTAINERS["kgate"]
    assert kgate["livenessProbe"]["httpGet"]["path"] == kgate["startupProbe"]["httpGet"]["path"] == "/healthz"
    assert kgate["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert kgate["restartPolicy"] == "Always", "a sidecar: it is there before Kong and after it"


def test_services_budget_and_policy_mean_the_pods() -> None:
    labels = one("Deployment")["spec"]["template"]["metadata"]["labels"]
    ports = {port["name"] for made in CONTAINERS.values() for port in made.get("ports", ())}
    for made in OBJECTS:
        spec = made.get("spec", {})
        if made["kind"] == "Service":
            assert spec["selector"].items() <= labels.items()
            assert {port["targetPort"] for port in spec["ports"]} <= ports
        elif made["kind"] == "PodDisruptionBudget":
            assert spec["selector"]["matchLabels"].items() <= labels.items()
        elif made["kind"] == "NetworkPolicy":
            assert spec["podSelector"]["matchLabels"].items() <= labels.items()
            named = {p["port"] for rule in spec["ingress"] for p in rule["ports"]}
            assert named == ports
            admin = next(rule for rule in spec["ingress"] if rule["ports"][0]["port"] == "admin")
            assert admin["from"], "the Admin API is not for everybody"
    assert POD["serviceAccountName"] == one("ServiceAccount")["metadata"]["name"]


def test_the_document_says_how_to_make_what_is_named() -> None:
    text = (ROOT / "docs/kubernetes.md").read_text()
    secrets = {each["secretRef"]["name"] for each in CONTAINERS["kgate"]["envFrom"]}
    secrets |= {volume["secret"]["secretName"] for volume in POD["volumes"] if "secret" in volume}
    for name in secrets:
        assert re.search(rf"create secret generic {name}\b", text)
    for file in KUSTOMIZATION["configMapGenerator"][0]["files"]:
        assert f"-o deploy/k8s/{Path(file).name}" in text
    assert "kubectl apply -k deploy/k8s" in text
