"""The plugin server is ready, of a version that serves the adapter, and has a control state of now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cli.doctor.checks.adapter import fits
from cli.doctor.model import ERROR, OK, SKIPPED, WARNING, Result, Server, World

NAME = "server"


def check(world: World) -> Iterator[Result]:
    """Each health port."""
    versions = {
        str(told["version"])
        for node in world.kongs
        for told in [node.available.get("kgate")]
        if isinstance(told, Mapping) and told.get("version")
    }
    for server in world.servers:
        yield from _one(server, versions)
    if not world.servers:
        do = "start it with --metrics-listen 127.0.0.1:9542 and give --server http://127.0.0.1:9542"
        yield Result(NAME, "", SKIPPED, "no health port of a plugin server was named", do)


def _one(server: Server, adapters: set[str]) -> Iterator[Result]:
    if server.error:
        do = "start `kgate serve` with --metrics-listen, or give the right --server"
        yield Result(NAME, server.url, ERROR, server.error, do)
        return
    ready = server.ready or {}
    for problem in ready.get("problems") or ():
        do = "see the server's log" + (
            "; is the issuer's jwks_url right and up?" if "issuer" in problem else ""
        )
        yield Result(NAME, server.url, ERROR, str(problem), do)
    for warning in ready.get("warnings") or ():
        yield Result(
            NAME, server.url, WARNING, str(warning), "see whether Redis answers, and the server's log"
        )
    for adapter in sorted(adapters):
        if server.version and not fits(adapter, server.version):
            said = f"it is {server.version}, Kong's adapter is {adapter}"
            yield Result(NAME, server.url, ERROR, said, "bring the server up to date first, then the adapter")
    refused = server.metrics.get("kgate_refused_peers_total", 0.0)
    if refused:
        do = "its log names uid and group of who asked: admit Kong's by --group (or --allow-uid)"
        yield Result(NAME, server.url, WARNING, f"{refused:g} connections were refused", do)
    if not (ready.get("problems") or ready.get("warnings")):
        yield Result(NAME, server.url, OK, f"ready{', version ' + server.version if server.version else ''}")
