"""server.yaml: read whole or refused with the place."""

from pathlib import Path

import pytest

from kong_plugins.server.config import RedisConfig, ServerConfigError, load


def test_without_a_file_the_environment_names_redis() -> None:
    assert load(None, {}).redis == RedisConfig()
    assert RedisConfig().poll_seconds == 2
    assert load(None, {"REDIS_URL": "redis://127.0.0.1:1/0"}).redis.url == "redis://127.0.0.1:1/0"


def test_the_file_wins_over_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "server.yaml"
    path.write_text("redis: {url: 'redis://127.0.0.1:2/0', namespace: shop, poll_seconds: 2}\nissuers: []\n")
    config = load(path, {"REDIS_URL": "redis://127.0.0.1:1/0"})
    assert config.redis == RedisConfig("redis://127.0.0.1:2/0", "shop", 2.0)
    assert config.base_dir == tmp_path


def test_files_of_the_state(tmp_path: Path) -> None:
    path = tmp_path / "server.yaml"
    path.write_text("redis: {url: 'rediss://r/0', ca_file: ca.pem}\nstate: {key_file: own.key}\n")
    config = load(path, {})
    assert config.redis.ca_file == str(tmp_path / "ca.pem")
    assert (config.state_key_file, config.base_dir) == ("own.key", tmp_path)


def test_the_memory_of_one_process_is_no_store_of_a_server() -> None:
    assert load(None, {"REDIS_URL": "memory://"}).redis.url is None


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
        ("redis: {ca_file: 5}", "redis.ca_file: expected text"),
        ("state: here", "state: expected a map"),
        ("state: {dir: x}", "state: expected a map with key_file alone"),
        ("state: {key_file: ''}", "state.key_file: expected a path"),
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


@pytest.mark.parametrize(
    "broken", ['k: "SECRET', "k: [SECRET}", "k: *SECRET", "k: SECRET: 1", "k: !SECRET 1"]
)
def test_a_broken_file_is_not_quoted_it_may_hold_keys(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "server.yaml"
    path.write_text(f"issuers:\n- {broken}\n")
    with pytest.raises(ServerConfigError, match=r"server.yaml: line [23], column ") as caught:
        load(path, {})
    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None
