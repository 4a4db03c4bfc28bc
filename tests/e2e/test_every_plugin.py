"""After a sync the diff is empty: for each bundled plugin with its smallest and its full config, in one file, against
the node as it is."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import requests

from decl.lint.bundled import BUNDLED
from tests.decl.plugin_configs import CONFIGS, GLOBAL, document
from tests.e2e.gateway import Gateway


class Synced(NamedTuple):
    """What came of a sync. held: how many instances of a plugin the node has; differing: what a diff then names."""

    enabled: set[str]
    held: list[str]
    code: int
    differing: list[dict[str, Any]]
    told: str


@pytest.fixture(scope="module")
def synced(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Synced]:
    folder, one = tmp_path_factory.mktemp("every"), gateway.admins[:1]
    rules = ("proxy-cache-with-passport", "local-limit-on-many-nodes")  # all plugins on one route: no advice
    (folder / ".kgate.yaml").write_text(json.dumps({"rules": dict.fromkeys(rules, "off")}))
    enabled = set(requests.get(f"{one[0]}/plugins/enabled", timeout=30).json()["enabled_plugins"])
    cluster = {"mode": gateway.mode, "trusted_ips": [], "nodes": one, "run_dir": str(gateway.run_dir)}
    cluster["proxy"] = gateway.proxies[:1]
    config = {**document(enabled), "clusters": {"one": cluster}}

    def kgate(
        name: str, config: dict[str, Any], *command: str, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        path = folder / name
        path.write_text(json.dumps(config))
        return gateway.kgate("-f", str(path), *command, check=check)

    kgate("all.json", config, "sync", "--yes", "--max-deletes", "100%")
    plugins = requests.get(f"{one[0]}/plugins?size=1000", timeout=30).json()["data"]
    # a DB-less node whose hash is ours is not read: the same entities from other bytes are
    config["services"][0]["retries"] = 5
    config["services"][0]["plugins"].reverse()
    found = kgate("again.json", config, "diff", "--output", "json", check=False)
    told = json.loads(found.stdout)
    yield Synced(
        enabled,
        [plugin["name"] for plugin in plugins],
        found.returncode,
        [change for node in told["nodes"] for change in node["changes"]],
        found.stdout,
    )
    if gateway.mode != "dbless":  # there a push adds and changes only
        nothing = {"_format_version": "3.0", "clusters": {"one": cluster}}
        kgate("none.json", nothing, "sync", "--yes", "--allow-empty", "--max-deletes", "100%")
    gateway.push(gateway.config())


@pytest.mark.parametrize("plugin", sorted(BUNDLED))
def test_no_difference_is_left(synced: Synced, plugin: str) -> None:
    if plugin not in synced.enabled:
        pytest.skip("the node has it not enabled")
    wanted = 1 if plugin in GLOBAL else len(CONFIGS[plugin])
    assert synced.held.count(plugin) >= wanted >= 1
    assert [each for each in synced.differing if each["name"].split()[0] == plugin] == []


def test_no_difference_is_left_at_all(synced: Synced) -> None:
    assert len(synced.enabled & set(CONFIGS)) >= 3, "there is something to look at"
    assert (synced.code, synced.differing) == (0, []), synced.told
