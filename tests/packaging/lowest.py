"""Constraints that pin what kgate needs to the lowest versions of pyproject.toml (`make test-lowest`)."""

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
    """What `pip install -c` takes. The tools of development are the newest: they are not what is proven."""
    lines = set()
    for extra, listed in requirements().items():
        for requirement in listed if extra != "dev" else ():
            name, low, _ = bounds(requirement)
            lines.add(f"{name}=={low}")
    return "\n".join(sorted(lines)) + "\n"


if __name__ == "__main__":
    sys.stdout.write(constraints())
