"""Ids of entities that were written without one."""

from __future__ import annotations

from sandbox.ids import entity_id, generated_id


def test_ids_are_kongs() -> None:
    assert entity_id("services", "sample_api") == "f43346f0-16f5-55b3-b815-f4dfa7cdb1e8"
    assert generated_id("consumers", {"username": "bob"}) == "def4f7d3-9863-5ad2-8fa9-c949bf26f55e"
    assert generated_id("plugins", {"name": "cors"}) == "48ee727e-8b90-5faa-bda1-a3c6bc3c9daa"
    route = entity_id("routes", "r")
    nested = ("route", route)
    assert generated_id("plugins", {"name": "rec"}, nested) == "10bca0a0-2177-505a-ad2c-e9af84d63975"
    upstream = ("upstream", entity_id("upstreams", "u.up"))
    target = {"target": "127.0.0.1:28201"}
    assert generated_id("targets", target, upstream) == "f1ce5c6c-13f1-57b9-9fb9-1444ced5452f"
    dangling = {"target": "127.0.0.1:1", "upstream": "missing"}
    assert generated_id("targets", dangling) == "82707ddb-6d2f-5016-9fc7-aefaa47bedca"


def test_an_unnamed_route_gets_a_new_id_each_time() -> None:
    assert generated_id("routes", {}) != generated_id("routes", {})
