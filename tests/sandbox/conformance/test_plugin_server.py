"""The plugin server of the cases keeps them apart."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Any

import msgpack

from tests.sandbox.conformance.plugin_server import PluginServer


def ask(connection: socket.socket, method: str, argument: Any) -> Any:
    connection.sendall(msgpack.packb([0, 1, method, [argument]]))
    return msgpack.unpackb(connection.recv(65536))[3]


def test_a_late_event_of_an_older_case_takes_no_answer_of_the_next(tmp_path: Path) -> None:
    with contextlib.closing(PluginServer(tmp_path)) as server, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(server.path))
        server.begin()
        start = {"Name": server.name, "Config": "{}"}
        old = ask(connection, "plugin.StartInstance", start)["Id"]
        server.begin()
        server.script([{"asked": "plugin.HandleEvent", "answer": {"Data": "mine"}}])
        event = {"InstanceId": old, "EventName": "log"}
        assert ask(connection, "plugin.HandleEvent", event)["Data"] == "ret"
        assert server.heard(closes=True) == []
        new = ask(connection, "plugin.StartInstance", start)["Id"]
        assert ask(connection, "plugin.HandleEvent", {**event, "InstanceId": new})["Data"] == "mine"
