"""`kgate diff --output markdown`: golden, and within what a comment may hold."""

from __future__ import annotations

import re

from cli.report import changes
from decl.change import Change, Diff, FieldChange
from decl.compare import Seen
from decl.render import Rendered
from decl.source import Sources

UPDATE = Change(
    "update", "services", "2", "car|t`", None, None,
    (
        FieldChange("retries", 5, 1),
        FieldChange("tags", None, ["a", "b"]),
        FieldChange("path", "/x```\n", None),
        FieldChange("client_secret", None, None, secret=True),
    ),
    "both",
)  # fmt: skip
CHANGES = (
    Change("create", "routes", "1", "menu", moved="file"),
    UPDATE,
    Change("delete", "consumers", "3", "kim", moved="live"),
)
SEEN = Seen(
    {"http://kong-1:8001": "x", "http://kong-2:8001": "x"},
    [(["http://kong-1:8001", "http://kong-2:8001"], Diff(CHANGES, ("kept upstream a|b would go",)))],
    {"http://kong-3:8001": "is away: Connection refused"},
)
GOLDEN = """\
### kgate diff: cluster `main`

1 to create, 1 to update, 1 to delete

> **http://kong-3:8001** is away: Connection refused

On `http://kong-1:8001`, `http://kong-2:8001`:

> **refused:** kept upstream a\\|b would go

| | entity | fields | moved | source |
|---|---|---|---|---|
| create | route `menu` |  | file |  |
| update | service `car\\|t'` | `retries`, `tags`, `path`, `client_secret` | both |  |
| delete | consumer `kim` |  | live |  |

<details><summary>changed fields</summary>

```diff
# service car|t`
- retries: 5
+ retries: 1
- tags: (none)
+ tags: ["a", "b"]
- path: "/x'''\\n"
+ path: (none)
- client_secret: [masked]
+ client_secret: [masked]
```

</details>
"""


def markdown(seen: Seen) -> str:
    return "\n".join(changes.markdown("main", seen, Rendered("main", {}, {}), Sources(()))) + "\n"


def test_golden() -> None:
    assert markdown(SEEN) == GOLDEN


def test_no_changes() -> None:
    assert markdown(Seen({}, [], {})) == (
        "### kgate diff: cluster `main`\n\nNo changes: the live config is what the files say.\n"
    )


def test_a_large_diff_is_no_longer_than_a_comment() -> None:
    many = tuple(
        Change("update", "services", str(n), f"service-{n}", fields=UPDATE.fields, moved="file")
        for n in range(5000)
    )
    text = markdown(Seen({}, [(["n"], Diff(many)), (["m"], Diff(many))], {}))
    assert len(text) < 65_536
    assert text.startswith("### kgate diff: cluster `main`\n\n0 to create, 5000 to update, ")
    assert text.count("```") % 2 == 0
    assert text.endswith("</details>\n")
    left_out = [int(number) for number in re.findall(r"^\| \| and (\d+) more", text, re.M)]
    assert len(left_out) == 2
    assert text.count("| update |") + sum(left_out) == 10_000


def test_a_long_value_is_cut() -> None:
    change = Change("update", "plugins", "1", "p", fields=(FieldChange("config.access", None, ["x" * 9999]),))
    text = markdown(Seen({}, [(["n"], Diff((change,)))], {}))
    assert len(text) < 1200
    assert "... (10003 characters)" in text
