"""The Lua that Kong has is this version's: its folder where it can be read, its version where Kong tells it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cli.doctor.model import ERROR, OK, SKIPPED, WARNING, Adapter, Result, World

NAME = "adapter"
_COPY = "copy the folder of this kgate again (kong_plugins/adapter) and reload Kong"


def check(world: World) -> Iterator[Result]:
    """Folders, then what nodes tell."""
    for found in world.adapters:
        yield from _folder(found)
    for node in world.kongs:
        told = node.available.get("kgate")
        version = str(told.get("version") or "") if isinstance(told, Mapping) else ""
        if not version:
            continue  # the check of the plugins says that it is missing
        yield _version(node.url, version, world.version)
    if not world.adapters:
        yield Result(
            NAME,
            "",
            SKIPPED,
            "the adapter's folder is not on this machine",
            "run doctor there, or give --adapter-dir",
        )


def _folder(found: Adapter) -> Iterator[Result]:
    target = str(found.path)
    if not found.there:
        do = "mount the adapter's folder there (`kgate kong-env --adapter-dir` prints the settings for it)"
        yield Result(NAME, target, ERROR, "there is no adapter in it", do)
        return
    if found.missing:
        yield Result(NAME, target, ERROR, f"files are missing: {_few(found.missing)}", _COPY)
    if found.changed:
        yield Result(NAME, target, ERROR, f"files are another version's: {_few(found.changed)}", _COPY)
    if found.extra:
        said = f"files that are not kgate's: {_few(found.extra)}"
        yield Result(NAME, target, WARNING, said, "Kong would load them; take them out")
    if not (found.missing or found.changed or found.extra):
        yield Result(NAME, target, OK, "is this version's, file for file")


def _few(names: object) -> str:
    listed = sorted(map(str, names))  # type: ignore[call-overload]
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")


def fits(adapter: str, server: str) -> bool:
    """A server serves the adapter of its own minor version and of the one before."""
    try:
        one, other = ([int(part) for part in text.split(".")[:2]] for text in (adapter, server))
    except ValueError:
        return adapter == server
    return one[0] == other[0] and len(one) == len(other) == 2 and one[1] in (other[1], other[1] - 1)


def _version(target: str, adapter: str, server: str) -> Result:
    if fits(adapter, server):
        return Result(NAME, target, OK, f"Kong has adapter {adapter}, this kgate is {server}")
    said = f"Kong has adapter {adapter}, this kgate is {server}"
    do = "a server serves the adapter of its own version and of the one before: bring the server up to date first"
    return Result(NAME, target, ERROR, said, do)
