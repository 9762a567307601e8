"""What the package shows and costs, and what its files must not hold."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import pytest

import nudging

ROOT = Path(__file__).parents[3]
SOURCE = Path(nudging.__file__).parent
HEAVY = ["numpy", "torch", "transformers", "xllamacpp", "aiohttp", "jinja2", "rich", "typer"]
HEAVY += ["starlette", "uvicorn"]
MOST_LINES = 400
MOST_TEST_LINES = 600


def python(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


# --- names ----------------------------------------------------------------------------------


def test_all_is_sorted_and_is_what_the_package_shows() -> None:
    code = "import nudging; print(*(n for n in dir(nudging) if not n.startswith('_')))"
    shown = {
        name
        for name in python(code).split()  # in a fresh process: tests import submodules too
        if not isinstance(getattr(nudging, name), ModuleType)
    }
    assert nudging.__all__ == sorted(nudging.__all__)
    assert set(nudging.__all__) == shown | {"__version__"}


def test_each_name_is_what_checkers_take_it_for() -> None:
    tree = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    places = {
        each.name: f".{node.module}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
        for each in node.names
    }
    assert {*places, "__version__"} == set(nudging.__all__)
    for name, place in places.items():
        assert getattr(nudging, name) is getattr(import_module(place, "nudging"), name)


def test_names_are_there_for_help_for_stars_and_by_their_modules() -> None:
    assert "class NudgedModel" in python("import nudging; help(nudging)")
    assert "model" in python("from nudging import *; print(NudgedModel.__module__)")
    assert "errors" in python("import nudging; print(nudging.errors.NudgingError.__module__)")
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = nudging.nothing  # type: ignore[attr-defined]


def test_types_are_shipped() -> None:
    assert files("nudging").joinpath("py.typed").is_file()


# --- cost -----------------------------------------------------------------------------------


def test_import_brings_no_library_of_an_engine_or_a_screen() -> None:
    for what in ("nudging", "nudging.model"):
        code = f"import sys, {what}; print(*(m for m in sys.argv[1:] if m in sys.modules))"
        assert python(code, *HEAVY).split() == []


def test_import_takes_less_than_a_fifth_of_a_second() -> None:
    # Time of this process alone: the tests may share the machine.
    code = "import time; t = time.process_time(); import nudging; print(time.process_time() - t)"
    assert min(float(python(code)) for _ in range(5)) < 0.2


def test_help_takes_less_than_six_tenths_of_a_second() -> None:
    code = (
        "import atexit, time; atexit.register(lambda: print(time.process_time()));"
        "from nudging.cli import main; main()"
    )
    printed = [python(code, "--help") for _ in range(3)]
    assert all("Usage" in text for text in printed)
    assert min(float(text.split()[-1]) for text in printed) < 0.6


# --- files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: p.name)
def test_no_file_is_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def test_no_test_file_is_long() -> None:
    long = {
        path.name: lines
        for path in (ROOT / "tests").rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MOST_TEST_LINES
    }
    assert long == {}


FOREIGN = re.compile(
    r"(?<![\w.~$}])/(home|root|tmp|work|Users)/[a-z]"  # one machine's folders
    r"|pypi\.org|pythonhosted\.org|--(extra-)?index-url|\bindex_url\b|files\.pyth"  # an index
)

PARTS = [f"/{name}/".encode() for name in ("home", "root", "tmp", "work", "Users")]
PARTS += [b"pypi", b"pythonhosted", b"ndex-url", b"ndex_url", b"iles.pyth"]
"""One of these is in whatever `FOREIGN` finds."""


def kept_files() -> list[Path]:
    """What is, or is about to be, in the repository."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not in a git repository")
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_file_knows_a_machine_or_an_index() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for path in kept_files()
        if any(part in (data := path.read_bytes()) for part in PARTS)  # quick, for large files
        for number, line in enumerate(data.decode(errors="replace").splitlines(), 1)
        if FOREIGN.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("line", "is_foreign"),
    [
        ("cd " + "/ho" + "me/someone", True),
        ('path = "' + "/tm" + 'p/model.gguf"', True),
        ("https://" + "py" + "pi.org/simple", True),
        ("tests/work/data", False),
        ("a/tmp/b", False),
        ("the cache (/nowhere/a.html)", False),
    ],
)
def test_the_search_finds_what_it_should(line: str, is_foreign: bool) -> None:
    assert bool(FOREIGN.search(line)) == is_foreign
