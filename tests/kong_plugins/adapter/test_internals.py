"""Whether somebody may write the request's record to a log."""

from __future__ import annotations

import pytest

KGATE = '{ name = "kgate", handler = { log = f } }'
JWT = '{ name = "jwt", handler = { access = f } }'
FILE_LOG = '{ name = "file-log", handler = { log = f } }'


@pytest.mark.parametrize(
    ("ctx", "found"),
    [
        ("{ plugins = { ws = { plugins = { [0] = 0 } } } }", False),
        (f"{{ plugins = {{ ws = {{ plugins = {{ [0] = 2, {KGATE}, {JWT} }} }} }} }}", False),
        (f"{{ plugins = {{ ws = {{ plugins = {{ [0] = 3, {KGATE}, {JWT}, {FILE_LOG} }} }} }} }}", True),
        (f"{{ plugins = {{ ws = {{ plugins = {{ [0] = 2, {FILE_LOG}, {KGATE} }} }} }} }}", True),
        # of another form: there may be one
        ("{}", True),
        ("{ plugins = 1 }", True),
        ("{ plugins = {} }", True),
        ("{ plugins = { ws = {} } }", True),
        (f"{{ plugins = {{ ws = {{ plugins = {{ {JWT} }} }} }} }}", True),
        (f"{{ plugins = {{ ws = {{ plugins = {{ [0] = 2, {JWT} }} }} }} }}", True),
        ("{ plugins = { ws = { plugins = { [0] = 1, { name = 'jwt' } } } } }", True),
    ],
)
def test_loggers(world, ctx, found):
    look = world.module("kgate.internals").has_logger
    made = world.run(f"local f = function() end return {ctx}")
    assert look(made) is found
    assert look(made) is found, "and once more, from memory"
