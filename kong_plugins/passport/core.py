"""Passport: who is it?

Verifies the client's bearer token against the issuers that the route names and gives the service a signed
passport in `X-Passport`. Answers 401 as problem details with `WWW-Authenticate` (RFC 6750) otherwise.
"""

from __future__ import annotations

from kong_plugins.engine.ask import Ask
from kong_plugins.engine.facts import Facts
from kong_plugins.engine.problem import problem
from kong_plugins.engine.verdict import Pairs, Verdict
from kong_plugins.identity.passports import PassportTooLarge
from kong_plugins.identity.tokens import TokenError
from kong_plugins.passport.config import PassportConfig
from kong_plugins.state.base import State

HEADER = "X-Passport"

_REVOKED = {
    "token_revoked": "The token was revoked.",
    "subject_revoked": "The tokens of this user were revoked.",
    "issued_before": "The token was issued before a time that the issuer's tokens must not be older than.",
}
"""Reasons of the control state's revocations (`kgate passport revoke`)."""


def decide(facts: Facts, config: PassportConfig, state: State, now: float) -> Verdict | Ask | None:
    """Verify the token and issue the passport. now is Unix time in seconds.

    A CORS preflight can carry no credentials: it passes without a token and gets no passport.
    """
    trust = state.trust
    if config.inline_issuers:
        allowed = trust.with_inline(config.inline_issuers)
        if allowed is None:
            detail = "A configuration of the gateway on this route cannot be used."
            return problem(503, "bad_config", detail, facts.request_id)
        trust = allowed
    if facts.is_preflight:
        return None
    if "authorization" in facts.truncated:
        return _refuse(facts, "token_too_large", "The Authorization header is too long.")
    token = _bearer(facts.headers.get("authorization", ""))
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
        revoked = state.snapshot.revocations.reason(
            identity.issuer, identity.subject, identity.token_id, identity.issued_at, now
        )
        if revoked:
            return _refuse(facts, revoked, _REVOKED[revoked])
        passport = trust.issue(identity, facts, config, now)
    except TokenError as error:
        if error.reason == "keys_unavailable":
            # not the client's fault: a 401 would make apps throw good tokens away
            retry = (("Retry-After", "5"),)
            return problem(503, error.reason, error.detail, facts.request_id, retry)
        return _refuse(facts, error.reason, error.detail)
    except PassportTooLarge:
        detail = "The claims of this user do not fit into a passport."
        return problem(503, "passport_too_large", detail, facts.request_id)
    headers: Pairs = ((HEADER, passport),)
    if not config.forward_token:
        headers += (("Authorization", ""),)  # a verdict can set headers, not remove them
    return Verdict(service_headers=headers, identity=identity)


def _bearer(value: str) -> str | None:
    """The token of a bearer Authorization; None when there is none or the scheme is another."""
    scheme, *rest = value.split(None, 1) or ("",)
    if scheme.lower() != "bearer":
        return None
    return rest[0].rstrip(" \t") if rest else ""


def _refuse(facts: Facts, reason: str, detail: str) -> Verdict:
    challenge = 'Bearer realm="kgate"'
    if reason != "token_missing":
        # RFC 6750, section 3: no error attribute when no token was sent
        challenge += f', error="invalid_token", error_description="{_quotable(detail)}"'
    return problem(401, reason, detail, facts.request_id, (("WWW-Authenticate", challenge),))


def _quotable(text: str) -> str:
    """Only the characters that RFC 6750, section 3 allows in error_description."""
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "?" for c in text)
