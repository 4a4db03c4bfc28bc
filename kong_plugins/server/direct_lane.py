"""The pdk lane as today's adapter speaks it: the server calls the adapter's own functions in Kong's PDK table.

    Kong                       server
    HandleEvent(InstanceId) -> kong.kgate.step(config id)      EventId = InstanceId = config id
    Step([facts, ids])      -> kong.kgate.verdict(packed verdict)

Neither function returns where nothing more is to be said: the event ends without another message (direct.lua). The
verdict is asked for within `step`, on the connections that a worker's requests share (`I`, express_lane.py): a plugin
takes one message. Where there is no such connection `step` returns, and `Step` asks. As in pdk_lane.py each message
tells all that is needed to answer it.
"""

from __future__ import annotations

from typing import Any

from kong_plugins.engine.problem import problem
from kong_plugins.engine.verdict import in_order, unknown_ids
from kong_plugins.server.decided import Decided
from kong_plugins.server.decider import UnknownConfig
from kong_plugins.server.frames import pack
from kong_plugins.server.pdk_lane import PdkLane, RpcError, exit_args, identifier

_UNGUARDED = problem(
    503, "unguarded", "The gateway's guard is not enabled: this route is switched off.", ""
)  # as the adapter says it
STEP, VERDICT = "kong.kgate.step", "kong.kgate.verdict"


class DirectLane(PdkLane):
    """Answers RPC calls; keeps nothing of its own."""

    def _first(self, instance_id: int) -> Any:
        return {"Method": STEP, "Args": [instance_id]}

    def _next(self, event_id: int, record: Any) -> Any:
        if record is None:
            # Kong does not know the function: it runs without the adapter, and nobody would hold the request back
            return {"Method": "kong.response.exit", "Args": exit_args(_UNGUARDED)}
        if (
            not isinstance(record, list)
            or len(record) != 2
            or not all(isinstance(part, list) for part in record)
        ):
            raise RpcError("malformed step")
        facts, said = record
        self._known(event_id)
        try:
            ids = [identifier(value) for value in said]
        except RpcError as error:
            raise RpcError("malformed step") from error  # "no plugin instance" would have Kong start it again
        try:
            return self._verdict(ids, facts)
        except UnknownConfig:
            # of another plugin: the server was restarted. As an error it would have Kong start this plugin again and
            # again, which changes nothing: the adapter has all of them say their ids anew
            return _call(unknown_ids(str(facts[1])))

    def message(self, ids: list[int], decided: Decided) -> Any:
        """What Kong is to call with a verdict, of whatever kind."""
        return _call(decided[1])


def _call(wire: dict[str, Any]) -> dict[str, Any]:
    return {"Method": VERDICT, "Args": [bytes(pack(in_order(wire)))]}
