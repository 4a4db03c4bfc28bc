"""server.yaml: read whole or refused with the place."""

from pathlib import Path

import pytest

from kong_plugins.server.config import RedisConfig, ServerConfigError, load


def test_without_a_file_the_environment_names_redis() -> None:
    assert load(None, {}).redis == RedisConfig()
    assert load(None, {"REDIS_URL": "redis://127.0.0.1:1/0"}).redis.url == "redis://127.0.0.1:1/0"


def test_the_file_wins_over_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "server.yaml"
    path.write_text("redis: {url: 'redis://127.0.0.1:2/0', namespace: shop, poll_seconds: 2}\nissuers: []\n")
    config = load(path, {"REDIS_URL": "redis://127.0.0.1:1/0"})
    assert config.redis == RedisConfig("redis://127.0.0.1:2/0", "shop", 2.0)
    assert config.base_dir == tmp_path


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[]", "expected a map at the top"),
        ("isuers: []", "unknown field 'isuers'"),
        ("redis: here", "redis: expected a map"),
        ("redis: {uri: x}", "redis: unknown field 'uri'"),
        ("redis: {poll_seconds: 0}", "redis.poll_seconds"),
        ("redis: {poll_seconds: true}", "redis.poll_seconds"),
        ("redis: {url: 5}", "redis.url: expected text"),
        ("redis: {namespace: {a: 1}}", "redis.namespace: expected text"),
        ("a: [", "server.yaml"),
        ("\xff", "server.yaml"),
    ],
)
def test_a_bad_file_is_named_with_its_field(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "server.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ServerConfigError, match=complaint):
        load(path, {})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ServerConfigError, match=r"none\.yaml"):
        load(tmp_path / "none.yaml", {})
