"""docs/lint.md, written from the rules: `python -m decl.lint.docs docs/lint.md`."""

from __future__ import annotations

import sys
from pathlib import Path

from decl.lint import OPTIONS, RULES

_HEAD = """# Lint rules

<!-- written by `python -m decl.lint.docs docs/lint.md` from the rules in decl/lint/rules/ -->

`kgate lint` looks for what Kong would accept but should not be there. `kgate lint --explain RULE` prints
one rule's part of this page. Every rule says what it was made for: a measurement on Kong 3.9.3, a standard,
or a thread.

Switch a rule off, change its level or its options in `.kgate.yaml`, beside the files or above them in the
repository:

```yaml
rules:
  no-passport: error
  unused-upstream: off
  retry-budget: {level: warning, seconds: 30}
ignore: ["legacy/**"]          # files whose lint findings are not wanted
fail_on: warning               # exit code 4 for warnings too; or --strict
env_prefixes: [DECK_, SHOP_]   # what ${{ env "X" }} and !env may name
schemas: .kgate/schemas        # the pack that `kgate schema pull` wrote
plugins: [my-plugin]           # further plugins that the nodes have
```

or for a place in a file:

```yaml
url: http://10.0.0.1  # kgate disable-line ip-literal-with-canary
# kgate disable-line unnamed-route          (alone on its line: the next line is meant)
# kgate disable no-passport                 (until `# kgate enable no-passport` or the file's end)
# kgate disable-file retry-budget
```

What Kong would refuse (`kgate validate`) cannot be switched off. `--fix` repairs what has a safe repair.

"""


def text() -> str:
    """The whole page."""
    table = ["| rule | level | about |", "| --- | --- | --- |"]
    parts = []
    for rule in RULES.values():
        title, _, body = (rule.__doc__ or "").strip().partition("\n\n")
        table.append(f"| [{rule.ID}](#{rule.ID}) | {rule.LEVEL} | {title} |")
        parts.append(f"## {rule.ID}\n\n**{title}** Level: {rule.LEVEL}.\n\n{_body(body)}{_options(rule.ID)}")
    return _HEAD + "\n".join(table) + "\n\n" + "\n".join(parts)


def _body(body: str) -> str:
    lines = []
    for block in body.split("\n\n"):
        head, _, example = block.partition("\n")
        if head in ("PASS:", "FAIL:"):
            code = "\n".join(line.removeprefix("    ") for line in example.splitlines())
            lines.append(f"{head.capitalize()}\n\n```yaml\n{code}\n```\n")
        else:
            lines.append(f"{block}\n")
    return "\n".join(lines)


def _options(name: str) -> str:
    if not OPTIONS[name]:
        return ""
    listed = ", ".join(f"`{key}: {str(value).lower()}`" for key, value in OPTIONS[name].items())
    return f"\nOptions, with their defaults: {listed}.\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(text(), encoding="utf-8")
