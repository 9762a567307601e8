"""Files of ours are never written through what a stranger has put there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from nudging.errors import InputError
from nudging.eval.judge import _ReplyCache
from nudging.eval.run_folder import SAMPLES, opened
from nudging.storage.resumable import HEADER, Journal
from nudging.storage.safe_files import fresh, lock_file, locked, own, write_json, write_whole
from tests.made_runs import header


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine"
    path.write_text("mine")
    return path


def put(path: Path, mine: Path, kind: str) -> None:
    if kind == "link":
        path.symlink_to(mine)
    elif kind == "link to nothing":
        path.symlink_to(mine.with_name("nothing"))
    else:
        os.mkfifo(path)


@pytest.mark.parametrize("kind", ["link", "link to nothing", "pipe"])
@pytest.mark.parametrize(
    "use",
    [
        lambda path: lock_file(path.parent),
        lambda path: own(path, "ab"),
        lambda path: Journal(path),
        lambda path: _ReplyCache(path).put("key", "reply"),
    ],
)
def test_what_is_no_file_is_refused(mine: Path, kind: str, use: Callable[[Path], object]) -> None:
    path = mine.with_name(".lock")
    put(path, mine, kind)
    with pytest.raises((OSError, InputError), match=r"it is a link|it is not a plain file"):
        use(path)
    assert mine.read_text() == "mine"
    assert not mine.with_name("nothing").exists()


@pytest.mark.parametrize("kind", ["link", "link to nothing", "pipe", "hard link"])
@pytest.mark.parametrize("new", [True, False])
def test_what_is_replaced_loses_its_name_alone(mine: Path, kind: str, new: bool) -> None:
    """The file that is made, or the one that it is made as until it is whole."""
    path = mine.with_name("made.json")
    place = path.with_name("made.json.new") if new else path
    if kind == "hard link":
        place.hardlink_to(mine)
    else:
        put(place, mine, kind)
    write_json(path, {"a": 1})
    assert json.loads(path.read_text()) == {"a": 1}
    assert path.is_file()
    assert not path.is_symlink()
    assert mine.read_text() == "mine"
    assert not mine.with_name("nothing").exists()


def test_a_lock_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("something")
    with lock_file(tmp_path) as file:
        assert locked(file)
        with lock_file(tmp_path) as other:
            assert not locked(other)
    assert (tmp_path / ".lock").read_text() == "something"


def test_permissions_are_kept(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", b"1", 0o600)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    with fresh(tmp_path / "a") as file:
        file.write(b"2")
    assert (tmp_path / "a").read_bytes() == b"2"


@pytest.mark.parametrize("name", [".lock", SAMPLES, f"{SAMPLES}.new", f"{HEADER}.new"])
def test_links_in_a_run_are_not_followed(mine: Path, name: str) -> None:
    folder = mine.with_name("run")
    folder.mkdir()
    (folder / name).symlink_to(mine)
    if name != ".lock":
        with opened(folder, header(["gsm8k"], ["nudging"])):
            pass
        assert not (folder / SAMPLES).is_symlink()
    else:
        with (
            pytest.raises(OSError, match="it is a link"),
            opened(folder, header(["gsm8k"], ["nudging"])),
        ):
            pass
    assert mine.read_text() == "mine"
