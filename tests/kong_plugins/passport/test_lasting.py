"""The verdict of a passport that is handed out often is one and the same object, and never another passport's."""

from __future__ import annotations

import pytest

from kong_plugins.engine.lasting import Lasting
from kong_plugins.passport.config import parse
from kong_plugins.passport.core import LASTS_FROM, decide

from .test_core import NOW, make_state, make_token, request


def verdicts(state, times, now=NOW, token=None, **config):
    facts = request(f"Bearer {token or make_token()}")
    made = parse({"issuers": ["main"]} | config)
    return [decide(facts, made, state, now) for _ in range(times)]


def test_it_is_kept_from_the_fourth_request_on():
    found = verdicts(make_state(), LASTS_FROM + 2)
    assert [type(each) is Lasting for each in found] == [False] * (LASTS_FROM - 1) + [True] * 3
    assert all(each == found[0] for each in found)
    assert found[-1] is found[-2] is found[-3]


def test_a_new_passport_has_a_new_verdict():
    state = make_state()
    before = verdicts(state, LASTS_FROM)[-1]
    after = verdicts(state, LASTS_FROM, now=NOW + 30)[-1]
    assert type(before) is type(after) is Lasting
    assert before.service_headers != after.service_headers


def test_another_user_has_his_own():
    state = make_state()
    one = verdicts(state, LASTS_FROM + 1)[-1]
    other = verdicts(state, LASTS_FROM + 1, token=make_token(sub="user-2"))[-1]
    assert (one.identity.subject, other.identity.subject) == ("user-1", "user-2")
    assert one.service_headers != other.service_headers


def test_under_another_header_it_is_another_one():
    state = make_state()
    verdicts(state, LASTS_FROM)
    found = verdicts(state, LASTS_FROM, header="X-Who")[-1]
    assert found.service_headers[0][0] == "X-Who"


@pytest.mark.parametrize("config", [{"reuse_for": 0}, {"forward_token": False}])
def test_what_is_of_each_request_is_not_kept(config):
    assert all(type(each) is not Lasting for each in verdicts(make_state(), LASTS_FROM + 2, **config))
