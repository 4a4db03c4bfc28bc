"""Redis scripts of the control state. A batch of changes is one script: the changes, the version, the log, the
audit event and the message to the subscribers happen together or not at all."""

from __future__ import annotations

from importlib.resources import files


def source(name: str) -> str:
    """The Lua text of a script."""
    return files(__name__).joinpath(f"{name}.lua").read_text("utf-8")
