"""Which route wins."""

from __future__ import annotations

from typing import Any

import pytest

from decl.ids import entity_id
from decl.routing import Request, Router

MIXED: dict[str, dict[str, Any]] = {
    "p": {"paths": ["/a/b/c/d/long"]},
    "h": {"hosts": ["h.example"]},
    "hp": {"hosts": ["h.example"], "paths": ["/a"]},
    "hpm": {"hosts": ["h.example"], "paths": ["/a"], "methods": ["GET"]},
    "pm": {"methods": ["GET", "POST"], "paths": ["/a/b"]},
    "hdr_p": {"headers": {"X-Q": ["1"]}, "paths": ["/a/b"]},
    "wild": {"hosts": ["*.example"], "paths": ["/a/b"]},
    "re": {"paths": ["~/a/b/c"]},
}
HOSTS: dict[str, dict[str, Any]] = {
    "exact": {"hosts": ["a.example"]},
    "left": {"hosts": ["*.w.example"]},
    "right": {"hosts": ["w.*"]},
    "inside": {"hosts": ["exact.w.example"]},
    "port": {"hosts": ["p.example:28000"]},
}
PATHS: dict[str, dict[str, Any]] = {
    "root": {"paths": ["/"]},
    "p": {"paths": ["/p"]},
    "long": {"paths": ["/p/long"]},
    "num": {"paths": ["~/p/[0-9]+$"]},
    "low": {"paths": ["~/pri/.*"], "regex_priority": 1},
    "high": {"paths": ["~/pri/a.*"], "regex_priority": 5},
    "mid": {"paths": ["~/mid"]},
    "get": {"paths": ["/m"], "methods": ["GET"]},
    "v1": {"paths": ["/h"], "headers": {"X-V": ["1", "2"]}},
    "vre": {"paths": ["/h"], "headers": {"X-V": ["~*^b.*r$"]}},
    "two": {"paths": ["/h"], "headers": {"X-V": ["1"], "X-W": ["a"]}},
}


def winner(
    routes: dict[str, dict[str, Any]], host: str, path: str, method: str = "GET", **headers: str
) -> Any:
    router = Router([{"id": entity_id("routes", name), "name": name, **r} for name, r in routes.items()])
    values = {name.replace("_", "-").lower(): [value] for name, value in headers.items()}
    match = router.match(Request(method, host, 28000, path, values))
    return match and match.route["name"]


@pytest.mark.parametrize(
    ("host", "path", "method", "headers", "name"),
    [
        ("h.example", "/a/b/c/d/long", "GET", {}, "hpm"),
        ("h.example", "/a", "POST", {}, "hp"),
        ("h.example", "/a/b", "GET", {"x_q": "1"}, "hpm"),
        ("z.example", "/a/b/c", "GET", {}, "re"),
        ("other", "/a/b/c", "GET", {}, "re"),
        ("other", "/a/b", "GET", {}, "pm"),
        ("h.example", "/q", "GET", {}, "h"),
    ],
)
def test_precedence(host: str, path: str, method: str, headers: dict[str, str], name: str) -> None:
    assert winner(MIXED, host, path, method, **headers) == name


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("a.example", "exact"),
        ("A.EXAMPLE", None),
        ("a.example:9", "exact"),
        ("a.example.", None),
        ("b.c.w.example", "left"),
        ("exact.w.example", "inside"),
        ("w.example", "right"),
        ("w.org.uk", "right"),
        ("p.example", "port"),
        ("p.example:28000", "port"),
        ("p.example:81", None),
    ],
)
def test_hosts(host: str, name: str | None) -> None:
    assert winner(HOSTS, host, "/") == name


@pytest.mark.parametrize(
    ("path", "method", "headers", "name"),
    [
        ("/", "GET", {}, "root"),
        ("/px", "GET", {}, "p"),
        ("/p/longer", "GET", {}, "long"),
        ("/p/123", "GET", {}, "num"),
        ("/p/123abc", "GET", {}, "p"),
        ("/pri/a", "GET", {}, "high"),
        ("/pri/b", "GET", {}, "low"),
        ("/x/mid", "GET", {}, "root"),
        ("/m", "GET", {}, "get"),
        ("/m", "HEAD", {}, "root"),
        ("/h", "GET", {"x_v": "2"}, "v1"),
        ("/h", "GET", {"x_v": "BaR"}, "vre"),
        ("/h", "GET", {"x_v": "1", "x_w": "A"}, "two"),
    ],
)
def test_paths_methods_headers(path: str, method: str, headers: dict[str, str], name: str) -> None:
    assert winner(PATHS, "h", path, method, **headers) == name


def test_equal_routes_largest_id_wins() -> None:
    names = ["q00", "q01", "q02", "q03", "q04"]
    assert winner({n: {"paths": ["/same"]} for n in names}, "h", "/same") == "q04"


@pytest.mark.parametrize("paths", [["/same", "~/other"], ["~/same", "/zz"], ["~/same", "/other/longer"]])
def test_parts_of_a_route_have_ids_of_their_own(paths: list[str]) -> None:
    """Of prefixes of each length and of all regular expressions Kong makes a route of its own."""
    routes = [
        {"id": "f0000000-0000-4000-8000-000000000010", "name": "large", "paths": paths},
        {"id": "f0000000-0000-4000-8000-00000000000b", "name": "small", "paths": paths[::-1]},
    ]
    match = Router(routes).match(Request("GET", "h", 80, "/same", {}))
    assert match
    assert match.route["name"] == "small"
