"""W3C trace context across the gateway."""

from tests.e2e.client import Client
from tests.e2e.gateway import Gateway, token

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def test_a_trace_goes_on_behind_the_gateway(gateway: Gateway, client: Client) -> None:
    headers = {"traceparent": PARENT, "tracestate": "shop=1"}
    assert client("/secure/echo", token=token("alice"), headers=headers).status == 200
    seen = gateway.upstreams["main"].seen[-1]
    (passed,) = seen.values("traceparent")
    assert passed.split("-")[1] == TRACE, (
        "the span may be new where Kong's own tracing is on, the trace is not"
    )
    assert seen.values("tracestate") == ["shop=1"]
