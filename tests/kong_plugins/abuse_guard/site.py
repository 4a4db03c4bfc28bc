"""One route with scenarios, its analyst, and requests to it."""

from __future__ import annotations

from typing import Any

from kong_plugins.abuse_guard import trace
from kong_plugins.abuse_guard.analyst import Analyst
from kong_plugins.abuse_guard.config import parse
from kong_plugins.engine.analyst import Conclusion
from kong_plugins.engine.facts import Facts, Identity
from kong_plugins.engine.outcome import Outcome
from tests.kong_plugins import concerned

NOW = 1_700_000_000.0
IP = "203.0.113.7"
SIMPLE: dict[str, Any] = {
    "name": "many", "group_by": ["ip"], "capacity": 3, "leak": 0.5, "then": ["block"], "ttl": 100
}  # fmt: skip


class Site:
    """One route with this config, its analyst, and requests to it."""

    def __init__(self, *scenarios: dict[str, Any], **more: Any) -> None:
        self.config = parse({"scenarios": list(scenarios), **more})
        self.analyst = self.another()

    def another(self) -> Analyst:
        made = Analyst(b"s" * 16)
        made.configure([self.config])
        return made

    def outcome(
        self,
        ip: str = IP,
        path: str = "/",
        status: int | str = 200,
        method: str = "GET",
        user: str = "",
        token: str = "",
        agent: str = "Mozilla/5.0",
        reason: str = "",
        route: str = "shop",
        tenant: str = "t",
        digest: bytes = b"",
    ) -> Outcome:
        who = Identity("https://a", user, token, token=digest) if user else None
        headers = {"user-agent": agent} if agent else {}
        facts = Facts(
            "r", ip, "https", method, "h", path, path, route, "s", tenant, "", frozenset(), headers, who
        )
        assert self.config.scenarios is not None
        words = [
            trace.of_stranger(self.config.scenarios, facts),
            trace.of_identified(self.config.scenarios, facts),
        ]
        memo = " ".join(word for word in ("arm=b", *words) if word)
        return Outcome(route, "s", tenant, str(status), "", "1", "5", "service", reason, "", memo, ip)

    def send(self, count: int, now: float = NOW, step: float = 0.0, **more: Any) -> list[Conclusion]:
        found = []
        for number in range(count):
            given = {key: value(number) if callable(value) else value for key, value in more.items()}
            found += self.analyst.take(
                concerned.given(self.analyst, [self.outcome(**given)]), now + number * step
            )
        return found


def kinds(found: list[Conclusion]) -> list[str]:
    return [one.kind for one in found]
