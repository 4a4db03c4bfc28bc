"""Bundled plugins of Kong, each with the smallest config it takes, with one that sets every field, and where Kong
has old names of fields, with one of these.

What differs between what is sent and what Kong tells is on purpose: sets in another order, nulls, empty
lists and maps, old names of fields. Those of plugin_configs.json were made from the plugins' schemas, each field
with another value than its default, and a Kong 3.9.3 took them all.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_CODE = ["return function() end"]
_CHANGE = {
    "body": ["a:1"],
    "headers": ["x-a:1", "x-b:2"],
    "querystring": ["q:1"],
}
_JSON = {"json": ["a:1"], "json_types": ["number"], "headers": ["x-a:1"]}
_QUEUE = {
    "max_batch_size": 5,
    "max_coalescing_delay": 2,
    "max_entries": 500,
    "max_bytes": 100000,
    "max_retry_time": 30,
    "initial_retry_delay": 0.5,
    "max_retry_delay": 10,
    "concurrency_limit": -1,
}

CONFIGS: dict[str, tuple[dict[str, Any], ...]] = {
    "acl": (
        {"allow": ["a"]},
        {"deny": ["b", "a"], "hide_groups_header": True, "always_use_authenticated_groups": True},
    ),
    "bot-detection": ({}, {"allow": ["good"], "deny": ["bad", "worse"]}),
    "correlation-id": ({}, {"header_name": "X-Id", "generator": "uuid", "echo_downstream": True}),
    "cors": (
        {},
        {
            "origins": ["https://b.example", "https://a.example"],
            "headers": ["X-A"],
            "exposed_headers": ["X-B"],
            "methods": ["PUT", "GET"],
            "max_age": 60,
            "credentials": True,
            "private_network": True,
            "preflight_continue": True,
        },
    ),
    "file-log": (
        {"path": "/tmp/kgate.log"},
        {"path": "/tmp/kgate.log", "reopen": True, "custom_fields_by_lua": {"a": "return 1"}},
    ),
    "http-log": (
        {"http_endpoint": "http://127.0.0.1:9/x", "custom_fields_by_lua": {}, "headers": None},
        {
            "http_endpoint": "http://127.0.0.1:9/x",
            "method": "PUT",
            "content_type": "application/json; charset=utf-8",
            "timeout": 500,
            "keepalive": 600,
            "headers": {"x-a": "1"},
            "queue": _QUEUE,
            "custom_fields_by_lua": {"a": "return 1"},
        },
    ),
    "ip-restriction": (
        {"allow": ["127.0.0.0/8"]},
        {"deny": ["10.0.0.1", "10.0.0.0/8"], "status": 404, "message": "no"},
    ),
    "jwt": (
        {},
        {
            "uri_param_names": ["z", "a"],
            "cookie_names": ["c2", "c1"],
            "header_names": ["x-b", "authorization"],
            "key_claim_name": "kid",
            "secret_is_base64": True,
            "claims_to_verify": ["nbf", "exp"],
            "anonymous": "nobody",
            "run_on_preflight": False,
            "maximum_expiration": 3600,
            "realm": "shop",
        },
    ),
    "key-auth": (
        {},
        {
            "key_names": ["z", "a"],
            "hide_credentials": True,
            "anonymous": "nobody",
            "key_in_header": True,
            "key_in_query": False,
            "key_in_body": True,
            "run_on_preflight": False,
            "realm": "shop",
        },
    ),
    "post-function": (
        {"log": _CODE},
        dict.fromkeys(("certificate", "rewrite", "access", "header_filter", "body_filter", "log"), _CODE),
    ),
    "pre-function": (
        {"access": _CODE},
        dict.fromkeys(("certificate", "rewrite", "access", "header_filter", "body_filter", "log"), _CODE),
    ),
    "prometheus": (
        {},
        {
            "per_consumer": True,
            "status_code_metrics": True,
            "ai_metrics": True,
            "latency_metrics": True,
            "bandwidth_metrics": True,
            "upstream_health_metrics": True,
        },
    ),
    "proxy-cache": (
        {"strategy": "memory"},
        {
            "strategy": "memory",
            "response_code": [200, 404],
            "request_method": ["HEAD", "GET"],
            "content_type": ["text/html"],
            "cache_ttl": 10,
            "cache_control": True,
            "ignore_uri_case": True,
            "storage_ttl": 100,
            "memory": {"dictionary_name": "kong_db_cache"},
            "vary_query_params": ["b", "a"],
            "vary_headers": ["x-b", "x-a"],
            "response_headers": {"age": False, "X-Cache-Status": False, "X-Cache-Key": False},
        },
    ),
    "rate-limiting": (
        {"minute": 5},
        {
            "second": 1,
            "minute": 2,
            "hour": 3,
            "day": 4,
            "month": 5,
            "year": 6,
            "limit_by": "header",
            "header_name": "x-a",
            "policy": "redis",
            "fault_tolerant": False,
            "redis_host": "127.0.0.1",
            "redis_port": 9,
            "redis": {"database": 1, "timeout": 100, "ssl": True},
            "hide_client_headers": True,
            "error_code": 430,
            "error_message": "slow",
        },
    ),
    "request-size-limiting": (
        {},
        {"allowed_payload_size": 1, "size_unit": "kilobytes", "require_content_length": True},
    ),
    "request-termination": (
        {"message": None},
        {"status_code": 418, "content_type": "text/plain", "body": "no", "echo": False, "trigger": "x-t"},
    ),
    "request-transformer": (
        {"add": {"headers": []}, "remove": {}},
        {
            "http_method": "POST",
            "remove": {"body": ["a"], "headers": ["x-a"], "querystring": ["q"]},
            "rename": _CHANGE,
            "replace": {**_CHANGE, "uri": "/new"},
            "add": _CHANGE,
            "append": _CHANGE,
        },
    ),
    "response-transformer": (
        {},
        {
            "remove": {"json": ["a"], "headers": ["x-a"]},
            "rename": {"json": ["a:b"], "headers": ["x-a:x-b"]},
            "replace": _JSON,
            "add": _JSON,
            "append": _JSON,
        },
    ),
}

_MADE = json.loads(Path(__file__).with_suffix(".json").read_text())
CONFIGS = {name: tuple(configs) for name, configs in _MADE.items()} | CONFIGS
GLOBAL = ("acme",)
"""Plugins that Kong takes for all requests only."""


def document(enabled: set[str]) -> dict[str, Any]:
    """A config with three services: one with every plugin's smallest config, one with the full ones, one with old
    names. It is as a person writes it: defaults left out, nulls, empty lists, sets unsorted."""
    return {
        "_format_version": "3.0",
        "services": [
            {
                "name": name,
                "url": f"http://{name}.example/x",
                "tags": ["z", "a"],
                "path": None,
                "routes": [
                    {
                        "name": name,
                        "hosts": [f"{name}.example"],
                        "methods": ["PUT", "GET"],
                        "paths": ["/b", "/a"],
                        "headers": {"x-a": ["2", "1"]},
                        "snis": [],
                        "tags": [],
                    }
                ],
                "plugins": [
                    {"name": plugin, "config": configs[number], "tags": ["t2", "t1"]}
                    for plugin, configs in CONFIGS.items()
                    if plugin in enabled and plugin not in GLOBAL and number < len(configs)
                ],
            }
            for number, name in enumerate(("smallest", "full", "old"))
        ],
        "plugins": [{"name": name, "config": CONFIGS[name][1]} for name in GLOBAL if name in enabled],
        "upstreams": [
            {"name": "plain", "targets": [{"target": "192.0.2.1"}, {"target": "[2001:db8::1]:80"}]},
            {
                "name": "full",
                "hash_on": "header",
                "hash_on_header": "x-user",
                "hash_fallback": "ip",
                "slots": 100,
                "healthchecks": {
                    "active": {"http_path": "/up", "healthy": {"interval": 5, "http_statuses": [302, 200]}},
                    "passive": {"unhealthy": {"tcp_failures": 2, "http_statuses": [503, 500]}},
                    "threshold": 20,
                },
                "targets": [{"target": "one.example:8080", "weight": 50, "tags": ["t"]}],
            },
        ],
        "consumers": [
            {
                "username": "kim",
                "custom_id": "1",
                "keyauth_credentials": [{"key": "sesame"}],
                "jwt_secrets": [{"key": "k1", "secret": "very-secret"}],
                "plugins": [{"name": "request-termination", "config": {"status_code": 403}}],
            }
        ],
    }
