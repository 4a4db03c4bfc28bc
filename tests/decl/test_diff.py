"""What is a difference and what is not, and what is said of it. The schemas are the server's."""

from __future__ import annotations

from typing import Any

import pytest

from decl.change import Diff
from decl.diff import diff
from decl.flatten import Flat, flatten
from decl.late import Secret
from decl.masking import masked, secrets_in
from decl.server_schema import Schemas

RULE = {"type": "record", "fields": [{"x": {"type": "number", "default": 1}}]}
MOVED = {"replaced_with": [{"path": ["redis", "host"]}]}
PLUGIN = {
    "fields": [
        {"protocols": {"type": "set", "default": ["http", "https"], "elements": {"type": "string"}}},
        {
            "config": {
                "type": "record",
                "required": True,
                "fields": [
                    {"names": {"type": "set", "elements": {"type": "string"}}},
                    {"order": {"type": "array", "elements": {"type": "string"}}},
                    {"limit": {"type": "number", "default": 5}},
                    {"labels": {"type": "map", "values": {"type": "string"}}},
                    {"password": {"type": "string", "encrypted": True}},
                    {"hidden": {"type": "string", "encrypted": True}},
                    {"credentials": {"type": "boolean", "default": False}},
                    {
                        "redis": {
                            "type": "record",
                            "required": True,
                            "fields": [{"host": {"type": "string"}}, {"port": {"type": "integer", "default": 6379}}],
                        }
                    },
                    {"rules": {"type": "array", "elements": RULE}},
                ],
                "shorthand_fields": [
                    {"redis_host": {"type": "string", "deprecation": MOVED}},
                ],
            }
        },
    ]
}  # fmt: skip
SCHEMAS: dict[str, Any] = {
    "plugins": {"fields": [{"id": {"auto": True}}, {"enabled": {"default": True}}, {"tags": {"type": "set"}}]},
    "plugins/p": PLUGIN,
    "services": {"fields": [{"retries": {"type": "integer", "default": 5}}, {"tags": {"type": "set"}}]},
    "jwt_secrets": {"fields": [{"secret": {"type": "string", "auto": True}}]},
}  # fmt: skip
HELD: dict[str, Any] = {
    "id": "p1", "name": "p", "enabled": True, "tags": None, "protocols": ["https", "http"], "created_at": 1,
    "updated_at": 2, "service": None, "route": None, "consumer": None,
    "config": {"names": ["b", "a"], "order": ["a", "b"], "limit": 5, "labels": {}, "password": None, "hidden": None,
               "credentials": False, "redis": {"host": None, "port": 6379}, "redis_host": None, "rules": None},
}  # fmt: skip


def schemas() -> Schemas:
    return Schemas(SCHEMAS.get)


def flat(kind: str, *entities: dict[str, Any]) -> Flat:
    return {**flatten({"_format_version": "3.0"}), kind: {entity["id"]: entity for entity in entities}}


def plugin(config: dict[str, Any], **fields: Any) -> Flat:
    return flatten({"plugins": [{"id": "p1", "name": "p", "config": config, **fields}]})


def fields(found: Diff) -> dict[str, tuple[Any, Any]]:
    (change,) = found.changes
    return {field.path: (field.old, field.new) for field in change.fields}


@pytest.mark.parametrize(
    "config",
    [
        {"names": ["a", "b"], "order": ["a", "b"]},
        {"names": ["b", "a", "a"], "order": ["a", "b"]},
        {"names": ["a", "b"], "order": ["a", "b"], "limit": None},
        {"names": ["a", "b"], "order": ["a", "b"], "limit": 5.0},
        {"names": ["a", "b"], "order": ["a", "b"], "labels": {}, "rules": []},
        {"names": ["a", "b"], "order": ["a", "b"], "redis": {}, "password": None},
        {"names": ["a", "b"], "order": ["a", "b"], "redis": {"port": 6379, "host": None}, "redis_host": None},
    ],
    ids=["set order", "set twice", "null", "number", "empty map and list", "empty record", "old name, null"],
)
def test_no_difference(config: dict[str, Any]) -> None:
    assert diff(plugin(config, tags=[]), flat("plugins", HELD), schemas()).changes == ()


def held(**config: Any) -> Flat:
    return flat("plugins", {**HELD, "config": {**HELD["config"], **config}})


GIVEN = {"names": ["a", "b"], "order": ["a", "b"]}


