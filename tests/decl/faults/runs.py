"""What the fault tests apply, also in a process of its own (tests.decl.faults.killed)."""

from __future__ import annotations

import os
from contextlib import ExitStack

from cli.main import main
from decl.admin import AdminClient
from decl.apply import Strategy, push
from decl.apply_db import Applied, apply
from decl.build import build
from decl.change import Diff
from decl.diff import diff
from decl.flatten import Flat, flatten
from decl.live import read_live, schemas_of
from decl.load import Text, load
from decl.render import Rendered, render
from decl.retry import Patience, Sender
from decl.source import Sources
from decl.tenants import expand

OLD = """_format_version: "3.0"
services:
- {name: gone, url: "http://gone", routes: [{name: gone, paths: [/gone], plugins: [{name: cors}]}]}
- {name: kept, url: "http://kept", routes: [{name: kept, paths: [/kept]}], plugins: [{name: key-auth}]}
upstreams: [{name: up, targets: [{target: "192.0.2.1:80"}, {target: "192.0.2.2:80"}]}]
consumers: [{username: kim, keyauth_credentials: [{name: k, key: sesame}]}]
"""
NEW = """_format_version: "3.0"
services:
- {name: kept, url: "http://kept", retries: 1, routes: [{name: kept, paths: [/kept2]}]}
- {name: come, url: "http://come", routes: [{name: come, paths: [/come]}], plugins: [{name: cors}]}
upstreams: [{name: up, targets: [{target: "192.0.2.1:80", weight: 5}, {target: "192.0.2.3:80"}]}]
consumers: [{username: lee}]
"""
QUICK = Patience(tries=3, pause=0.001, busy=5)


def wanted(text: str) -> Flat:
    return flatten(render(expand(build(load([Text("f", text.encode())]).document)), "default").document)


def changes(client: AdminClient, text: str) -> Diff:
    return diff(wanted(text), read_live(client), schemas_of(client))


def apply_all(client: AdminClient, text: str, workers: int) -> Applied:
    """Bring a database to what a text says."""
    found = changes(client, text)
    return apply(found.changes, Sender(client, QUICK), schemas_of(client), workers=workers)


def apply_at(url: str, text: str, workers: int) -> None:
    """As `apply_all`, in a process of its own."""
    with AdminClient(url) as client:
        apply_all(client, text, workers)


def push_to(urls: list[str], new: Rendered, strategy: Strategy) -> None:
    """Push a config to DB-less nodes, in a process of its own."""
    with ExitStack() as stack:
        clients = [stack.enter_context(AdminClient(url)) for url in urls]
        push(clients, new, Sources(()), strategy=strategy, last_good=lambda node, held: None)


def kgate(arguments: list[str], history: str) -> None:
    """Run kgate with its history in a folder, in a process of its own."""
    os.environ["KGATE_HISTORY"] = history
    os.environ.pop("REDIS_URL", None)
    main(arguments)
