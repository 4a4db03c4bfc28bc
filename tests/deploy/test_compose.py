"""docker-compose.yml: the schema of the Compose Specification, and all that a schema does not know."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from cli.commands.kong_env import command as kong_env_command
from tests.deploy.composed import COMPOSE, ROOT, SERVICES, settings

VOLUMES, NETWORKS = COMPOSE["volumes"], COMPOSE["networks"]
KONGS = [name for name, made in SERVICES.items() if made["image"] == "kong:3.9"]
NODES = ["kong-1", "kong-2", "kong-db"]
SERVERS = {"kong-1": "kgate-1", "kong-2": "kgate-2", "kong-db": "kgate-db"}
OWN_IMAGES = {"kgate:local": "kgate", "kgate-examples:local": "examples"}
IMAGE = re.compile(r"[a-z0-9./-]+:[A-Za-z0-9][A-Za-z0-9._-]*")
GID = "10542"


def mounts(service: str) -> list[tuple[str, str, str]]:
    """(source, target, mode) of each volume of a service."""
    parts = [text.split(":") for text in SERVICES[service].get("volumes", ())]
    return [(part[0], part[1], part[2] if len(part) > 2 else "rw") for part in parts]


def profiles(service: str) -> set[str]:
    return set(SERVICES[service].get("profiles", ()))


def test_it_is_what_the_compose_specification_says() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(
        [*command, str(ROOT / "docker-compose.yml")], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_profiles_and_the_default() -> None:
    assert set(chain.from_iterable(map(profiles, SERVICES))) == {"dbless", "db", "observability", "tools"}
    assert settings((ROOT / ".env").read_text()) == {"COMPOSE_PROFILES": "dbless"}
    assert [name for name in NODES if "dbless" in profiles(name)] == ["kong-1", "kong-2"]
    assert {name for name in SERVICES if "db" in profiles(name)} == {
        *("postgres", "migrations", "kgate-db", "kong-db", "sync-db"),
    }
    assert {name for name in SERVICES if "observability" in profiles(name)} == {"prometheus", "grafana"}


@pytest.mark.parametrize("lane", ["express", "pdk"])
def test_kongs_settings_are_what_kong_env_prints(lane: str) -> None:
    args = ["--lane", lane, "--format", "compose", "--adapter-dir", "/opt/kgate/adapter", "--group", GID]
    printed = yaml.safe_load(CliRunner().invoke(kong_env_command, args).stdout)
    assert COMPOSE[f"x-kong-env-{lane}"] == printed["environment"]
    assert f"kgate kong-env {' '.join(args)}" in (ROOT / "docker-compose.yml").read_text()
    users = ["kong-1", "kong-2"] if lane == "express" else ["migrations", "kong-db"]
    for name in users:
        assert SERVICES[name]["group_add"] == printed["group_add"]
        assert printed["environment"].items() <= SERVICES[name]["environment"].items()
        others = set(COMPOSE["x-kong-env-pdk"]) - set(printed["environment"])
        assert not others & set(SERVICES[name]["environment"]), "a setting of the other lane"


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned_or_made_here(name: str) -> None:
    image, build = SERVICES[name]["image"], SERVICES[name].get("build")
    assert IMAGE.fullmatch(image), image
    assert not image.endswith(":latest")
    if image not in OWN_IMAGES:
        assert build is None, "Kong and the others are stock"
        return
    assert build == {"context": ".", "dockerfile": "docker/Dockerfile", "target": OWN_IMAGES[image]}
    stages = re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "docker/Dockerfile").read_text(), re.M)
    assert build["target"] in stages


@pytest.mark.parametrize("name", SERVICES)
def test_every_volume_is_declared_and_every_file_is_there(name: str) -> None:
    targets = [target for _, target, _ in mounts(name)]
    assert len(set(targets)) == len(targets)
    for source, _, mode in mounts(name):
        if source.startswith("./"):
            assert (ROOT / source).exists(), source
            assert mode == "ro", f"{source}: nothing of the repository is written to"
        else:
            assert source in VOLUMES
    for file in SERVICES[name].get("env_file", ()):
        made = (ROOT / "deploy/compose/secrets.sh").read_text()
        assert Path(file).parent == Path("deploy/compose/secrets")
        assert Path(file).name in made


def test_no_volume_and_no_network_is_left_over() -> None:
    used = {source for name in SERVICES for source, _, _ in mounts(name) if not source.startswith("./")}
    assert used == set(VOLUMES)
    joined = set(chain.from_iterable(SERVICES[name].get("networks", ()) for name in SERVICES))
    assert joined == set(NETWORKS)


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_waits_for(name: str) -> None:
    for other, wish in SERVICES[name].get("depends_on", {}).items():
        made = SERVICES[other]
        # a service of no profile, or of one that is on with this one: else it would never come
        assert not profiles(other) or profiles(name) <= profiles(other)
        if wish["condition"] == "service_healthy":
            assert made["healthcheck"].get("test")
        else:
            assert wish["condition"] == "service_completed_successfully"
            assert made["restart"] == "no"


def test_nothing_waits_in_a_ring() -> None:
    def chain_of(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"{above} wait for {name}"
        for other in SERVICES[name].get("depends_on", {}):
            chain_of(other, (*above, name))

    for name in SERVICES:
        chain_of(name, ())


def test_ports_are_apart_and_on_loopback() -> None:
    published = [port for made in SERVICES.values() for port in made.get("ports", ())]
    outside = [port.rpartition(":")[0] for port in published]
    assert all(place.startswith("127.0.0.1:") for place in outside)
    assert len(set(outside)) == len(outside)
    assert not SERVICES["redis"].get("ports")
    for name in NODES:
        listens = {SERVICES[name]["environment"][f"KONG_{what}_LISTEN"] for what in ("PROXY", "ADMIN")}
        inside = {port.rpartition(":")[2] for port in SERVICES[name]["ports"]}
        assert {listen.rpartition(":")[2] for listen in listens} == inside


@pytest.mark.parametrize(("kong", "server"), SERVERS.items())
def test_a_node_and_its_server_share_one_volume_with_nobody(kong: str, server: str) -> None:
    (at_kong,) = [source for source, target, _ in mounts(kong) if target == "/run/kgate"]
    (at_server,) = [source for source, target, _ in mounts(server) if target == "/run/kgate"]
    assert at_kong == at_server
    users = {name for name in SERVICES for source, _, _ in mounts(name) if source == at_kong}
    assert users - {"migrations"} == {kong, server}
    assert VOLUMES[at_kong]["driver_opts"] == {
        "type": "tmpfs",
        "device": "tmpfs",
        "o": f"uid={GID},gid={GID},mode=2750,size=64m",
    }
    assert SERVICES[kong]["group_add"] == [GID]
    assert f"--group={GID}" in SERVICES[server]["command"]
    assert "user" not in SERVICES[kong], "Kong's own unprivileged user"
    assert SERVICES[kong]["depends_on"][server] == {"condition": "service_healthy"}


def test_only_plugin_servers_see_the_trust_anchors_and_their_secrets() -> None:
    readers = {name for name in SERVICES for source, _, _ in mounts(name) if source == "trust"}
    assert readers == {"render", *SERVERS.values()}
    with_secret = {
        name for name in SERVICES for file in SERVICES[name].get("env_file", ()) if "kgate" in file
    }
    assert with_secret == {*SERVERS.values(), "keys", "sync-db", "cli"}
    assert {name for name in SERVICES if "control" in SERVICES[name].get("networks", ())} >= {"redis"}
    assert NETWORKS["control"] == {"internal": True}


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "postgres"])
def test_every_container_is_hardened(name: str) -> None:
    made = SERVICES[name]
    assert made["read_only"] is True
    assert made["cap_drop"] == ["ALL"]
    assert made["security_opt"] == ["no-new-privileges:true"]


def test_only_kgates_images_have_python() -> None:
    assert set(KONGS) == {*NODES, "migrations"}
    for name in KONGS:
        sources = [(source, target) for source, target, _ in mounts(name) if source.startswith("./")]
        assert sources == [("./kong_plugins/adapter", "/opt/kgate/adapter")]


def test_hosts_that_are_named_are_there() -> None:
    """In gateway.yaml, prometheus.yml and the services' settings."""
    networks: list[Any] = [made.get("networks") for made in SERVICES.values()]
    aliases = {
        alias
        for each in networks
        if isinstance(each, dict)
        for network in each.values()
        for alias in network.get("aliases", ())
    }
    texts = [
        (ROOT / "deploy" / name).read_text() for name in ("compose/gateway.yaml", "prometheus/prometheus.yml")
    ]
    texts += [str(made.get("environment", "")) for made in SERVICES.values()]
    texts += [path.read_text() for path in (ROOT / "deploy/grafana/provisioning").rglob("*.yml")]
    named = {host for text in texts for host in re.findall(r"http://([a-z0-9-]+):\d+", text)}
    named |= set(re.findall(r"\"(kgate-[a-z0-9]+):9542", texts[1])) | set(
        re.findall(r"\[(kgate-db)\]", texts[1])
    )
    assert named >= {"issuer", "gateway", "kong-1", "kgate-2", "kgate-db"}
    assert named <= {*SERVICES, *aliases}
