"""Constraints that pin every dependency of pyproject.toml to its lowest version (`make test-lowest`)."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
_BOUND = re.compile(r"(?P<name>[A-Za-z0-9_.-]+)(?:\[[^]]*\])?>=(?P<low>[0-9.]+)(?:,<(?P<high>[0-9.]+))?$")


def requirements(extras: bool = True) -> dict[str, list[str]]:
    """The requirements by where they stand: "" for the package itself, else the extra."""
    project = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]
    return {"": project["dependencies"], **(project["optional-dependencies"] if extras else {})}


def bounds(requirement: str) -> tuple[str, str, str | None]:
    """Name, lowest version, and the first one that is too new. Raises ValueError."""
    found = _BOUND.match(requirement.replace(" ", ""))
    if found is None:
        raise ValueError(f"{requirement}: no lower bound")
    return found["name"].lower(), found["low"], found["high"]


def constraints() -> str:
    """What `pip install -c` takes. Tools of development are pinned as well: they are what proves it."""
    lines = set()
    for listed in requirements().values():
        for requirement in listed:
            if not requirement.startswith("types-"):
                name, low, _ = bounds(requirement)
                lines.add(f"{name}=={low}")
    return "\n".join(sorted(lines)) + "\n"


if __name__ == "__main__":
    sys.stdout.write(constraints())
