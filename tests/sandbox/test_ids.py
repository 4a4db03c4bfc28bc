"""Ids of entities that were written without one."""

from __future__ import annotations

from sandbox.ids import entity_id, generated_id


def test_ids_are_kongs() -> None:
    assert entity_id("services", "sample_api") == "f43346f0-16f5-55b3-b815-f4dfa7cdb1e8"
    assert generated_id("consumers", {"username": "bob"}) == "def4f7d3-9863-5ad2-8fa9-c949bf26f55e"
    assert generated_id("plugins", {"name": "cors"}) == "48ee727e-8b90-5faa-bda1-a3c6bc3c9daa"
    route = entity_id("routes", "r")
    assert (
        generated_id("plugins", {"name": "rec", "route": {"id": route}})
        == "10bca0a0-2177-505a-ad2c-e9af84d63975"
    )


def test_an_unnamed_route_gets_a_new_id_each_time() -> None:
    assert generated_id("routes", {}) != generated_id("routes", {})
