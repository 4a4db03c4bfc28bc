"""Passport: who is it?

Verifies the client's token against the issuers that the route names and gives the service a signed passport.
Answers 401 as problem details with `WWW-Authenticate` (RFC 6750) otherwise. With `mode: jwks` it is the route at
which verifiers get the gateway's public keys.
"""

from __future__ import annotations

import json

from kong_plugins.engine.ask import Ask
from kong_plugins.engine.facts import Facts, Identity
from kong_plugins.engine.lasting import lasting
from kong_plugins.engine.problem import problem
from kong_plugins.engine.verdict import Pairs, Verdict
from kong_plugins.identity.passports import PassportTooLarge
from kong_plugins.identity.ring import NoSigningKey
from kong_plugins.identity.tokens import TokenError
from kong_plugins.identity.trust import Trust
from kong_plugins.passport import source
from kong_plugins.passport.config import PassportConfig
from kong_plugins.state.base import State

HEADER = "X-Passport"
JWKS_SECONDS = 300
"""How long verifiers may keep our public keys; a key is published for longer than that before it signs."""

_REVOKED = {
    "token_revoked": "The token was revoked.",
    "subject_revoked": "The tokens of this user were revoked.",
    "issued_before": "The token was issued before a time that the issuer's tokens must not be older than.",
}
"""Reasons of the control state's revocations (`kgate passport revoke`)."""

ASK_KIND = "enrichment"
"""The ask of a token's first request for what the issuer knows of the user: the token's digest in hexadecimal digits,
and for how many seconds it may wait. The answer is nothing but the end of the wait."""

_UNAVAILABLE = frozenset({"keys_unavailable"})
LASTS_FROM = 4
"""So many times a passport is handed out until its verdict is kept: for the few requests of most users making it
costs less."""


def decide(facts: Facts, config: PassportConfig, state: State, now: float) -> Verdict | Ask | None:
    """Verify the token and issue the passport. now is Unix time in seconds.

    A CORS preflight can carry no credentials: it passes without a token and gets no passport.
    """
    found = _who(facts, config, state, now)
    if isinstance(found, Verdict | Ask):
        return found
    if found is None and (not config.anonymous_passport or facts.is_preflight):
        return None
    return _issue(facts, found, config, state, now)


def identify(facts: Facts, config: PassportConfig, state: State, now: float) -> Verdict | Ask | None:
    """The first half: an answer to the client, or a verdict with the identity alone; None for nobody."""
    found = _who(facts, config, state, now)
    if isinstance(found, Identity):
        return Verdict(None, "", (), (), "", "", "", "", "", found)  # by position: twice as quick
    return found


def _who(facts: Facts, config: PassportConfig, state: State, now: float) -> Verdict | Ask | Identity | None:
    trust = state.trust
    trust.follow(state.snapshot)
    if config.mode == "jwks":
        return _jwks(facts, trust, now)
    if config.inline_issuers:
        allowed = trust.with_inline(config.inline_issuers)
        if allowed is None:
            return _bad_config(facts)
        trust = allowed
    if facts.is_preflight:
        return None
    try:
        if config.authorization_alone:
            if "authorization" in facts.truncated:
                raise source.Truncated("authorization")
            token = source.bearer(facts.headers.get("authorization", ""))
        else:
            token = source.find(facts, config.places)
    except source.Truncated as error:
        return _refuse(facts, "token_too_large", f"The {error.name.title()} header is too long.")
    except source.Ambiguous:
        detail = "There is more than one token in the request."
        return _refuse(facts, "token_ambiguous", detail, 400, "invalid_request")
    if token is None:
        if config.mode == "required":
            return _refuse(facts, "token_missing", "This resource needs a bearer token.")
        return None
    if config.mode == "forbidden":
        return problem(403, "token_forbidden", "This resource takes no bearer token.", facts.request_id)
    for name in config.issuers:
        if not trust.has(name):
            detail = "The gateway does not know an issuer that this route names."
            return problem(503, "unknown_issuer_config", detail, facts.request_id)
    try:
        identity = trust.verify(token, config.issuers, now)
    except TokenError as error:
        if error.reason in _UNAVAILABLE:
            # not the client's fault: a 401 would make apps throw good tokens away
            retry = (("Retry-After", "5"),)
            return problem(503, error.reason, error.detail, facts.request_id, retry)
        return _refuse(facts, error.reason, error.detail)
    revocations = state.snapshot.revocations
    standing = trust.standing(revocations)
    if not identity.token or identity.token not in standing:
        revoked = revocations.reason(
            identity.issuer, identity.subject, identity.token_id, identity.issued_at, now
        )
        if revoked:
            return _refuse(facts, revoked, _REVOKED[revoked])
        if identity.token:  # without a digest nobody could tell it from another one
            standing.add(identity.token)
    if identity.level == "token_only" and ASK_KIND not in state.answers:
        wait = trust.wait_for(identity, now)
        if wait > 0:
            return Ask(ASK_KIND, ASK_KIND, (identity.token.hex(), wait), identity)
    return identity


