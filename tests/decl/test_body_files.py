"""`file: PATH` of a prepared answer: from where the YAML stands, read when it is sent, and checked then."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from decl.late import Late, Resolver
from decl.load import Text
from decl.project import open_project
from decl.render import Rendered, render

FILE = """
_format_version: "3.0"
services:
- name: menu
  url: http://menu
  routes: [{name: menu, paths: [/menu]}]
  plugins:
  - name: static-fallback
    config:
      responses:
      - {"on": [502], accept: text/html, file: pages/away.HTML}
      - {"on": [502], accept: text/plain, file: rest, content_type: text/x}
      - {"on": [502], body: !file a.json}
"""
PAGES: dict[str, bytes] = {"d/pages/away.HTML": b"<p>{{time}}\n", "d/rest": b"rest", "d/a.json": b"{}"}


def rendered(text: str = FILE) -> Rendered:
    project = open_project([Text("d/gateway.yaml", text.encode())], {})
    assert project.gateway is not None, project.findings
    return render(project.gateway, "")


def resolver(files: Mapping[str, bytes]) -> Resolver:
    def read(path: str) -> bytes:
        if path not in files:
            raise FileNotFoundError(2, "No such file or directory")
        return files[path]

    return Resolver({}, read)


def answers(made: Rendered) -> list[Any]:
    found: list[Any] = json.loads(made.content)["services"][0]["plugins"][0]["config"]["responses"]
    return found


def test_it_is_read_from_where_the_yaml_stands() -> None:
    made = rendered()
    assert made.late
    found = answers(made.with_bodies(resolver(PAGES)))
    assert [(each["body"], each.get("content_type")) for each in found] == [
        ("<p>{{time}}", "text/html; charset=utf-8"),
        ("rest", "text/x"),
        ("{}", None),
    ]
    assert answers(made.resolved(resolver(PAGES))) == found


def test_secrets_stay_references_when_bodies_are_read() -> None:
    text = FILE + "consumers: [{username: u, keyauth_credentials: [{key: !env KEY}]}]\n"
    project = open_project([Text("d/gateway.yaml", text.encode())], {})
    assert project.gateway is not None
    made = render(project.gateway, "").with_bodies(resolver(PAGES))
    assert made.late
    assert isinstance(made.document["consumers"][0]["keyauth_credentials"][0]["key"], Late)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "cannot read d/pages/away.HTML: No such file"),
        ({**PAGES, "d/rest": b"x" * 65_537}, r"responses\[1\].body: 65537 bytes, 65536 are allowed"),
        ({**PAGES, "d/rest": b"{{user}}"}, r"responses\[1\].body: placeholder 'user'"),
        ({**PAGES, "d/rest": b"\xff"}, "d/rest is not UTF-8 text"),
    ],
)
def test_what_cannot_be_sent_is_refused(files: dict[str, bytes], message: str) -> None:
    with pytest.raises(ValueError, match=f"^service 'menu': .*{message}"):
        rendered().resolved(resolver(files))


def test_all_bodies_of_a_cluster_are_bounded() -> None:
    rows = "".join(f'      - {{name: a{n}, "on": [{500 + n}], file: big}}\n' for n in range(31))
    text = FILE.partition("      - {")[0] + rows
    with pytest.raises(ValueError, match="the prepared answers have 2015000 bytes, 2000000 are allowed"):
        rendered(text).resolved(resolver({"d/big": b"x" * 65_000}))


def test_a_file_and_another_body_exclude_each_other() -> None:
    text = FILE.replace("file: rest,", "file: rest, text: x,")
    project = open_project([Text("d/gateway.yaml", text.encode())], {})
    assert any("text and file exclude each other" in each.message for each in project.findings)
