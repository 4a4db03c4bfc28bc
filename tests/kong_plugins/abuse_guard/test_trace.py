"""What travels in the memo: short, without clients' words, and read as it was written."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kong_plugins.abuse_guard import shipped, trace
from kong_plugins.abuse_guard.config import parse
from kong_plugins.engine.facts import Facts, Identity

SCENARIOS = parse({"scenarios": [{"use": name} for name in shipped.SCENARIOS]}).scenarios


def memo(who: Identity | None, path: str = "/login", agent: str = "sqlmap") -> str:
    assert SCENARIOS is not None
    headers = {"user-agent": agent}
    facts = Facts("r", "::1", "http", "POST", "h", path, path, "r", "s", "t", "", frozenset(), headers, who)
    words = (trace.of_stranger(SCENARIOS, facts), trace.of_identified(SCENARIOS, facts))
    return " ".join(word for word in words if word)


@pytest.mark.parametrize(
    ("who", "user", "token"),
    [
        (None, "", ""),
        (Identity("https://a", "alice", "t1"), "https://a|alice", "https://a|t1"),
        (Identity("https://a", "a b=c%|d", "x y"), "https://a|a b=c%|d", "https://a|x y"),
        (Identity("https://a", "#x", "#y"), "https://a|#x", "https://a|#y"),
    ],
)
def test_it_is_read_as_it_was_written(who: Identity | None, user: str, token: str) -> None:
    found = trace.read(f"b=1 {memo(who)} arm=x")
    assert found is not None
    assert (found.user, found.token) == (user, token)
    assert found.mask.bit_count() >= 3


def test_what_is_too_long_is_a_hash() -> None:
    who = Identity("https://a", "u" * 200, "t" * 80, token=b"\x12" * 16)
    found = trace.read(memo(who))
    assert found is not None
    assert found.user == trace.hash_of_user(who)
    assert found.user[0] == "#"
    assert found.token == trace.hash_of_token(who), "which is of one token of one issuer"
    other = trace.read(memo(who._replace(issuer="https://b", token=b"\x13" * 16)))
    assert other is not None
    assert other.user != found.user
    assert other.token != found.token


UUID = "6b5fa2f4-8a8e-4c26-9d0a-3f0f0f1c2d3e"


@pytest.mark.parametrize(
    ("issuer", "subject"),
    [
        ("https://login.shop.example.com/realms/customers", UUID),
        ("https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEfGhI", UUID),
        ("https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0", "s" * 43),
    ],
)
def test_usual_identity_providers_have_names_that_fit(issuer: str, subject: str) -> None:
    who = Identity(issuer, subject, UUID)
    found = trace.read(memo(who))
    assert found is not None
    assert (found.user, found.token) == (who.key, f"{issuer}|{UUID}")
    assert trace.hash_of_user(who) == ""


@pytest.mark.parametrize("token_id", ["", "t" * 41, "\x00"])
def test_a_token_without_a_short_id_is_known_by_its_hash(token_id: str) -> None:
    who = Identity("https://a", "alice", token_id, token=b"\x12" * 16)
    found = trace.read(memo(who))
    assert found is not None
    assert found.token == "https://a|" + trace.hash_of_token(who) == "https://a|#" + "12" * 8


@settings(deadline=None)
@given(st.text(), st.text(min_size=1), st.text(), st.text(), st.text())
def test_it_leaves_room_and_holds_no_word_of_a_client(
    issuer: str, subject: str, token_id: str, path: str, agent: str
) -> None:
    text = memo(Identity(issuer, subject, token_id), "/login" + path, agent)
    assert len(text) <= 210
    assert text.isascii()
    assert text.isprintable()
    assert text.count(" ") <= 2
    assert trace.read(text) is not None


def test_the_longest_names_leave_room_for_others() -> None:
    longest = Identity("https://" + "i" * 68, "s" * 43, "t" * 40)
    text = memo(longest, "/login" + "x" * 500, "sqlmap" * 100)
    assert "#" not in text
    assert len(text) <= 210


@given(st.text())
@settings(deadline=None)
def test_no_memo_breaks_the_reader(text: str) -> None:
    trace.read(text)
    trace.read(f"g={text}")
