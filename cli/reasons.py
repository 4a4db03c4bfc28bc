"""The reason ids: what each says, and where to look next. They stand in the body of a refusal, in Kong's log, in the
metrics and in `kgate events`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

_BY_URL = "kgate explain --url URL --ip ADDRESS --token TOKEN"


class Reason(NamedTuple):
    """Who gives it (a plugin, or `gateway`: the guard in Kong and the plugin server), with which status (None: the
    request goes on), what it says, and the command that says more."""

    plugin: str
    status: int | None
    meaning: str
    see: str


def _all(plugin: str, rows: Iterable[tuple[str, int | None, str, str]]) -> dict[str, Reason]:
    return {name: Reason(plugin, status, meaning, see or _BY_URL) for name, status, meaning, see in rows}


REASONS: Mapping[str, Reason] = {
    **_all("abuse-guard", (
        ("ip_blocked", 403, "the address, or a network around it, is blocked", "kgate block check ADDRESS"),
        ("agent_blocked", 403, "the User-Agent holds a text that is blocked", "kgate block list"),
        ("user_blocked", 403, "the verified user is blocked", "kgate block list"),
        ("token_blocked", 403, "the verified token is blocked, by its id or its hash", "kgate block list"),
        ("ip_denied", 403, "the address is in the config's deny or deny_lists", ""),
        ("user_denied", 403, "the verified user is in one of the config's deny_lists", ""),
        ("ip_unreadable", 403, "Kong gave no address that can be read, so no rule could be matched", ""),
        ("rate_limited", 429, "a limit is reached; the detail names it, Retry-After says when to come again",
         "kgate limits list"),
        ("rate_limit_dry_run", None, "a limit with dry_run would have refused it", "kgate events list"),
        ("scenario_limited", 429, "a scenario with then: [limit] has slowed this client down", "kgate events list"),
    )),
    **_all("passport", (
        ("token_missing", 401, "there is no token", ""),
        ("token_malformed", 401, "the token is no signed JWT", ""),
        ("token_too_large", 401, "the token is longer than 8 KB", ""),
        ("token_encrypted", 401, "the token is encrypted (JWE)", ""),
        ("token_nested", 401, "the token holds another token", ""),
        ("token_ambiguous", 400, "there is more than one token", ""),
        ("token_forbidden", 403, "the route takes no token (mode: forbidden)", ""),
        ("header_not_allowed", 401, "the token's header asks for a key of its own, or for an extension", ""),
        ("algorithm_not_allowed", 401, "the issuer's rule does not allow the token's algorithm", ""),
        ("token_type_not_allowed", 401, "the issuer's rule does not allow the token's typ", ""),
        ("unknown_issuer", 401, "none of the route's issuers has the token's iss", ""),
        ("unknown_key", 401, "the issuer has no key of the token's kid", ""),
        ("bad_signature", 401, "the signature is not of the issuer's key", ""),
        ("token_expired", 401, "the token's exp is over", ""),
        ("token_not_yet_valid", 401, "the token's nbf or iat is in the future", ""),
        ("token_too_old", 401, "the token is older than the issuer's rule allows", ""),
        ("wrong_audience", 401, "the token's aud is none of the issuer's audiences", ""),
        ("claim_missing", 401, "the token lacks a claim that the issuer's rule wants", ""),
        ("claim_invalid", 401, "a claim of the token is not of the form or value that it must be", ""),
        ("token_revoked", 401, "the token was revoked, by its id", "kgate passport list"),
        ("subject_revoked", 401, "the user's tokens were revoked", "kgate passport list"),
        ("issued_before", 401, "all tokens that were issued before a moment were revoked", "kgate passport list"),
        ("token_inactive", 401, "the issuer says that the token is not active", ""),
        ("keys_unavailable", 503, "no keys of the issuer are known: it could never be asked", "kgate doctor"),
        ("no_signing_key", 503, "there is no key to sign passports with", "kgate keys list"),
        ("passport_too_large", 503, "the passport would be too large; the detail names the claim", ""),
        ("unknown_issuer_config", 503, "the config names an issuer that the plugin server does not know",
         "kgate doctor"),
        ("method_not_allowed", 405, "the route of the gateway's keys (mode: jwks) takes GET and HEAD", ""),
        ("jwks", 200, "the gateway's own public keys (mode: jwks)", ""),
    )),
    **_all("canary-router", (
        ("canary_denied", 403, "a rule with deny keeps this client out", ""),
        ("not_found", 404, "a rule with deny: 404 keeps this client out", ""),
        ("canary_user", None, "a user who is pinned to the canary", "kgate canary why"),
        ("canary_cidr", None, "an address of the canary's networks", "kgate canary why"),
        ("canary_percent", None, "a user or device of the canary's share", "kgate canary why"),
        ("canary_claim", None, "a rule by a claim of the token", "kgate canary why"),
        ("canary_header", None, "a rule by a header", "kgate canary why"),
        ("canary_cookie", None, "a rule by a cookie", "kgate canary why"),
        ("canary_time", None, "a rule by the time", "kgate canary why"),
        ("canary_all", None, "a rule without a condition", "kgate canary why"),
        ("canary_paused", None, "the canary is paused: control", "kgate canary show"),
        ("canary_aborted", None, "the canary was aborted: control", "kgate canary show"),
        ("canary_away", None, "the rule's upstream has no targets: control", "kgate canary show"),
    )),
    **_all("static-fallback", (
        ("fallback_forced", None, "an operator forces the prepared answer", "kgate fallback list"),
        ("fallback_open", None, "the circuit breaker is open", "kgate breaker show"),
    )),
    **_all("gateway", (
        ("no_verdict", 503, "the plugin server gave no verdict in time", "kgate doctor"),
        ("server_away", 503, "the plugin server cannot be reached", "kgate doctor"),
        ("breaker_open", 503, "the plugin server has not answered lately, and is asked again only now and then",
         "kgate doctor"),
        ("unprotected", 503, "the route must have passport and has not: it is switched off", "kgate drift"),
        ("unguarded", 503, "the plugin kgate is not enabled in Kong: the route is switched off", "kgate doctor"),
        ("unreadable", 503, "the guard cannot read how this Kong protects the route: it is switched off",
         "kgate doctor"),
        ("adapter_error", 503, "the adapter failed on this request; Kong's error log says where", "kgate doctor"),
        ("no_upstream", None, "the upstream of the verdict is not known to Kong: the service was asked instead",
         "kgate drift"),
        ("bad_config", 503, "a plugin config on the route cannot be used; the server's log says why",
         "kgate validate"),
        ("no_state", 503, "the plugin server has no control state yet: Redis is away and nothing was saved",
         "kgate doctor"),
        ("bad_facts", 503, "adapter and plugin server are of versions that do not fit", "kgate doctor"),
        ("deadline", 503, "the decision took too long", "kgate doctor"),
        ("filter_error", 503, "a filter failed; the server's log has the trace", "kgate doctor"),
        ("unanswered", 503, "what the decision asked for was asked again after its answer", "kgate doctor"),
    )),
}  # fmt: skip
