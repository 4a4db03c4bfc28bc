"""docker-compose.yml says what `kgate kong-env` prints."""

from pathlib import Path

import yaml

from kong_plugins.kong_env import kong_env

ROOT = Path(__file__).parents[2]


def test_kongs_settings_are_those_of_kong_env() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    expected = kong_env(Path("/run/kgate"), "express", Path("/opt/kgate/adapter"))
    settings = compose["services"]["kong"]["environment"]
    assert {key: value for key, value in settings.items() if key in expected} == expected
    assert "./kong_plugins/adapter:/opt/kgate/adapter:ro" in compose["services"]["kong"]["volumes"]
