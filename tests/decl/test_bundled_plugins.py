"""Kong's bundled plugins against what a Kong 3.9.3 with a database told of each config: no false difference, and each
config is one that validation takes."""

import json
from pathlib import Path
from typing import Any

import pytest

import schemas
from decl import pack
from decl.diff import diff
from decl.late import Late
from decl.lint.bundled import BUNDLED
from decl.pack import Pack
from decl.server_schema import Schemas
from tests.decl.plugin_configs import CONFIGS

TOLD: dict[str, list[dict[str, Any]]] = json.loads(
    Path(__file__).with_name("plugin_answers.json").read_text()
)
CASES = [(name, number) for name, configs in CONFIGS.items() for number in range(len(configs))]
PACK = Pack()

_BASE = {
    "fields": [
        {"id": {"type": "string"}},
        {"name": {"type": "string"}},
        {"enabled": {"type": "boolean", "default": True}},
        {"protocols": {"type": "set", "default": ["grpc", "grpcs", "http", "https"]}},
        {"tags": {"type": "set"}},
    ]
}


def server() -> Schemas:
    def get(name: str) -> Any:
        return _BASE if name == "plugins" else schemas.kong_plugin(name.removeprefix("plugins/"))

    return Schemas(get)


SERVER = server()


def changes(name: str, wanted: dict[str, Any], told: dict[str, Any]) -> Any:
    one = {"id": "1", "name": name, "config": wanted, "tags": ["b", "a"]}
    held = {
        "id": "1",
        "name": name,
        "config": told,
        "tags": ["a", "b"],
        "enabled": True,
        "protocols": SERVER.filled("plugins", one)["protocols"][::-1],
        "instance_name": None,
        "service": None,
        "created_at": 1,
        "updated_at": 2,
    }
    return diff({"plugins": {"1": one}}, {"plugins": {"1": held}}, SERVER).changes


def test_all_bundled_plugins_are_here() -> None:
    assert schemas.kong_plugins() == BUNDLED == CONFIGS.keys() == TOLD.keys()
    assert all(len(TOLD[name]) == len(configs) >= 2 for name, configs in CONFIGS.items())


@pytest.mark.parametrize(("name", "number"), CASES)
def test_what_was_sent_is_what_is_told(name: str, number: int) -> None:
    found = changes(name, CONFIGS[name][number], TOLD[name][number])
    assert [change.fields for change in found] == []


@pytest.mark.parametrize(("name", "number"), CASES)
def test_validation_takes_it(name: str, number: int) -> None:
    checker = PACK.checker(name)
    assert checker is not None
    assert list(checker.problems(CONFIGS[name][number], ("plugins", 0, "config"))) == []


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_of_another_is_a_change(name: str) -> None:
    smallest, full = CONFIGS[name][:2]
    assert changes(name, smallest, TOLD[name][1])
    assert changes(name, full, TOLD[name][0])


@pytest.mark.parametrize(
    ("name", "config", "path", "message"),
    [
        ("acl", {}, "", "one of allow, deny is needed"),
        ("acl", {"allow": ["a"], "deny": ["b"]}, "deny", "only one of allow, deny may be given"),
        ("aws-lambda", {"aws_key": "k"}, "aws_key", "aws_key needs aws_secret too"),
        ("opentelemetry", {}, "", "one of traces_endpoint, logs_endpoint is needed"),
        (
            "ldap-auth",
            {"ldap_host": "h", "attribute": "a", "base_dn": "b", "ldaps": True, "start_tls": True},
            "start_tls",
            "start_tls must be false with ldaps true",
        ),
        (
            "response-ratelimiting",
            {"limits": {"sms": {"minute": 1}}, "policy": "redis"},
            "redis.host",
            "redis.host is needed with policy 'redis'",
        ),
        (
            "ai-proxy",
            {"route_type": "llm/v1/chat", "model": {"provider": "anthropic", "name": "x"}},
            "model.options",
            "model.options.anthropic_version: is needed with model.provider 'anthropic'",
        ),
        ("statsd", {"hots": "a"}, "hots", "unknown field 'hots', did you mean 'host'?"),
        ("zipkin", {"sample_ratio": 2}, "sample_ratio", "sample_ratio: expected 1 or less, found 2"),
    ],
)
def test_a_wrong_config_is_found_offline(name: str, config: dict[str, Any], path: str, message: str) -> None:
    checker = PACK.checker(name)
    assert checker is not None
    found = list(checker.problems(config, ("plugins", 0, "config")))
    where = ".".join(map(str, found[0].path[3:]))
    assert (where, found[0].message) == (path, message)


def test_a_value_that_is_read_late_is_not_looked_at() -> None:
    checker = PACK.checker("response-ratelimiting")
    assert checker is not None
    config = {"limits": {"sms": {"minute": 1}}, "policy": "redis", "redis": {"host": Late("env", "R")}}
    assert list(checker.problems(config, ())) == []


def test_the_shipped_schemas_are_as_schema_pull_writes_them() -> None:
    folder = Path(schemas.__file__).parent / "kong"
    for name in schemas.kong_plugins():
        assert (folder / f"{name}.json").read_text() == pack.text(schemas.kong_plugin(name)), name


def test_a_secret_that_a_node_draws_is_not_in_a_pack() -> None:
    field = {"type": "string", "encrypted": True, "default": "drawn-at-start"}
    assert pack.stripped([{"secret": field}]) == [
        {"secret": {"type": "string", "encrypted": True, "auto": True}}
    ]


@pytest.mark.parametrize(
    ("name", "config", "field", "value"),
    [
        ("session", {"stale_ttl": 7, "cookie_discard": 5}, "stale_ttl", 5),
        ("session", {"cookie_http_only": True, "cookie_httponly": False}, "cookie_http_only", False),
        (
            "opentelemetry",
            {"traces_endpoint": "http://new.example/", "endpoint": "http://old.example/"},
            "traces_endpoint",
            "http://new.example/",
        ),
    ],
)
def test_which_of_two_names_wins(name: str, config: dict[str, Any], field: str, value: Any) -> None:
    """As a Kong 3.9.3 had it: the old one, but where it says that it is deprecated."""
    held = SERVER.filled("plugins", {"name": name, "config": config})["config"]
    assert held[field] == value
