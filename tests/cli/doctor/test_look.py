"""What the doctor sees of this machine: folders, sockets, processes."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from pathlib import Path

import pytest

from cli.doctor.look_local import adapter_folders, look_at_adapter, look_at_machine, worker_of
from cli.doctor.model import Node
from cli.doctor.values import milliseconds, texts
from kong_plugins.kong_env import ADAPTER_DIR


def test_the_package_is_as_it_should_be(tmp_path: Path) -> None:
    found = look_at_adapter(ADAPTER_DIR, express=True)
    assert (found.missing, found.changed, found.extra, found.there) == ([], [], [], True)
    assert not look_at_adapter(tmp_path, express=False).there


def test_what_is_missing_changed_and_not_ours(tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    shutil.copytree(ADAPTER_DIR, folder, ignore=shutil.ignore_patterns("__pycache__", "*.py"))
    at = folder / "common/kong/plugins/kgate"
    (at / "guard.lua").unlink()
    handler = at / "handler.lua"
    handler.write_text(handler.read_text().replace("1900", "1800"))  # as long as before
    (at / "mine.lua").write_text("")
    found = look_at_adapter(folder, express=True)
    assert found.missing == ["common/kong/plugins/kgate/guard.lua"]
    assert found.changed == ["common/kong/plugins/kgate/handler.lua"]
    assert found.extra == ["common/kong/plugins/kgate/mine.lua"]
    shutil.rmtree(folder / "express")
    assert look_at_adapter(folder, express=False).missing == found.missing
    assert len(look_at_adapter(folder, express=True).missing) > 10


def test_the_folders_of_the_lua_path(tmp_path: Path) -> None:
    path = f"/nowhere/common/?.lua;{ADAPTER_DIR}/common/?.lua;{ADAPTER_DIR}/express/?.lua;./common/?.lua;;"
    node = Node("http://n", {"configuration": {"lua_package_path": path}})
    assert adapter_folders([node, node], None) == [ADAPTER_DIR]
    assert adapter_folders([node], tmp_path) == [tmp_path]
    assert adapter_folders([], None) == []


def test_a_run_dir(tmp_path: Path) -> None:
    assert look_at_machine(tmp_path / "no", False, None).folder is None
    path = tmp_path / "express.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        dead = look_at_machine(tmp_path, True, None)
        assert [(each.name, bool(each.entry), bool(each.error)) for each in dead.sockets][:2] == [
            ("express", True, True),
            ("abuse-guard-direct", False, False),
        ]
        listener.listen()

        def close_at_once() -> None:
            listener.accept()[0].close()

        thread = threading.Thread(target=close_at_once)
        thread.start()
        refused = look_at_machine(tmp_path, False, None).sockets
        thread.join(30)
    assert len(refused) == 1
    assert refused[0].error
    assert refused[0].entry is not None
    assert refused[0].entry.uid == os.getuid()


def test_who_kongs_workers_are() -> None:
    # a process of this machine that is no nginx is not taken for Kong's
    info = {"hostname": socket.gethostname(), "pids": {"workers": [os.getpid()]}}
    assert (
        worker_of([Node("n", info), Node("n", {"pids": []}), Node("n", {"pids": {"workers": ["x"]}})], None)
        is None
    )
    named = worker_of([], "10542")
    assert named is not None
    assert named.gids == {10542}
    with pytest.raises(LookupError):
        worker_of([], "no-such-group-here")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("300ms", 300),
        ("2s", 2000),
        ("1m", 60_000),
        ("60", 60_000),
        ("", None),
        (None, None),
        ({}, None),
        ("x", None),
    ],
)
def test_nginxs_times(text: object, expected: float | None) -> None:
    assert milliseconds(text) == expected


def test_an_empty_lua_table_is_an_empty_list() -> None:
    assert texts({}) == texts(None) == []
    assert texts(["a", 1]) == ["a"]
