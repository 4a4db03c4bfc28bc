"""What tells a tenant's hosts and plugins from what its services and routes have of their own."""

from __future__ import annotations

from typing import Any

import pytest

from decl.dump_tenants import restore_tenants

TAGS = ["kgate-tenant:shop"]
GUARD = {"name": "abuse-guard"}
OTHER = {"name": "abuse-guard", "config": {"deny": ["203.0.113.0/24"]}}


def service(name: str, *hosts: list[str], plugins: tuple[Any, ...] = ()) -> dict[str, Any]:
    routes = [{"name": f"{name}{n}", "hosts": own, "tags": TAGS} for n, own in enumerate(hosts)]
    return {"name": name, "tags": TAGS, "routes": routes, "plugins": list(plugins)}


@pytest.mark.parametrize(
    ("hosts", "of_tenant", "left"),
    [
        ([["a"], ["a"]], ["a"], [None, None]),
        ([["a"], ["b"], ["a"]], ["a"], [None, ["b"], None]),
        ([["a"], ["b"]], None, [["a"], ["b"]]),  # which of them, nobody knows
        ([["a"], ["a"], []], None, [["a"], ["a"], []]),  # the third would get them
        ([["a", "b"], ["b"], ["b"]], ["b"], [["a", "b"], None, None]),
        ([], None, []),
    ],
)
def test_hosts(hosts: list[list[str]], of_tenant: list[str] | None, left: list[list[str] | None]) -> None:
    made = service("s", *hosts)
    (tenant,) = restore_tenants([made], [])
    assert tenant.get("hosts") == of_tenant
    assert [route.get("hosts") for route in made["routes"]] == left


@pytest.mark.parametrize(
    ("plugins", "of_tenant", "left"),
    [
        ([[GUARD], [GUARD]], [GUARD], [None, None]),
        ([[GUARD], [OTHER], [GUARD]], [GUARD], [None, [OTHER], None]),
        ([[GUARD], [OTHER]], None, [[GUARD], [OTHER]]),
        ([[GUARD], [GUARD], []], None, [[GUARD], [GUARD], []]),  # the third would get it
        ([[{**GUARD, "id": "x"}]] * 2, None, [[{**GUARD, "id": "x"}]] * 2),
        ([[{**GUARD, "consumer": "kim"}]] * 2, None, [[{**GUARD, "consumer": "kim"}]] * 2),
        ([[GUARD]], None, [[GUARD]]),  # of one service nobody knows
    ],
)
def test_plugins(plugins: list[list[Any]], of_tenant: list[Any] | None, left: list[Any]) -> None:
    made = [service(f"s{n}", ["a"], plugins=tuple(own)) for n, own in enumerate(plugins)]
    (tenant,) = restore_tenants(made, [])
    assert tenant.get("plugins") == of_tenant
    assert [each.get("plugins") for each in made] == left
