"""The control state on disk: what is believed, and what is not."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from kong_plugins.state.build_image import build_image
from kong_plugins.state.deltas import Delta, delta_of
from kong_plugins.state.files import StateFiles, make_state_dir, scratch_image, state_key, write_scratch
from kong_plugins.state.image import Image, StateFileError, sealed_memfd
from kong_plugins.state.overlay import pack_changes
from kong_plugins.state.records import Delete, Put, Record, StateDump

KEY = b"k" * 32


def image(version: int, *values: str, key: bytes = KEY, namespace: str = "shop") -> bytes:
    records = {"blocks": [Record("blocks", f"ip {value}", {}) for value in values]}
    return build_image(StateDump(version, records, {}), namespace=namespace, built=1.0, key=key)


def delta(version: int, *values: str) -> Delta:
    puts = [Put(Record("blocks", f"ip {value}", {})) for value in values]
    return Delta(version, pack_changes(puts), {})


@pytest.fixture
def files(tmp_path: Path) -> StateFiles:
    return StateFiles(tmp_path, "shop", KEY)


@pytest.fixture
def blocked(files: StateFiles) -> Callable[[], list[str]]:
    """The addresses 10.0.0.0 to 10.0.0.9 that what is saved blocks."""

    def read() -> list[str]:
        saved = files.load()
        assert saved is not None
        os.close(saved.fd)
        candidates = [f"10.0.0.{number}" for number in range(10)]
        return [each[-1] for each in candidates if saved.snapshot.blocks.match(each, 0.0)]

    return read


def test_nothing_is_saved_at_first(files: StateFiles) -> None:
    assert files.load() is None


def test_image_and_changes_come_back(files: StateFiles, blocked: Callable[[], list[str]]) -> None:
    files.save_image(image(5, "10.0.0.1", "10.0.0.2"))
    assert blocked() == ["1", "2"]
    removed = Delta(7, pack_changes([Delete("blocks", "ip 10.0.0.2")]), {})
    files.save_deltas(5, [delta(6, "10.0.0.3"), removed])
    assert blocked() == ["1", "3"]


def test_rows_come_back(files: StateFiles) -> None:
    files.save_image(image(5))
    bulk = "0" * 32
    put = Put(Record("lists", "staff", {"kind": "users", "count": 1, "bulk": bulk}))
    files.save_deltas(5, [Delta(6, pack_changes([put]), {bulk: {"kim": ""}})])
    saved = files.load()
    assert saved is not None
    os.close(saved.fd)
    assert saved.snapshot.lists["staff"].has_user("https://a", "kim")


@pytest.mark.parametrize(
    ("version", "found"),
    [(6, ["1", "4", "5"]), (7, ["1", "5"]), (9, ["1"])],
    ids=["some are newer", "one is newer", "all are in the image"],
)
def test_killed_between_a_new_image_and_its_changes(
    version: int, found: list[str], files: StateFiles, blocked: Callable[[], list[str]]
) -> None:
    files.save_image(image(5, "10.0.0.1"))
    files.save_deltas(5, [delta(6, "10.0.0.3"), delta(7, "10.0.0.4"), delta(9, "10.0.0.5")])
    files.save_image(image(version, "10.0.0.1"))
    assert blocked() == found


def test_changes_of_a_later_image_are_not_put_on_an_older_one(files: StateFiles) -> None:
    files.save_image(image(5))
    files.save_deltas(8, [delta(9, "10.0.0.3")])
    with pytest.raises(StateFileError, match="goes on from version 8"):
        files.load()


def damage(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize("name", ["snapshot", "overlay"])
@pytest.mark.parametrize("at", [0, 20, 45, -1])
def test_every_damage_is_seen(files: StateFiles, tmp_path: Path, name: str, at: int) -> None:
    files.save_image(image(5, "10.0.0.1"))
    files.save_deltas(5, [delta(6, "10.0.0.3")])
    damage(tmp_path / name, at)
    with pytest.raises(StateFileError):
        files.load()


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (image(5, key=b"x" * 32), "another key"),
        (image(5, namespace="other"), "namespace 'other'"),
        (image(5)[:-8], "cut off"),
        (b"", "no image|mapped"),
    ],
)
def test_an_image_from_elsewhere_is_refused(files: StateFiles, made: bytes, says: str) -> None:
    files.save_image(made)
    with pytest.raises(StateFileError, match=says):
        files.load()


@pytest.mark.parametrize("other", [StateFiles, "key"])
def test_changes_from_elsewhere_are_refused(files: StateFiles, tmp_path: Path, other: object) -> None:
    files.save_image(image(5))
    wrong = StateFiles(tmp_path, "shop" if other == "key" else "other", b"x" * 32 if other == "key" else KEY)
    wrong.save_deltas(5, [])
    with pytest.raises(StateFileError):
        files.load()


def test_files_that_others_may_write_are_not_read(files: StateFiles, tmp_path: Path) -> None:
    files.save_image(image(5))
    (tmp_path / "snapshot").chmod(0o666)
    with pytest.raises(StateFileError, match="written by others"):
        files.load()


def test_an_image_is_saved_from_its_memory(files: StateFiles) -> None:
    raw = image(5, "10.0.0.1")
    files.save_image(raw)
    saved = files.load()
    assert saved is not None
    files.save_image(saved.fd)
    os.close(saved.fd)
    again = files.load_image()
    assert again is not None
    os.close(again[0])
    assert isinstance(again[1], Image)
    assert again[1].version == 5


def test_an_image_that_the_builder_could_not_write_is_saved_from_memory(
    files: StateFiles, tmp_path: Path
) -> None:
    fd = sealed_memfd(image(5))
    file = scratch_image(tmp_path)
    files.take_image(file, fd)
    assert files.load_image() is not None
    write_scratch(file, image(6))
    files.take_image(file, fd)
    os.close(fd)
    found = files.load_image()
    assert found is not None
    assert found[1].version == 6
    assert not file.exists()


def test_what_a_killed_process_left_is_removed(files: StateFiles, tmp_path: Path) -> None:
    files.save_image(image(5))
    files.save_deltas(5, [])
    for name in (".snapshot.7.ab", "snapshot.7.ab", ".snapshot.7.ab.8.cd", ".overlay.7.ab"):
        (tmp_path / name).write_bytes(b"half of it")
    files.clean()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["overlay", "snapshot"]


def test_only_the_owner_can_read(files: StateFiles, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o755)
    make_state_dir(folder)
    made = StateFiles(folder, "shop", state_key(folder, None, folder))
    made.save_image(image(1))
    made.save_deltas(1, [])
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.iterdir()]}
    assert modes == {"state": 0o700, "snapshot": 0o600, "overlay": 0o600, "state.key": 0o600}


def test_the_key_is_made_once_or_configured(tmp_path: Path) -> None:
    made = state_key(tmp_path, None, tmp_path)
    assert state_key(tmp_path, None, tmp_path) == made
    (tmp_path / "own").write_bytes(b"a" * 32)
    (tmp_path / "own").chmod(0o600)
    assert state_key(tmp_path, "own", tmp_path) != made
    (tmp_path / "own").write_bytes(b"short")
    with pytest.raises(ValueError, match="are no key"):
        state_key(tmp_path, "own", tmp_path)


@pytest.mark.parametrize("wire", [None, 1, [], [1, b""], ["1", b"", {}], [1, "text", {}], [1, b"", []]])
def test_what_is_no_delta_is_refused(wire: object) -> None:
    with pytest.raises(ValueError, match="no delta"):
        delta_of(wire)
