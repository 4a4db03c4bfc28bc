"""What the corpus cannot show: several clusters, one tenant, the same bytes again."""

import json

import pytest

from decl.load import Text
from decl.model import Gateway
from decl.project import open_project
from decl.render import PROTECTED_TAG, Rendered, render
from decl.tenants import expand

TWO_CLUSTERS = """
_format_version: "3.0"
clusters:
  critical: {nodes: ["http://a:1"], run_dir: /srv/kgate/}
  standard: {nodes: ["http://b:1"]}
tenants:
- {name: order, cluster: critical, standby: standard}
- {name: pay, cluster: critical}
- {name: blog, cluster: standard}
- {name: anywhere}
services:
- name: order
  tenant: order
  host: order-up
  plugins: [{name: canary-router, config: {name: o, upstream: order-v2}}]
- {name: pay, tenant: pay, host: pay-up}
- {name: blog, tenant: blog, host: blog-up}
- {name: anywhere, tenant: anywhere, url: "http://x"}
- {name: nobodys, url: "http://y"}
routes:
- {name: bare, paths: [/bare]}
upstreams: [{name: order-up}, {name: order-v2}, {name: pay-up}, {name: blog-up}, {name: unused}]
"""


def opened(text: str) -> Gateway:
    project = open_project([Text("f", text.encode())], {})
    assert project.gateway is not None, project.findings
    return project.gateway


def names(rendered: Rendered, kind: str) -> set[str]:
    return {entity["name"] for entity in rendered.document.get(kind, ())}


@pytest.mark.parametrize(
    ("cluster", "services", "upstreams"),
    [
        ("critical", {"order", "pay", "anywhere", "nobodys"}, {"order-up", "order-v2", "pay-up", "unused"}),
        ("standard", {"order", "blog", "anywhere", "nobodys"}, {"order-up", "order-v2", "blog-up", "unused"}),
    ],
)
def test_what_a_cluster_gets(cluster: str, services: set[str], upstreams: set[str]) -> None:
    rendered = render(opened(TWO_CLUSTERS), cluster)
    assert names(rendered, "services") == services
    assert names(rendered, "upstreams") == upstreams
    assert names(rendered, "routes") == {"bare"}


def test_the_socket_is_the_clusters() -> None:
    gateway = opened(TWO_CLUSTERS)
    for cluster, folder in (("critical", "/srv/kgate"), ("standard", "/run/kgate")):
        plugins = render(gateway, cluster).document["plugins"]
        assert {plugin["config"]["socket"] for plugin in plugins} == {f"{folder}/express.sock"}


def test_one_tenant_alone() -> None:
    rendered = render(opened(TWO_CLUSTERS), "critical", "pay")
    assert names(rendered, "services") == {"pay"}
    assert names(rendered, "routes") == set()
    assert names(rendered, "upstreams") == {"pay-up", "unused"}


def test_an_unknown_cluster() -> None:
    with pytest.raises(KeyError):
        render(opened(TWO_CLUSTERS), "critcal")


def test_the_same_file_is_the_same_bytes() -> None:
    first, again = (render(opened(TWO_CLUSTERS), "critical") for _ in range(2))
    assert first.content == again.content
    assert first.hash == again.hash
    assert json.loads(first.content) == first.document
    assert first.content.isascii()


def test_every_entity_has_an_id_with_its_place() -> None:
    rendered = render(opened(TWO_CLUSTERS), "critical")
    found: list[str] = []

    def collect(value: object) -> None:
        for item in value if isinstance(value, list) else ():
            found.append(item["id"])
            for inner in item.values():
                collect(inner if isinstance(inner, list) and inner and isinstance(inner[0], dict) else None)

    for value in rendered.document.values():
        collect(value)
    assert len(found) == len(set(found)) == len(rendered.origins)
    assert set(found) == set(rendered.origins)


def test_expanding_again_changes_nothing() -> None:
    gateway = opened(TWO_CLUSTERS)
    assert expand(gateway) == gateway


GUARDED = """
_format_version: "3.0"
issuers: [{{name: main, iss: x, jwks_url: "http://a", audiences: []}}]
services:
- name: s
  url: http://s
  plugins: [{service}]
  routes:
  - {{name: r, paths: [/r], plugins: [{route}]}}
plugins: [{everywhere}]
"""
REQUIRED = "{name: passport, config: {issuers: [main]}}"
OPTIONAL = "{name: passport, config: {issuers: [main], mode: optional}}"
NULL_MODE = "{name: passport, config: {issuers: [main], mode: null}}"
DISABLED = "{name: passport, enabled: false, config: {issuers: [main], mode: optional}}"


@pytest.mark.parametrize(
    ("everywhere", "service", "route", "protected"),
    [
        ("", "", "", False),
        (REQUIRED, "", "", True),
        ("", REQUIRED, "", True),
        ("", "", REQUIRED, True),
        ("", "", NULL_MODE, True),
        (REQUIRED, "", OPTIONAL, False),
        (REQUIRED, OPTIONAL, "", False),
        (OPTIONAL, "", REQUIRED, True),
        ("", REQUIRED, DISABLED, True),
    ],
)
def test_which_routes_are_protected(everywhere: str, service: str, route: str, protected: bool) -> None:
    text = GUARDED.format(everywhere=everywhere, service=service, route=route)
    (rendered,) = render(opened(text), "default").document["services"][0]["routes"]
    assert (PROTECTED_TAG in rendered.get("tags", ())) is protected


@pytest.mark.parametrize("version", ["1.1", "3.0"])
def test_a_file_of_kongs_older_format(version: str) -> None:
    """In 1.1 a path with a regex's characters is a regex on its own; what is rendered is always 3.0."""
    text = f"""_format_version: "{version}"
clusters: {{one: {{nodes: ["http://127.0.0.1:9"]}}}}
services:
- {{name: a, url: "http://a", routes: [{{name: r, paths: [/plain, "/x/\\\\d+$"]}}]}}
"""
    rendered = render(opened(text), "one")
    assert rendered.document["_format_version"] == "3.0"
    (route,) = rendered.document["services"][0]["routes"]
    assert route["paths"] == ["/plain", "~/x/\\d+$" if version == "1.1" else "/x/\\d+$"]


def test_a_null_in_a_config_is_no_field() -> None:
    """Kong fills in no default for a null, and refuses one where a value must be."""
    config = "{hide_credentials: null, realm: null, key_names: [a], nested: {x: null, y: [null]}}"
    gateway = opened(f'_format_version: "3.0"\nplugins: [{{name: other, config: {config}}}]')
    (plugin,) = (p for p in render(gateway, "default").document["plugins"] if p["name"] == "other")
    assert plugin["config"] == {"key_names": ["a"], "nested": {"y": [None]}}


def test_a_stream_of_a_tenant_has_no_hosts() -> None:
    text = """
_format_version: "3.0"
tenants: [{name: order, hosts: [order.example]}]
services:
- name: order
  tenant: order
  url: tcp://order
  routes:
  - {name: stream, protocols: [tls], snis: [order.example]}
  - {name: plain, protocols: [http], paths: [/order]}
"""
    (service,) = render(opened(text), "default").document["services"]
    assert [route.get("hosts") for route in service["routes"]] == [None, ["order.example"]]