@pytest.mark.parametrize(
    ("config", "live", "expected"),
    [
        ({"order": ["b", "a"]}, {}, {"config.order": (["a", "b"], ["b", "a"])}),
        ({"names": ["a"]}, {}, {"config.names": (["b", "a"], ["a"])}),
        ({}, {"limit": 7}, {"config.limit": (7, 5)}),
        ({}, {"limit": None}, {"config.limit": (None, 5)}),
        ({"redis_host": "r"}, {}, {"config.redis.host": (None, "r")}),
        ({"redis": {"port": 1}}, {}, {"config.redis.port": (6379, 1)}),
        ({"labels": {"a": "1"}}, {"labels": {"b": "2"}}, {"config.labels": ({"b": "2"}, {"a": "1"})}),
        ({"rules": [{"x": 2}, {}]}, {"rules": [{"x": 2}, {"x": 3}]}, {"config.rules.1.x": (3, 1)}),
        ({"credentials": True}, {}, {"config.credentials": (False, True)}),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_only_the_changed_fields(
    config: dict[str, Any], live: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = fields(diff(plugin({**GIVEN, **config}), held(**live), schemas()))
    if "config.labels" in expected:
        expected = {"config.labels.a": (None, "1"), "config.labels.b": ("2", None)}
    assert found == expected


@pytest.mark.parametrize(
    ("wanted", "same"),
    [
        ([{"port": 9}, {"ip": "10.0.0.1"}], True),
        ([{"ip": "10.0.0.1"}, {"port": 9, "ip": None}, {"port": 9}], True),
        ([{"port": 9}], False),
        ([{"port": 9}, {"ip": "10.0.0.1", "port": 1}], False),
    ],
)
def test_a_set_of_maps(wanted: list[dict[str, Any]], same: bool) -> None:
    """`destinations` of a tcp route: Kong tells what is not set as null."""
    told = [{"ip": "10.0.0.1", "port": None}, {"ip": None, "port": 9}]
    address = {"type": "record", "fields": [{"ip": {"type": "string"}}, {"port": {"type": "integer"}}]}
    table = {"routes": {"fields": [{"destinations": {"type": "set", "elements": address}}]}}
    route, held = {"id": "r", "destinations": wanted}, {"id": "r", "destinations": told}
    found = diff(flat("routes", route), flat("routes", held), Schemas(table.get))
    assert (found.changes == ()) == same


def test_old_names_of_fields_are_no_difference() -> None:
    live = held(redis={"host": "r", "port": 6379}, redis_host="r")
    assert diff(plugin({**GIVEN, "redis_host": "r"}), live, schemas()).changes == ()
    assert diff(plugin({**GIVEN, "redis": {"host": "r"}}), live, schemas()).changes == ()
    sent = schemas().sendable("plugins", live["plugins"]["p1"])
    assert sent["config"]["redis"] == {"host": "r", "port": 6379}
    assert "redis_host" not in sent["config"]
    assert "created_at" not in sent


@pytest.mark.parametrize("name", ["password", "hidden"])
def test_secrets_are_masked_old_and_new(name: str) -> None:
    found = diff(plugin({**GIVEN, name: "new-one"}), held(**{name: "old-one"}), schemas())
    (field,) = found.changes[0].fields
    assert (field.path, field.old, field.new, field.secret) == (f"config.{name}", None, None, True)
    assert "-one" not in repr(found)
    created = diff(plugin({**GIVEN, name: "new-one"}), flat("plugins"), schemas())
    assert "new-one" not in repr(created)


def test_a_marked_value_is_masked_wherever_it_stands() -> None:
    wanted = plugin({**GIVEN, "order": [Secret("s3cret"), "b"], "labels": {"a": "x-s3cret"}})
    assert secrets_in(wanted) == ("s3cret",)
    live = held(labels={"a": "y-s3cret"})
    found = diff(wanted, live, schemas(), secrets=secrets_in(wanted))
    assert "s3cret" not in repr([change.fields for change in found.changes])


def test_what_the_server_draws_itself_is_no_difference() -> None:
    live = {"id": "j", "key": "k", "secret": "drawn", "consumer": {"id": "c"}, "tags": None}
    wanted = {"id": "j", "key": "k", "consumer": {"id": "c"}}
    assert diff(flat("jwt_secrets", wanted), flat("jwt_secrets", live), schemas()).changes == ()


def test_without_a_schema_only_what_is_said_is_compared() -> None:
    live = {**HELD, "name": "unknown", "config": {"a": 1, "b": 2}}
    wanted = {"id": "p1", "name": "unknown", "config": {"a": 1}}
    assert diff(flat("plugins", wanted), flat("plugins", live), schemas()).changes == ()
    changed = {**wanted, "config": {"a": 2}}
    assert fields(diff(flat("plugins", changed), flat("plugins", live), schemas())) == {"config.a": (1, 2)}


def test_an_entity_of_another_id_is_adopted_by_its_name() -> None:
    live = flat("services", {"id": "live", "name": "cart", "host": "cart", "retries": 5, "tags": None})
    live["routes"]["lr"] = {"id": "lr", "name": "cart", "service": {"id": "live"}, "paths": ["/a"]}
    wanted = flatten(
        {"services": [{"id": "ours", "name": "cart", "host": "cart",
                       "routes": [{"id": "r", "name": "cart", "paths": ["/b"]}]}]}
    )  # fmt: skip
    found = diff(wanted, live, schemas())
    (change,) = found.changes
    assert (change.action, change.kind, change.id) == ("update", "routes", "lr")
    assert change.body is not None
    assert change.body["service"] == {"id": "live"}
    assert found.ids == {"ours": "live", "r": "lr"}


def test_a_target_is_adopted_by_the_address_that_kong_wrote_out() -> None:
    held = {
        "id": "t",
        "upstream": {"id": "u"},
        "target": "[2001:0db8:0000:0000:0000:0000:0000:0001]:80",
        "weight": 100,
    }
    wanted = {"id": "ours", "upstream": {"id": "u"}, "target": "[2001:db8::1]:80"}
    assert diff(flat("targets", wanted), flat("targets", held), schemas()).changes == ()


def test_a_name_that_moves_to_another_wanted_entity() -> None:
    live = flat("services", {"id": "a", "name": "x", "host": "h", "retries": 5})
    wanted = flat("services", {"id": "a", "name": "y", "host": "h"}, {"id": "b", "name": "x", "host": "h"})
    assert [(change.action, change.id) for change in diff(wanted, live, schemas()).changes] == [
        ("update", "a"),
        ("create", "b"),
    ]


@pytest.mark.parametrize(
    ("wanted", "held"),
    [
        ({"algorithm": "consistent-hashing"}, {"algorithm": "round-robin", "hash_on": "none"}),
        ({"algorithm": "consistent-hashing"}, {"algorithm": "consistent-hashing", "hash_on": "none"}),
        ({"hash_on": "ip"}, {"algorithm": "consistent-hashing", "hash_on": "ip"}),
        ({"algorithm": "round-robin", "hash_on": "ip"}, {"algorithm": "consistent-hashing", "hash_on": "ip"}),
        ({"algorithm": "latency", "hash_on": "ip"}, {"algorithm": "latency", "hash_on": "none"}),
    ],
)
def test_algorithm_and_hash_as_kong_makes_them_fit(wanted: dict[str, str], held: dict[str, str]) -> None:
    """Each pair is what Kong 3.9.3 answered."""
    found = diff(
        flat("upstreams", {"id": "u", "name": "u", **wanted}),
        flat("upstreams", {"id": "u", "name": "u", **held}),
        schemas(),
    )
    assert found.changes == ()


def test_seconds_that_have_passed_are_no_change() -> None:
    wanted = flat("keyauth_credentials", {"id": "k", "key": "k", "ttl": 1000})
    assert (
        diff(wanted, flat("keyauth_credentials", {"id": "k", "key": "k", "ttl": 990}), schemas()).changes
        == ()
    )
    for held in ({"id": "k", "key": "k", "ttl": 5000}, {"id": "k", "key": "k"}):
        assert len(diff(wanted, flat("keyauth_credentials", held), schemas()).changes) == 1


def test_another_algorithm_is_a_change() -> None:
    wanted = flat("upstreams", {"id": "u", "name": "u", "hash_on": "ip"})
    held = {"id": "u", "name": "u", "hash_on": "none", "algorithm": "round-robin"}
    (change,) = diff(wanted, flat("upstreams", held), schemas()).changes
    assert {field.path for field in change.fields} == {"algorithm", "hash_on"}


def test_kongs_errors_quote_no_secret() -> None:
    wanted = flatten({"jwt_secrets": [{"id": "j", "key": "public", "secret": "very-secret"}]})
    told = {"reason": "UNIQUE violation on {secret='very-secret'}", "left": ["public very-secret"]}
    assert masked(told, secrets_in(wanted)) == {
        "reason": "UNIQUE violation on {secret='[masked]'}",
        "left": ["public [masked]"],
    }


KEYS = [
    # what is live, what is wanted (ids are places), the changes: action, id, key
    ("0a 1b", "0b 1a", []),
    ("0a 1b 2c", "0b 1c", [("delete", "0", "a")]),
    ("1b 2c", "0d 1b 2c", [("create", "0", "d")]),
    ("0a 1b", "0d 1a 2b", [("create", "2", "d")]),
    ("0a 1b", "0b 1d", [("update", "0", "d")]),
    ("0a 1b", "0c 1b", [("update", "0", "c")]),
    ("8a 9b", "0b 1c", [("create", "1", "c"), ("delete", "8", "a")]),
    ("0a", "0c 1b 2a", [("create", "1", "b"), ("create", "2", "c")]),
]


@pytest.mark.parametrize(("live", "wanted", "expected"), KEYS, ids=lambda value: value)
def test_a_key_stays_the_entity_that_has_it(live: str, wanted: str, expected: list[tuple[str, ...]]) -> None:
    """Whatever its place in the list is now: no key is gone for a moment, and no two ever have the same one."""

    def keys(text: str) -> Flat:
        return flat("keyauth_credentials", *({"id": item[0], "key": item[1:]} for item in text.split()))

    found = diff(keys(wanted), keys(live), schemas())
    changed = [
        (change.action, change.id, (change.body or change.before or {})["key"]) for change in found.changes
    ]
    assert sorted(changed) == sorted(expected)
    assert all((change.body or {"id": change.id})["id"] == change.id for change in found.changes)


def test_numbers_have_as_many_digits_as_kong_keeps() -> None:
    """lua-cjson writes 14 of them."""
    given = {**GIVEN, "limit": 123456789.123456789}
    assert diff(plugin(given), held(limit=123456789.12346), schemas()).changes == ()
    assert fields(diff(plugin(given), held(limit=123456789.12347), schemas()))


def test_the_names_that_a_route_wants_are_compared() -> None:
    """Those of a certificate are not: they are entities of their own."""
    route = {"id": "r", "name": "r", "protocols": ["tls_passthrough"], "snis": ["a.example"]}
    live = flat("routes", {**route, "snis": ["b.example"]})
    fields_of = {"fields": [{"snis": {"type": "set"}}, {"name": {}}, {"id": {}}, {"protocols": {}}]}
    found = diff(flat("routes", route), live, Schemas(lambda name: fields_of))
    assert fields(found) == {"snis": (["b.example"], ["a.example"])}

    certificate = {"id": "c", "cert": "c", "key": "k"}
    live = flat("certificates", {**certificate, "snis": ["b.example"]})
    assert diff(flat("certificates", certificate), live, Schemas(lambda name: fields_of)).changes == ()


@pytest.mark.parametrize(("protocols", "held"), [(["grpcs", "grpc"], False), (["https"], True)])
def test_what_a_grpc_route_strips_by_default(protocols: list[str], held: bool) -> None:
    route = {"id": "r", "name": "r", "protocols": protocols, "paths": ["/x"]}
    of_routes = {
        "fields": [
            {"strip_path": {"type": "boolean", "default": True}},
            *({name: {"type": "set"}} for name in ("protocols", "paths")),
            *({name: {"type": "string"}} for name in ("id", "name")),
        ]
    }
    asked = Schemas(lambda name: of_routes)
    assert diff(flat("routes", route), flat("routes", {**route, "strip_path": held}), asked).changes == ()
    dumped = asked.filled("routes", route)
    assert dumped["strip_path"] is held


def test_the_hash_of_an_oauth2_secret_is_no_difference() -> None:
    told = "$pbkdf2-sha512$i=10000,l=32$BqafeXWneogmACqLujN1lQ$Nbvm4FQJOpfeGhRoBjcFtXRy1fApOLIZe9mUKbl1AVE"
    wanted = {"id": "o", "name": "n", "client_id": "i", "hash_secret": True, "client_secret": "abc"}
    live = flat("oauth2_credentials", {**wanted, "client_secret": told})
    assert diff(flat("oauth2_credentials", wanted), live, schemas()).changes == ()
    other = flat("oauth2_credentials", {**wanted, "client_secret": "abd"})
    (change,) = diff(other, live, schemas()).changes
    assert [field.path for field in change.fields] == ["client_secret"]
