"""What became of the requests is told to the plugin server, once each and soon."""

import pytest

from tests.e2e.client import Client, undisturbed
from tests.e2e.gateway import Gateway, steady, token, wait_until


@pytest.mark.parametrize(
    ("path", "with_token", "labels"),
    [
        ("/secure/echo", True, {"status": "2xx", "source": "service"}),
        ("/secure/status/500", True, {"status": "5xx", "source": "service"}),
        ("/refused/echo", True, {"status": "2xx", "source": "error"}),
        ("/all/echo", False, {"status": "4xx", "source": "kgate"}),
    ],
)
def test_a_lone_request_is_told_within_300_ms_and_counts_once(
    gateway: Gateway, client: Client, path: str, with_token: bool, labels: dict[str, str]
) -> None:
    labels = {**labels, "route": path.split("/")[1]}

    def told() -> float:
        return gateway.metric("kgate_outcomes_total", **labels)

    def more() -> float:
        before = steady(told)  # what other tests have sent has arrived
        client(path, token=token() if with_token else None)
        wait_until(lambda: told() > before, 0.3, "the outcome")
        return steady(told) - before

    assert undisturbed(client, more) == 1, "four plugins on a route, one outcome"


def test_a_decision_is_counted_once_whatever_the_number_of_plugins(gateway: Gateway, client: Client) -> None:
    def decided() -> float:
        return gateway.metric("kgate_requests_total", route="all")

    def more() -> float:
        before = steady(decided)  # workers report twice a second
        for _ in range(3):
            client("/all/echo", token=token())
        wait_until(lambda: decided() >= before + 3, 2, "the workers' reports")
        return steady(decided) - before

    assert undisturbed(client, more) == 3
