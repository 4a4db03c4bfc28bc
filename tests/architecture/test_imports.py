"""The tree shows the architecture: imports go one way."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILTERS = ("abuse_guard", "passport", "canary_router", "static_fallback")
TYPES = tuple(
    f"kong_plugins.engine.{name}"
    for name in ("facts", "verdict", "lasting", "ask", "problem", "fields", "outcome", "analyst", "lease")
)

# what a package may import of ours; the first matching prefix of a module's own name counts
ALLOWED: tuple[tuple[str, tuple[str, ...]], ...] = (
    *((name, TYPES) for name in TYPES),
    ("kong_plugins.verify", ("kong_plugins.verify",)),
    ("kong_plugins.identity", (*TYPES, "kong_plugins.identity")),
    ("kong_plugins.state", (*TYPES, "kong_plugins.identity", "kong_plugins.state")),
    *(
        (
            f"kong_plugins.{name}",
            (*TYPES, f"kong_plugins.{name}", "kong_plugins.identity", "kong_plugins.state"),
        )
        for name in FILTERS
    ),
    (
        "kong_plugins.engine",
        ("kong_plugins.engine", *(f"kong_plugins.{name}" for name in FILTERS), "kong_plugins.state.base"),
    ),
    ("kong_plugins.kong_env", ("kong_plugins.engine",)),
    ("kong_plugins.adapter", ("kong_plugins.engine", "kong_plugins.adapter")),
    ("kong_plugins", ("kong_plugins",)),
    # decl and kong_plugins meet in the schemas and in the plugins' config modules only
    (
        "decl",
        (
            "decl",
            "schemas",
            "kong_plugins.engine.registry",
            *(f"kong_plugins.{name}.config" for name in FILTERS),
            "kong_plugins.static_fallback.source",
        ),
    ),
    ("schemas", ("schemas",)),
    ("cli", ("cli", "decl", "schemas", "kong_plugins", "sandbox")),
    # how Kong matches routes, rewrites paths and checks entities: pure, and shared with what explains and checks a
    # description
    ("sandbox", ("sandbox", "kong_plugins.kong_env", "decl.routing", "decl.paths", "decl.kong")),
)
OURS = ("kong_plugins", "decl", "cli", "schemas", "sandbox", "bench", "examples", "tests")


def modules() -> list[Path]:
    return sorted(
        path
        for package in ("kong_plugins", "decl", "cli", "schemas", "sandbox")
        for path in (ROOT / package).rglob("*.py")
    )


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            base = node.module or ""
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] in OURS}


def within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    own = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    allowed = next(rule for prefix, rule in ALLOWED if within(own, prefix))
    for name in sorted(imported(path)):
        assert any(within(name, prefix) for prefix in allowed), f"{own} must not import {name}"


def test_nothing_but_its_own_command_imports_the_sandbox() -> None:
    users = {path for path in modules() if any(within(name, "sandbox") for name in imported(path))}
    outside = {path for path in users if ROOT / "sandbox" not in path.parents}
    own = {ROOT / "cli" / "commands" / "sandbox.py", *(ROOT / "cli").glob("sandbox_*.py")}
    assert outside <= own, outside - own


# pure parts import no clock, no randomness, no I/O: ruff's TID251 says so for direct imports
@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_core_knows_no_pdk_and_no_io(name: str) -> None:
    text = (ROOT / "kong_plugins" / name / "core.py").read_text()
    names = {node.names[0].name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import)}
    assert not names & {"time", "random", "socket", "os", "asyncio", "redis", "requests", "kong_pdk"}
