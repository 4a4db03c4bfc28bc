"""A plugin server that says what a case tells it to, and writes down what Kong asked.

A case's step has `rpc`: a list of {asked: METHOD, with: {...}, answer: ...}; the answer goes to the next message of
that method. Answers: a value; {error: ...}; {wrong_id: true}; {close: true}; {garbage: true}; {silent: true};
{notice: [label, value], then: ...}. A message without one gets what keeps Kong going.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import threading
import time
from pathlib import Path
from typing import Any

import msgpack

NAME, BUFFERED = "conf-rpc", "conf-response"
"""Two plugins: one for access and log, one whose `response` phase makes Kong buffer."""
_FIELDS = [{"config": {"type": "record", "fields": [{"message": {"type": "string", "default": "m"}}]}}]


def info(name: str, phases: list[str]) -> list[dict[str, Any]]:
    """What the query command prints."""
    schema = {"name": name, "fields": _FIELDS}
    return [{"Name": name, "Phases": phases, "Version": "0.1.0", "Priority": 1700, "Schema": schema}]


class PluginServer:
    """Listens on `<name>.sock` of a folder, which must be empty of an older one."""

    def __init__(self, folder: Path, name: str = NAME) -> None:
        self.name = name
        self.path = folder / f"{name}.sock"
        self.asked: list[dict[str, Any]] = []
        self.answers: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._started = self._before = 0
        self._connections: set[socket.socket] = set()
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def begin(self) -> None:
        """A new case: what is asked of instances that were started until now is a late event of an older one."""
        with self._lock:
            self._before = self._started
        self.script([])

    def script(self, answers: list[dict[str, Any]]) -> None:
        """What to say from now on; what was asked is forgotten."""
        with self._lock:
            self.asked, self.answers = [], [dict(each) for each in answers]

    def heard(self, closes: bool) -> list[dict[str, Any]]:
        """What was asked; closes: with the old instances that Kong closed."""
        return [each for each in list(self.asked) if closes or each["method"] != "plugin.CloseInstance"]

    def wait(self, count: int, closes: bool, seconds: float) -> list[dict[str, Any]]:
        """What was heard, as soon as there is so much."""
        until = time.monotonic() + seconds
        while len(self.heard(closes)) < count and time.monotonic() < until:
            time.sleep(0.005)
        return self.heard(closes)

    def close(self) -> None:
        for each in (self._listener, *self._connections):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        unpacker = msgpack.Unpacker(unicode_errors="surrogateescape", strict_map_key=False)
        with contextlib.suppress(OSError), connection:
            while data := connection.recv(65536):
                unpacker.feed(data)
                for message in unpacker:
                    if not self._reply(connection, message):
                        return

    def _reply(self, connection: socket.socket, message: list[Any]) -> bool:
        kind, number, method, (argument,) = message
        with self._lock:
            shown = _text(argument)
            if method == "plugin.StartInstance":
                shown = {**shown, "Config": json.loads(argument["Config"])}
            found = None
            if method != "plugin.HandleEvent" or argument["InstanceId"] > self._before:
                self.asked.append({"method": method, "with": shown})
                found = next((each for each in self.answers if each["asked"] == method), None)
            if found is not None:
                self.answers.remove(found)
        assert kind == 0
        if found is None or "answer" not in found:
            return self._send(connection, [1, number, None, self._usual(method, argument)])
        answer = found["answer"]
        if isinstance(answer, dict) and "notice" in answer:
            self._send(connection, [2, *answer["notice"]])
            answer = answer.get("then", self._usual(method, argument))
        if isinstance(answer, dict) and answer.get("close"):
            return False
        if isinstance(answer, dict) and answer.get("garbage"):
            connection.sendall(b"\xc1\xc1\xc1")
            return True
        if isinstance(answer, dict) and "error" in answer:
            return self._send(connection, [1, number, answer["error"], None])
        if isinstance(answer, dict) and answer.get("wrong_id"):
            return self._send(connection, [1, number + 1000, None, self._usual(method, argument)])
        if isinstance(answer, dict) and answer.get("silent"):
            return True
        return self._send(connection, [1, number, None, answer])

    def _usual(self, method: str, argument: Any) -> Any:
        if method == "plugin.StartInstance":
            self._started += 1
            return {"Name": self.name, "Id": self._started, "Config": {}, "StartTime": 0}
        if method == "plugin.HandleEvent":
            return {"InstanceId": argument["InstanceId"], "EventId": 1, "Data": "ret"}
        if method == "plugin.CloseInstance":
            return {"Id": argument}
        return {"EventId": argument.get("EventId"), "Data": "ret"}

    @staticmethod
    def _send(connection: socket.socket, message: list[Any]) -> bool:
        connection.sendall(msgpack.packb(message, unicode_errors="surrogateescape"))
        return True


def _text(value: Any) -> Any:
    if isinstance(value, dict):
        return {_text(k): _text(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_text(v) for v in value]
    if isinstance(value, bytes):
        return f"bin:{value.decode('latin-1')}"
    if isinstance(value, str) and re.search("[\ud800-\udfff]", value):  # bytes that are no UTF-8
        return "raw:" + value.encode("utf-8", "surrogateescape").decode("latin-1")
    return value
