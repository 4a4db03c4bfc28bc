"""Runs a case: sends its steps one after another and says what is not as it should be."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

from tests.pace import within
from tests.sandbox.conformance.case_files import Case, fill
from tests.sandbox.conformance.gateway import Answer, Gateway
from tests.sandbox.conformance.match import problems
from tests.sandbox.conformance.plugin_server import BUFFERED, NAME
from tests.sandbox.conformance.upstreams import Upstreams

_CREATED = re.compile(r"^(POST|PUT) /")


class Runner:
    """One case at a time. Entities that a case makes in DB mode are removed after it, the last first."""

    def __init__(self, gateway: Gateway, upstreams: Upstreams) -> None:
        self.gateway, self.upstreams = gateway, upstreams

    def run(self, case: Case) -> list[str]:
        """What is wrong, with the number of its step."""
        self.variables: dict[str, Any] = {
            **self.upstreams.variables(),
            "proxy": self.gateway.address("proxy"),
            "proxy_port": self.gateway.address("proxy").rpartition(":")[2],
            "proxy.port": int(self.gateway.address("proxy").rpartition(":")[2]),
        }
        self._made: list[str] = []
        self._patience = 0.2 if case.differs and not self.gateway.real else within(1.5)
        if "conf-r" in json.dumps([case.config, case.steps]):
            self.gateway.start_plugin_servers()
            for server in self.gateway.servers.values():
                server.begin()
        try:
            if case.config is not None:
                answer = self.gateway.configure(self._filled(case.config))
                if answer.status != 201:
                    return [f"config refused: {answer.body.decode()}"]
            for number, step in enumerate(case.steps, 1):
                found = self._step(self._filled(step))
                if found:
                    return [f"step {number}: {text}" for text in found]
            return []
        finally:
            for path in reversed(self._made):
                self.gateway.send("admin", "DELETE", path, [])

    def _filled(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self._filled(k): self._filled(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self._filled(v) for v in value]
        return fill(value, self.variables) if isinstance(value, str) else value

    def _step(self, step: dict[str, Any]) -> list[str]:
        if "config" in step:
            answer = self.gateway.configure(step["config"])
            return self._judge(step, answer) if set(step) > {"config"} else _refused(answer)
        deadline = time.monotonic() + (within(float(step["within"])) if "within" in step else 0)
        while True:
            found = self._once(step)
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.02)

    def _once(self, step: dict[str, Any]) -> list[str]:
        self.upstreams.seen.clear()
        if step.get("leaves"):
            return self._leave(step)
        if "calls" in step or "log_calls" in step:
            step = {**step, "rpc": _script(step)}
        server = self.gateway.servers.get(BUFFERED if step.get("rpc", [{}])[:1] == ["response"] else NAME)
        rpc = [each for each in step.get("rpc", []) if isinstance(each, dict)]
        if server is not None:
            server.script(rpc)
        counts: dict[str, int] = {}
        for _ in range(step.get("times", 1)):
            before = len(self.upstreams.seen)
            answer = self._send(step)
            went = self.upstreams.seen[before:]
            key = went[-1].upstream if went and answer.status < 500 else str(answer.status)
            counts[key] = counts.get(key, 0) + 1
        found = self._judge(step, answer)
        if "counts" in step:
            found += problems(step["counts"], counts, "counts")
        if "rpc" in step and server is not None:
            want, full = _wanted([each for each in rpc if not each.get("maybe")]), _wanted(rpc)
            closes = any(w["method"] == "plugin.CloseInstance" for w in want)
            got = server.wait(len(want), closes, self._patience)
            time.sleep(0.02)  # nothing more may come
            if [g["method"] for g in got] != [w["method"] for w in want] and full != want:
                want, got = full, server.wait(len(full), closes, self._patience)
            found += problems([{"method": w["method"]} for w in want], server.heard(closes), "rpc")
            found += [
                text
                for w, g in zip(want, got, strict=False)
                if w["with"]
                for text in problems(w["with"], g["with"], f"rpc {w['method']}")
            ]
        return found

    def _leave(self, step: dict[str, Any]) -> list[str]:
        """A client that closes its connection when the upstream has the request: that is to be given up."""
        ended = self.upstreams.ended
        with self.gateway.connect("proxy") as connection:
            connection.sendall(f"{step['proxy']} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            if not _soon(lambda: bool(self.upstreams.seen)):
                return ["nothing came to the upstream"]
        return [] if _soon(lambda: self.upstreams.ended > ended) else ["the upstream's request goes on"]

    def _send(self, step: dict[str, Any]) -> Answer:
        if "raw" in step:
            return self.gateway.raw("proxy", step["raw"].replace("\n", "\r\n").encode("latin-1"))
        to = "admin" if "admin" in step else "proxy"
        method, _, path = step[to].partition(" ")
        headers = step.get("headers") or {}
        pairs = [(n, str(v)) for n, v in (headers.items() if isinstance(headers, dict) else headers)]
        body: bytes | None = None
        if "body" in step:
            body = json.dumps(step["body"]).encode()
            if not any(name.lower() == "content-type" for name, _ in pairs):
                pairs.append(("Content-Type", "application/json"))
        elif "text" in step:
            body = step["text"].encode("latin-1") * step.get("repeat", 1)
        answer = self.gateway.send(to, method, path, pairs, body)
        if to == "admin" and self.gateway.mode != "dbless" and _CREATED.match(step["admin"]):
            self._remember(path, answer)
        return answer

    def _remember(self, path: str, answer: Answer) -> None:
        entity = answer.json
        if answer.status not in (200, 201) or not isinstance(entity, dict) or "id" not in entity:
            return
        parts = path.partition("?")[0].strip("/").split("/")
        if parts[0] in ("schemas", "config") or parts[-1] in ("service", "consumer"):
            return
        made = path.partition("?")[0] if answer.status == 201 else "/" + "/".join(parts[:-1])
        made = f"{made}/{entity['id']}"
        if made not in self._made:
            self._made.append(made)

    def _judge(self, step: dict[str, Any], answer: Answer) -> list[str]:
        found = []
        if "status" in step:
            found += problems(step["status"], answer.status, "status")
            if found:
                return [f"{found[0]}: {answer.body[:300].decode('latin-1')}"]
        if "json" in step:
            found += problems(step["json"], answer.json, "json")
        if "content" in step:
            found += problems(step["content"], answer.body.decode("latin-1"), "content")
        if "got" in step:
            found += problems({k.lower(): v for k, v in step["got"].items()}, answer.headers, "header")
        if "tries" in step:
            found += problems(step["tries"], [seen.upstream for seen in self.upstreams.seen], "tries")
        if "seen" in step:
            last = self.upstreams.seen[-1].shape() if self.upstreams.seen else {}
            found += problems(_lower(step["seen"]), last, "seen")
        if "min_seconds" in step and answer.seconds < step["min_seconds"]:
            found.append(f"answered after {answer.seconds:.3f} s")
        for name, path in step.get("save", {}).items():
            value: Any = answer.json
            for part in str(path).split("."):
                value = value[int(part)] if part.isdigit() else (value or {}).get(part)
            self.variables[name] = value
        return found


def _script(step: dict[str, Any]) -> list[dict[str, Any]]:
    """`calls`: [METHOD, ARGUMENTS, kind of the Step with the result, result] one after another, in one event."""
    script: list[dict[str, Any]] = [{"asked": "plugin.StartInstance"}] if step.get("starts", True) else []
    for phase, calls in (("access", step.get("calls", [])), ("log", step.get("log_calls", []))):
        asked: dict[str, Any] = {"asked": "plugin.HandleEvent", "with": {"EventName": phase}}
        for method, args, kind, result in calls:
            script.append({**asked, "answer": {"EventId": 7, "Data": {"Method": method, "Args": args}}})
            asked = {"asked": f"plugin.{kind}", "with": {"EventId": 7, "Data": result}}
        script.append({**asked, "answer": {"EventId": 7, "Data": "ret"}})
    return script


def _wanted(rpc: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"method": each["asked"], "with": each.get("with", {})} for each in rpc]


def _soon(true: Callable[[], bool], seconds: float = 20.0) -> bool:
    until = time.monotonic() + seconds
    while not true() and time.monotonic() < until:
        time.sleep(0.005)
    return true()


def _lower(want: dict[str, Any]) -> dict[str, Any]:
    headers = want.get("headers")
    return {**want, "headers": {k.lower(): v for k, v in headers.items()}} if headers else want


def _refused(answer: Answer) -> list[str]:
    return [] if answer.status == 201 else [f"config refused: {answer.body.decode()}"]
