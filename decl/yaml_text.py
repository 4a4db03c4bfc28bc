"""Documents as YAML text that people edit: order kept, short lists on one line, secrets as `!env NAME`."""

from __future__ import annotations

from typing import Any

import yaml

from decl import scalars
from decl.late import Late, Secret


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        return super().increase_indent(flow, indentless)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _late(dumper: yaml.SafeDumper, value: Late) -> yaml.Node:
    return dumper.represent_scalar(f"!{value.kind}", value.name)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    text = str.__str__(value)
    # PyYAML quotes what is no text in YAML 1.1; `08` and `1e3` are numbers in YAML 1.2 only
    style = "'" if not isinstance(scalars.plain(text), str) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _list(dumper: yaml.SafeDumper, value: list[Any]) -> yaml.Node:
    short = all(isinstance(item, str | int | float) for item in value) and len(str(value)) < 80
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=short)


_Dumper.add_representer(Late, _late)
_Dumper.add_representer(Secret, _text)
_Dumper.add_representer(str, _text)
_Dumper.add_representer(list, _list)


def to_yaml(document: Any) -> str:
    """The text. Words that YAML 1.1 and 1.2 read differently (on, no, 1:30) are quoted."""
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    return text
