"""Lint: what Kong would accept but should not be there.

One rule is one file in `rules/`, a module with ID, LEVEL ("error" or "warning"), a docstring with examples
for users, a pure `check(view)` that yields a Hit for each place and, where it has any, OPTIONS with their
defaults. The registry is the list here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, Protocol

from decl.findings import Level, Problem
from decl.lint.hit import Fix, Hit
from decl.lint.rules import (
    adapter_in_source,
    adapter_not_enabled,
    admin_api_exposed,
    admin_token_over_http,
    block_without_expiry,
    body_template,
    buffering_with_streaming,
    business_logic_in_snippet,
    business_logic_in_transformer,
    cors_any_origin_with_credentials,
    cors_without_options,
    dangling_upstream,
    duplicate_match,
    enterprise_entity,
    fallback_size,
    forgotten_canary_override,
    gate_plugin_on_consumer,
    hash_on_dashed_header,
    hash_on_nothing,
    health_check_never_ejects,
    host_not_lower_case,
    host_trailing_dot,
    http_on_token_route,
    inline_issuers,
    ip_literal_with_canary,
    ip_rule_without_trusted_ips,
    json_not_a_number,
    literal_secret,
    local_limit_on_many_nodes,
    lua_template_of_tenant,
    missing_owner,
    name_differs_by_case,
    no_passport,
    non_idempotent_retry,
    passive_check_alone,
    passport_replaced,
    passport_rewritten,
    plugin_not_enabled,
    plugin_on_wrong_scope,
    protected_fail_open,
    proxy_cache_with_fallback,
    proxy_cache_with_passport,
    rate_limit_local,
    regex_without_tilde,
    retry_budget,
    retry_without_health_check,
    route_shadowed,
    router_regex,
    secret_not_in_file,
    serverless_of_tenant,
    stale_canary_override,
    stream_route,
    tenant_host,
    tenant_limit,
    tenant_path,
    tenant_upstream,
    termination_without_expiry,
    unmatched_unseen,
    unnamed_credential,
    unnamed_route,
    unused_upstream,
    upstream_without_targets,
    user_limit_without_passport,
    yaml_on_key,
)
from decl.lint.view import State, View
from decl.model import Gateway
from decl.settings import Settings
from decl.source import Sources


class Rule(Protocol):
    """What a rule's module looks like."""

    ID: str
    LEVEL: Level
    __doc__: str | None

    def check(self, view: View) -> Iterable[Hit]:
        """Places where the expanded gateway breaks the rule."""
        ...


class Found(NamedTuple):
    """A hit as a problem, and the repair where there is a safe one."""

    problem: Problem
    fix: Fix | None


def _registry(*rules: Rule) -> dict[str, Rule]:
    found = {rule.ID: rule for rule in rules}
    if len(found) != len(rules):
        raise ValueError("two lint rules have the same ID")
    return found


RULES: dict[str, Rule] = _registry(
    adapter_in_source,
    adapter_not_enabled,
    admin_api_exposed,
    admin_token_over_http,
    block_without_expiry,
    body_template,
    buffering_with_streaming,
    business_logic_in_snippet,
    business_logic_in_transformer,
    cors_any_origin_with_credentials,
    cors_without_options,
    dangling_upstream,
    duplicate_match,
    enterprise_entity,
    fallback_size,
    forgotten_canary_override,
    gate_plugin_on_consumer,
    hash_on_dashed_header,
    hash_on_nothing,
    health_check_never_ejects,
    host_not_lower_case,
    host_trailing_dot,
    http_on_token_route,
    inline_issuers,
    ip_literal_with_canary,
    ip_rule_without_trusted_ips,
    json_not_a_number,
    literal_secret,
    local_limit_on_many_nodes,
    lua_template_of_tenant,
    missing_owner,
    name_differs_by_case,
    no_passport,
    non_idempotent_retry,
    passive_check_alone,
    passport_replaced,
    passport_rewritten,
    plugin_not_enabled,
    plugin_on_wrong_scope,
    protected_fail_open,
    proxy_cache_with_fallback,
    proxy_cache_with_passport,
    rate_limit_local,
    regex_without_tilde,
    retry_budget,
    retry_without_health_check,
    route_shadowed,
    router_regex,
    secret_not_in_file,
    serverless_of_tenant,
    stale_canary_override,
    stream_route,
    tenant_host,
    tenant_limit,
    tenant_path,
    tenant_upstream,
    termination_without_expiry,
    unmatched_unseen,
    unnamed_credential,
    unnamed_route,
    unused_upstream,
    upstream_without_targets,
    user_limit_without_passport,
    yaml_on_key,
)

REFUSED: Final = frozenset(
    (enterprise_entity.ID, gate_plugin_on_consumer.ID, plugin_on_wrong_scope.ID, router_regex.ID)
)
"""The rules about what stock Kong refuses. They are rules because other Kongs take it: Enterprise, another router."""

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    name: getattr(rule, "OPTIONS", {}) for name, rule in RULES.items()
}
"""Each rule's options with their defaults."""


def lint(
    gateway: Gateway,
    settings: Settings | None = None,
    sources: Sources | None = None,
    today: str = "",
    state: State | None = None,
    known_plugins: frozenset[str] = frozenset(),
    rules: Collection[str] = RULES,
) -> Iterator[Found]:
    """All hits of all rules that are on, on an expanded gateway.

    sources: where the values stand, for rules about how they are written. today: YYYY-MM-DD, for rules about
    dates. state: what the control state says, for rules about it. known_plugins: those with a schema. rules: the
    names of those that are wanted.
    """
    settings = settings or Settings()
    view = View(gateway, settings, sources, today, state, OPTIONS, known_plugins)
    for rule in RULES.values():
        level = settings.levels.get(rule.ID, rule.LEVEL)
        if level == "off" or rule.ID not in rules:
            continue
        for hit in rule.check(view):
            yield Found(Problem(hit.path, rule.ID, hit.message, level, hit.at_key, hit.first), hit.fix)
