"""Rules survive what no schema has looked at: configs of plugins that kgate does not know in full."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from decl.load import Text
from decl.project import open_project

NAMES = [
    "request-transformer", "response-transformer", "proxy-cache", "pre-function", "response-ratelimiting",
    "file-log", "my-own", "acl", "rate-limiting", "cors", "canary-router", "static-fallback", "passport",
]  # fmt: skip
FIELDS = [
    "add", "rename", "replace", "remove", "headers", "body", "json", "vary_headers", "access", "policy", "limit_by",
    "custom_fields_by_lua", "origins", "credentials", "upstream", "name", "rules", "cidrs", "responses", "on",
    "password", "redis", "token",
]  # fmt: skip
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=4), st.just("x-passport:$(a)")
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4)
    ),
    max_leaves=8,
)
configs = st.dictionaries(st.sampled_from(FIELDS), values, max_size=4)
plugins = st.lists(st.tuples(st.sampled_from(NAMES), configs), max_size=3)


@settings(max_examples=25, deadline=None)
@given(plugins, plugins)
def test_lint_never_fails(of_service: list, of_route: list) -> None:
    def entries(found: list) -> list:
        return [{"name": name, "config": config} for name, config in dict(found).items()]

    document = {
        "_format_version": "3.0",
        "tenants": [{"name": "t", "owner": "o"}],
        "services": [
            {
                "name": "s",
                "tenant": "t",
                "url": "http://s",
                "plugins": entries(of_service),
                "routes": [
                    {"name": "r", "paths": ["/r"], "tags": ["streaming"], "plugins": entries(of_route)}
                ],
            }
        ],
    }
    open_project([Text("f.json", json.dumps(document).encode())], {})
