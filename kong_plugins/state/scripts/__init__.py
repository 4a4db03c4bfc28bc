"""Redis scripts of the control state. Each change is one script: the change, the version and the message to
the subscribers happen together or not at all."""

from __future__ import annotations

from importlib.resources import files


def source(name: str) -> str:
    """The Lua text of a script, with the functions that all scripts share before it."""
    folder = files(__name__)
    return "".join(folder.joinpath(f"{part}.lua").read_text("utf-8") for part in ("shared", name))
