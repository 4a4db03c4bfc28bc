"""Writes docs/sandbox.md from the case files and the list of what is not there.

python -m tests.sandbox.conformance.docs            # writes it
python -m tests.sandbox.conformance.docs --check    # fails when it is not up to date
"""

from __future__ import annotations

import re
import sys
from itertools import groupby
from pathlib import Path

from tests.sandbox.conformance.case_files import Outline, OutlineCase, outline
from tests.sandbox.conformance.not_there import NOT_THERE

DOCS = Path(__file__).parents[3] / "docs" / "sandbox.md"
_HEAD = """# The sandbox

<!-- Written by `python -m tests.sandbox.conformance.docs`: change the case files or not_there.py, not this. -->

`kgate sandbox` is a stand-in for Kong 3.9.3 on laptops and in CI: proxy, Admin API and plugin runner in one process,
without Docker. It is for previews and tests, never for production. What it does was recorded on an unmodified Kong
3.9.3, and the same cases run against both:

    pytest tests/sandbox/conformance
    python -m tests.sandbox.conformance.settings DIR    # settings for a real Kong with one worker
    pytest tests/sandbox/conformance --kong-admin URL --kong-proxy URL --run-dir DIR [--kong-mode db]

## Modes

| mode | settings | configuration |
|---|---|---|
| without a database | the default | POST /config, `-f FILE`, KONG_DECLARATIVE_CONFIG; other writes are 405 |
| with a database | KONG_DATABASE=postgres | entities one by one over the Admin API, kept in memory |
| control plane | and KONG_ROLE=control_plane | /clustering/data-planes shows invented nodes whose hash follows |

The sandbox's own: KONG_SANDBOX_PROPAGATION (50ms: until a write reaches the proxy in DB mode),
KONG_SANDBOX_DATA_PLANES (2) and KONG_SANDBOX_DATA_PLANE_DELAY (200ms: until their hash follows).
Other KONG_* variables are read as stock Kong reads them; those that the sandbox does not know change nothing.
"""


def render() -> str:
    """The document."""
    files = outline()
    count = sum(case.count for file in files for case in file.cases)
    parts = [
        _HEAD,
        f"## What is covered\n\n{count} cases in {len(files)} files. `…` stands for a value of each row.\n",
    ]
    for area, found in groupby(files, key=lambda file: file.name.partition("/")[0]):
        parts.append(f"### {area}\n")
        parts += [_file(file) for file in found]
    parts.append(
        "## What is not there\n\nA request or plugin that needs one of these meets what stands on the right.\n"
    )
    parts.append("| area | in Kong | in the sandbox |\n|---|---|---|")
    parts += [f"| {row.area} | {row.what} | {row.instead} |" for row in NOT_THERE]
    differing = [
        (file.name, case.title, case.differs) for file in files for case in file.cases if case.differs
    ]
    parts.append("\n## Known differences\n")
    parts += [f"- {name}: {_shown(title)}: {why}" for name, title, why in differing]
    if not differing:
        parts.append("None: every case passes on the sandbox and on Kong.")
    return "\n".join(parts) + "\n"


def _file(file: Outline) -> str:
    rows = "\n".join(f"- {_case(case)}" for case in file.cases)
    return f"**{file.name.partition('/')[2].replace('_', ' ')}** - {file.about}\n\n{rows}\n"


def _case(case: OutlineCase) -> str:
    if case.count == 1:
        return _shown(case.title)
    names = "; ".join(f"`{name}`" if re.search(r"[/$*<>|]", name) else name for name in case.names)
    return f"{_shown(case.title)} ({case.count}" + (f": {names})" if names else ")")


def _shown(title: str) -> str:
    return re.sub(r"[<>|]", lambda m: "\\" + m[0], re.sub(r"\$\d", "…", title))


def main() -> None:
    text = render()
    if "--check" not in sys.argv:
        DOCS.write_text(text)
    elif not DOCS.exists() or DOCS.read_text() != text:
        sys.exit("docs/sandbox.md is old: python -m tests.sandbox.conformance.docs")


if __name__ == "__main__":
    main()