def issue(facts: Facts, config: PassportConfig, state: State, now: float) -> Verdict | None:
    """The second half: the passport of the request's identity, and what the service must not see."""
    identity = facts.identity
    if identity is None and (not config.anonymous_passport or facts.is_preflight):
        return None
    return _issue(facts, identity, config, state, now)


def _issue(
    facts: Facts, identity: Identity | None, config: PassportConfig, state: State, now: float
) -> Verdict:
    trust = state.trust
    if config.inline_issuers:
        allowed = trust.with_inline(config.inline_issuers)
        if allowed is None:
            return _bad_config(facts)
        trust = allowed
    device = source.device_of(facts, identity, config.device_place) if config.device_place else ""
    try:
        passport = trust.issue(identity, facts, config, now, device)
    except PassportTooLarge as error:
        detail = f"The claims of this user do not fit into a passport, most of all {error.claim}."
        return problem(503, "passport_too_large", detail, facts.request_id)
    except NoSigningKey:
        detail = "The gateway has no key to sign passports with."
        return problem(503, "no_signing_key", detail, facts.request_id, (("Retry-After", "5"),))
    if not config.forward_token and identity is not None:
        return _verdict(identity, ((config.header, passport), *_dropped(facts, config)))
    if not config.reuse_for:
        return _verdict(identity, ((config.header, passport),))
    key = (passport, config.header)
    kept: Verdict | int | None = trust.handed_out.get(key)
    if isinstance(kept, Verdict):
        return kept
    verdict = _verdict(identity, ((config.header, passport),))
    times = 1 if kept is None else kept + 1
    if times == LASTS_FROM:
        verdict = lasting(verdict)
    trust.handed_out.put(key, verdict if times == LASTS_FROM else times)
    return verdict


def _verdict(identity: Identity | None, headers: Pairs) -> Verdict:
    return Verdict(None, "", (), headers, "", "", "", "", "", identity)


def _dropped(facts: Facts, config: PassportConfig) -> Pairs:
    """Takes the token away from the service, wherever it was looked for. An empty value removes a header."""
    dropped: dict[str, str] = {}
    for kind, name in config.places:
        if kind == "cookie":
            before = dropped.get("Cookie", facts.headers.get("cookie", ""))
            dropped["Cookie"] = source.without_cookie(before, name)
        else:
            dropped[name.title() if kind == "authorization" else name] = ""
    return tuple(dropped.items())


def _jwks(facts: Facts, trust: Trust, now: float) -> Verdict:
    """The public keys, for everybody."""
    if facts.method not in ("GET", "HEAD"):
        return problem(405, "method_not_allowed", "Use GET.", facts.request_id, (("Allow", "GET, HEAD"),))
    keys = trust.public_jwks(now)
    headers: Pairs = (
        ("Content-Type", "application/jwk-set+json"),
        ("Cache-Control", f"public, max-age={JWKS_SECONDS}"),
    )
    return Verdict(status=200, body=json.dumps(keys), headers=headers, reason="jwks")


def _bad_config(facts: Facts) -> Verdict:
    detail = "A configuration of the gateway on this route cannot be used."
    return problem(503, "bad_config", detail, facts.request_id)


def _refuse(
    facts: Facts, reason: str, detail: str, status: int = 401, error: str = "invalid_token"
) -> Verdict:
    challenge = 'Bearer realm="kgate"'
    if reason != "token_missing":
        # RFC 6750, section 3: no error attribute when no token was sent
        challenge += f', error="{error}", error_description="{_quotable(detail)}"'
    return problem(status, reason, detail, facts.request_id, (("WWW-Authenticate", challenge),))


def _quotable(text: str) -> str:
    """Only the characters that RFC 6750, section 3 allows in error_description."""
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "?" for c in text)
