"""docker/Dockerfile and .dockerignore: small rules instead of a container engine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.deploy.composed import ROOT, SERVICES, settings

LINES = re.sub(r"\\\n", " ", (ROOT / "docker/Dockerfile").read_text()).splitlines()
STEPS = [tuple(line.split(None, 1)) for line in LINES if line and not line.startswith("#")]


def stages() -> dict[str, list[tuple[str, ...]]]:
    """The steps of each stage, from its FROM on."""
    found: dict[str, list[tuple[str, ...]]] = {}
    name = ""
    for step in STEPS:
        if step[0] == "FROM":
            name = step[1].split(" AS ")[1]
            found[name] = []
        found[name].append(step)
    return found


def whole(name: str) -> list[tuple[str, ...]]:
    """The steps of a stage and of the stages that it stands on."""
    steps = stages()[name]
    base = steps[0][1].split(" AS ")[0]
    return [*(whole(base) if base in stages() else []), *steps]


def test_every_base_is_pinned_to_a_patch_version() -> None:
    bases = [step[1].split(" AS ")[0] for step in STEPS if step[0] == "FROM"]
    outside = {base for base in bases if base not in stages()}
    assert outside == {"python:3.12.11-slim-bookworm"}


@pytest.mark.parametrize("name", ["kgate", "examples"])
def test_it_does_not_run_as_root(name: str) -> None:
    users = [step[1] for step in whole(name) if step[0] == "USER"]
    assert users[-1] == "10542:10542"


def test_nothing_is_fetched_but_by_pip() -> None:
    assert "ADD" not in {step[0] for step in STEPS}
    assert not [step for step in STEPS if re.search(r"curl|wget|https?://(?!127\.0\.0\.1)|apt", step[1])]


def test_the_last_stage_is_the_servers_and_has_no_build_tools() -> None:
    assert list(stages())[-1] == "kgate"
    assert [step[0] for step in whole("kgate") if step[0] == "RUN"] == ["RUN"], "users and folders alone"
    assert not [step for step in whole("kgate") if "pip" in step[1]]
    copies = [step[1] for step in whole("kgate") if step[0] == "COPY"]
    assert copies == ["--from=build /opt/kgate /opt/kgate"]


def test_its_health_check_is_that_of_the_compose_file() -> None:
    (check,) = [step[1] for step in stages()["kgate"] if step[0] == "HEALTHCHECK"]
    test = SERVICES["kgate-1"]["healthcheck"]["test"]
    assert f'CMD ["python", "-c", "{test[3]}"]' in check
    assert "/readyz" in test[3]


def test_what_is_copied_reaches_the_builder_and_nothing_secret_does() -> None:
    text = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in text if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {line[1:] for line in rules if line.startswith("!")}
    sources = {
        part
        for step in STEPS
        if step[0] == "COPY" and not step[1].startswith("--from")
        for part in step[1].split()[:-1]
    }
    assert sources == allowed
    assert all((ROOT / source).exists() for source in sources)


def test_secrets_are_made_once_each_for_its_own_service(tmp_path: Path) -> None:
    import shutil
    import subprocess

    script = shutil.copy(ROOT / "deploy/compose/secrets.sh", tmp_path)
    seen = []
    for _ in range(2):
        done = subprocess.run(["sh", script], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        seen.append({path.name: settings(path.read_text()) for path in (tmp_path / "secrets").iterdir()})
    assert seen[0] == seen[1]
    made = seen[0]
    assert {name: set(values) for name, values in made.items()} == {
        "redis.env": {"REDIS_PASSWORD"},
        "kgate.env": {"REDIS_URL", "KGATE_KEYRING_SECRET"},
        "postgres.env": {"POSTGRES_PASSWORD", "KONG_PG_PASSWORD"},
        "grafana.env": {"GF_SECURITY_ADMIN_PASSWORD"},
    }
    assert made["redis.env"]["REDIS_PASSWORD"] in made["kgate.env"]["REDIS_URL"]
    assert all(len(value) >= 64 for values in made.values() for value in values.values())
