"""Ids that Kong 3.9 itself gave to the same entities."""

from decl import ids


def test_ids_are_kongs() -> None:
    assert ids.entity_id("services", "sample_api") == "f43346f0-16f5-55b3-b815-f4dfa7cdb1e8"
    assert ids.entity_id("consumers", "bob") == "def4f7d3-9863-5ad2-8fa9-c949bf26f55e"
    route = ids.entity_id("routes", "r")
    assert route == "da7ba03a-f1be-52d4-8a7e-c8f32640689a"
    assert ids.plugin_id("rate-limiting", route_id=route) == "5f1765f9-2617-5340-ac7c-74849295e492"
    assert ids.plugin_id("cors") == "48ee727e-8b90-5faa-bda1-a3c6bc3c9daa"
    upstream = ids.entity_id("upstreams", "u.up")
    assert upstream == "316b5670-2085-5c90-8036-d808a35bbe17"
    assert ids.target_id(upstream, "127.0.0.1:28201") == "f1ce5c6c-13f1-57b9-9fb9-1444ced5452f"


def test_credentials_have_an_id_by_consumer_and_key() -> None:
    one = ids.credential_id("keyauth_credentials", "c1", "k")
    assert one == ids.credential_id("keyauth_credentials", "c1", "k")
    others = {
        ids.credential_id("keyauth_credentials", "c2", "k"),
        ids.credential_id("keyauth_credentials", "c1", "k2"),
        ids.credential_id("jwt_secrets", "c1", "k"),
    }
    assert len(others | {one}) == 4
