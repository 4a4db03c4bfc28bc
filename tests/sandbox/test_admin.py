"""The Admin API: loading configuration, its errors, reads."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

SERVICE = {"name": "s", "url": "http://127.0.0.1:1/base"}
TAKEN = "uniqueness violation: 'services' entity with name set to 's' already declared"
NO_MATCH = "must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'https'"
NOT_ENABLED = "plugin 'nope' not enabled; add it to the 'plugins' configuration property"


def test_node_and_empty_status(kong: Any, http: Any) -> None:
    root = http(kong.admin, "GET", "/").json
    assert root["version"] == "3.9.3"
    assert root["configuration"]["database"] == "off"
    assert set(root["plugins"]["available_on_server"]) == {"cors", "key-auth", "request-termination", "probe"}
    assert http(kong.admin, "GET", "/status").json["configuration_hash"] == "0" * 32
    assert http(kong.admin, "GET", "/status/ready").status == 503


def test_hash_of_the_posted_bytes(kong: Any, http: Any) -> None:
    text = json.dumps({"_format_version": "3.0", "services": [SERVICE]})
    assert kong.post(text, "?check_hash=1").status == 201
    digest = hashlib.md5(text.encode()).hexdigest()
    assert http(kong.admin, "GET", "/status").json["configuration_hash"] == digest
    assert kong.post(text, "?check_hash=1").status == 304
    assert kong.post(text).status == 201
    assert kong.post(text + " ", "?check_hash=1").status == 201
    wrapped = json.dumps({"config": text + " "})
    assert kong.post(wrapped, "?check_hash=1", "application/json").status == 304
    assert kong.post(text, "?check_hash=1", "application/json").status == 201
    assert kong.post(text, "?check_hash=1", "application/json").status == 201
    assert kong.post("services: []", "", "text/yaml").status == 400
    assert http(kong.admin, "GET", "/status").json["configuration_hash"] not in ("0" * 32, digest)


def test_yaml_text_and_other_types(kong: Any) -> None:
    text = "_format_version: '3.0'\nservices:\n- {name: s, url: 'http://127.0.0.1:1'}\n"
    assert list(kong.post(text, "", "application/yaml").json["services"]) == [
        "b268827a-8f7f-551f-8769-e6bceb2f3ec6"
    ]
    refused = kong.post(text, "", "text/plain")
    assert refused.status == 415
    assert b"<h1>415 Unsupported Media Type</h1>" in refused.body
    assert kong.post("{a: [", "").json["code"] == 14
    assert kong.post('{"a":', "", "application/json").json == {"message": "Cannot parse JSON body"}
    assert kong.post("", "").json == {"message": "expected a declarative configuration"}


def field(kind: str, name: str, path: str, message: str) -> tuple[str, str, dict[str, str]]:
    return kind, name, {"type": "field", "field": path, "message": message}


@pytest.mark.parametrize(
    ("config", "kind", "name", "error"),
    [
        (
            {"plugins": [{"name": "nope"}]},
            *field(
                "plugin",
                "nope",
                "name",
                NOT_ENABLED,
            ),
        ),
        ({"services": [{**SERVICE, "foo": 1}]}, *field("service", "s", "foo", "unknown field")),
        ({"services": [{"name": "s"}]}, *field("service", "s", "host", "required field missing")),
        (
            {"services": [{**SERVICE, "routes": [{"name": "r", "paths": ["x"]}]}]},
            *field("route", "r", "paths.1", "should start with: / (fixed path) or ~/ (regex path)"),
        ),
        (
            {"plugins": [{"name": "probe", "config": {"list": ["a", "c"]}}]},
            *field("plugin", "probe", "config.list.2", "expected one of: a, b"),
        ),
        (
            {"plugins": [{"name": "probe", "config": {"even": 3}}]},
            *field("plugin", "probe", "config.even", "is odd"),
        ),
        (
            {"consumers": [{"username": "bob"}], "plugins": [{"name": "probe", "consumer": "bob"}]},
            *field("plugin", "probe", "consumer", "value must be null"),
        ),
        (
            {"services": [SERVICE, SERVICE]},
            "service",
            "s",
            {
                "type": "entity",
                "message": TAKEN,
            },
        ),
        (
            {"services": [{**SERVICE, "routes": [{"name": "r"}]}]},
            "route",
            "r",
            {
                "type": "entity",
                "message": NO_MATCH,
            },
        ),
    ],
)
def test_flattened_errors(
    kong: Any, config: dict[str, Any], kind: str, name: str, error: dict[str, str]
) -> None:
    answer = kong.post(config, "?flatten_errors=1")
    assert answer.status == 400
    body = answer.json
    assert (body["code"], body["name"]) == (14, "invalid declarative configuration")
    found = [e for e in body["flattened_errors"] if error in e["errors"]]
    assert [(e["entity_type"], e["entity_name"]) for e in found] == [(kind, name)]


def test_errors_in_place(kong: Any) -> None:
    nested = {
        "services": [
            SERVICE,
            {**SERVICE, "name": "t", "routes": [{"paths": ["/"], "plugins": [{"name": "x"}]}]},
        ]
    }
    message = "plugin 'x' not enabled; add it to the 'plugins' configuration property"
    assert kong.post(nested).json["fields"] == {
        "services": [None, {"routes": [{"plugins": [{"name": message}]}]}]
    }
    dangling = {"routes": [{"name": "r", "paths": ["/"], "service": "missing"}]}
    assert kong.post(dangling).json["fields"] == {
        "routes": {"r": ["invalid reference 'service: missing' (no such entry in 'services')"]}
    }
    hidden = kong.post(dangling, "?flatten_errors=1").json
    assert (hidden["fields"], hidden["flattened_errors"]) == ({}, {})
    assert kong.post({"servicez": []}).json["fields"] == {"servicez": "unknown field"}
    assert kong.post('{"_format_version": 3.0}').json["fields"] == {"_format_version": "expected a string"}


def test_all_problems_in_one_answer(kong: Any) -> None:
    config = {
        "services": [{"name": "s", "host": "h", "port": 99999}],
        "plugins": [{"name": "cors", "config": {"methods": ["NO"]}}],
    }
    kinds = {e["entity_type"] for e in kong.post(config, "?flatten_errors=1").json["flattened_errors"]}
    assert kinds == {"service", "plugin"}


def test_reads_pages_and_defaults(kong: Any, http: Any) -> None:
    kong.load(
        services=[{**SERVICE, "routes": [{"name": "r", "paths": ["/r"], "plugins": [{"name": "probe"}]}]}],
        upstreams=[
            {"name": "u.up", "targets": [{"target": "127.0.0.1"}, {"target": "127.0.0.1:2", "tags": ["t"]}]}
        ],
        consumers=[{"username": "bob", "keyauth_credentials": [{"key": "k"}]}],
    )

    def get(path: str) -> Any:
        return http(kong.admin, "GET", path).json

    assert get("/services/s")["retries"] == 5
    assert get("/services/b268827a-8f7f-551f-8769-e6bceb2f3ec6")["path"] == "/base"
    assert get("/services/s/routes")["data"][0]["name"] == "r"
    assert get("/routes/r/service")["name"] == "s"
    assert get("/plugins")["data"][0]["config"]["note"] == "n"
    assert {t["target"] for t in get("/upstreams/u.up/targets")["data"]} == {"127.0.0.1:8000", "127.0.0.1:2"}
    assert get("/consumers/bob/key-auth")["data"][0]["key"] == "k"
    assert get("/targets") == {"message": "Not found"}
    page = get("/upstreams/u.up/targets?size=1")
    upstream = page["data"][0]["upstream"]["id"]
    assert page["next"] == f"/upstreams/u.up/targets?offset={page['offset']}"
    assert get(f"/upstreams/{upstream}/targets?size=1")["data"] == page["data"]
    assert len(get(page["next"])["data"]) == 1
    assert get("/services/none") == {"message": "Not found"}
    names = [next(iter(f)) for f in get("/schemas/plugins/probe")["fields"]]
    assert names == ["consumer", "protocols", "config"]


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("POST", "/services", "cannot create 'services' entities when not using a database"),
        (
            "PUT",
            "/services/s",
            "cannot create or update 'services' entities by 'name' when not using a database",
        ),
        (
            "DELETE",
            "/consumers/b",
            "cannot remove 'consumers' entities by 'username' when not using a database",
        ),
    ],
)
def test_writes_are_refused(kong: Any, http: Any, method: str, path: str, message: str) -> None:
    answer = http(kong.admin, method, path, {"Content-Type": "application/json"}, b'{"host": "h"}')
    assert answer.status == 405
    assert answer.json == {"code": 12, "name": "operation unsupported", "message": message}


def test_declarative_file_at_start(box: Any, http: Any, tmp_path: Any) -> None:
    file = tmp_path / "kong.json"
    file.write_text(json.dumps({"_format_version": "3.0", "services": [SERVICE]}))
    box.start(KONG_DECLARATIVE_CONFIG=str(file))
    status = http(box.admin, "GET", "/status").json
    assert status["configuration_hash"] == hashlib.md5(file.read_bytes()).hexdigest()
