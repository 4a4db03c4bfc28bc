"""Whatever is asked on a socket is answered, or ends its connection: no message raises."""

from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kong_plugins.engine.registry import PLUGINS
from kong_plugins.server.decider import Decider
from kong_plugins.server.direct_lane import DirectLane
from kong_plugins.server.express_lane import ExpressLane, ExpressProtocol
from kong_plugins.server.frames import LATER, OWED, Connections, FrameProtocol, unpacker
from kong_plugins.server.outcomes import Outcomes
from kong_plugins.server.pdk_lane import PdkLane, PdkProtocol

FACTS = [1, "r1", "198.51.100.7", "http", "GET", "h", "/", "/", "orders", "order", "food", "", ""]
KEYS = st.sampled_from(
    ["InstanceId", "EventId", "EventName", "Data", "Name", "Config", "v", "f", "g", "ids", "k", "n"]
)
WORDS = st.sampled_from(["r1", "access", "{}", "[]", "0" * 32, *PLUGINS])
SINGLE = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | WORDS | st.binary(max_size=5)
)
ANY = st.recursive(
    SINGLE | st.just(FACTS), lambda each: st.lists(each, max_size=4) | st.dictionaries(KEYS, each, max_size=5)
)
CALLS = st.sampled_from(["HandleEvent", "Step", "StartInstance", "CloseInstance", "GetPluginInfo"])
CALL = st.tuples(
    st.just(0), SINGLE, CALLS.map("plugin.{}".format), st.lists(st.dictionaries(KEYS, ANY), max_size=2) | ANY
)
REQUEST = st.tuples(st.sampled_from("dprooMImi"), st.lists(ANY, max_size=4)).map(
    lambda each: [each[0], *each[1]]
)

LANES: dict[str, tuple[Callable[[Decider, Connections], FrameProtocol], st.SearchStrategy[Any]]] = {
    "express": (
        lambda decider, home: ExpressProtocol(ExpressLane(decider, Outcomes().take), "express", home),
        REQUEST | ANY,
    ),
    "pdk": (lambda decider, home: PdkProtocol(PdkLane(decider), "passport", home), CALL | ANY),
    "direct": (lambda decider, home: PdkProtocol(DirectLane(decider), "passport-direct", home), CALL | ANY),
}


@pytest.mark.parametrize("lane", LANES)
def test_any_message_is_answered_or_ends_the_connection(decider: Decider, lane: str) -> None:
    protocol, messages = LANES[lane]
    decider.register("abuse-guard", "{}")

    @settings(max_examples=70, deadline=None, suppress_health_check=list(HealthCheck))
    @given(messages)
    def ask(message: Any) -> None:
        reader = unpacker()
        reader.feed(msgpack.packb(message))
        (read,) = reader
        answer = protocol(decider, Connections(lambda: 0.0)).answer(read)
        assert answer is None or answer in (LATER, OWED) or isinstance(answer, bytes)

    ask()
