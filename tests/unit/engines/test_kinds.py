"""Kinds of engines: the built-in ones, and those that other packages offer by an entry point."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nudging import open_engine
from nudging.engines import kinds
from nudging.engines.spec import parse_spec
from nudging.errors import ModelError, SpecError

Offer = Callable[[str, str], None]
MODULE = """
from nudging.engines.kinds import EngineKind
from nudging.engines.scripted import open_scripted

async def opened(spec):
    return open_scripted(spec)

def kind(opened):
    return EngineKind(form="own:NAME", who="the own engine", options=("n_ctx",), open=opened)

async def failing(spec):
    raise {"lacks": ModuleNotFoundError("No module", name="a_library.part")}.get(
        spec.path, RuntimeError("out of luck"))

async def nothing(spec):
    pass

KIND, FAILING, NOT_AN_ENGINE = map(kind, (opened, failing, nothing))
NOT_ASYNC = kind(open_scripted)
NOTHING = object()
"""


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Install a package that offers an engine: its name, and the object that it names."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "an_own_engine.py").write_text(MODULE)
    (tmp_path / "a_broken_engine.py").write_text("1 / 0")
    (tmp_path / "a_poor_engine.py").write_text("import a_library.part")

    def install(package: str, entry: str) -> None:
        folder = tmp_path / f"{package}-1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
        (folder / "entry_points.txt").write_text(f"[{kinds.GROUP}]\n{entry}\n")

    kinds.find_kind.cache_clear()
    return install


def test_another_package_adds_an_engine(offer: Offer) -> None:
    offer("own", "own = an_own_engine:KIND")
    engine = open_engine("own:base?n_ctx=9")
    assert engine.capabilities.n_ctx == 9
    with pytest.raises(SpecError, match="the own engine has no option 'colour'"):
        open_engine("own:base?colour=red")
    with pytest.raises(SpecError, match="names no model") as caught:
        parse_spec("own:")
    assert "own:NAME" in caught.value.hint


@pytest.mark.parametrize("spec", ["demo:", "demo:other"])
def test_a_spec_of_a_known_kind_is_told_its_form(spec: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(spec)
    assert "demo:base, demo:nudge" in caught.value.hint


def test_an_unknown_kind_is_told_all_that_there_are(offer: Offer) -> None:
    offer("own", "own = an_own_engine:KIND")
    with pytest.raises(SpecError) as caught:
        parse_spec("other:m")
    for form in ("demo:base", "scripted:base", "llama:PATH.gguf", "hf:", "http://", "own:..."):
        assert form in caught.value.hint


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("own = a_broken_engine:KIND", "ZeroDivisionError"),
        ("own = no_such_module:KIND", "ModuleNotFoundError"),
        ("own = an_own_engine:MISSING", "AttributeError"),
        ("own = an_own_engine:NOTHING", "not an EngineKind"),
    ],
)
def test_a_broken_engine_is_named_with_its_package(offer: Offer, entry: str, says: str) -> None:
    offer("broken-package", entry)
    with pytest.raises(SpecError, match=says) as caught:
        parse_spec("own:m")
    assert "broken-package" in str(caught.value)
    assert "broken-package" in caught.value.hint


def test_a_library_that_an_engine_lacks_is_named(offer: Offer) -> None:
    offer("poor-package", "own = a_poor_engine:KIND")
    with pytest.raises(SpecError, match="poor-package does not load: ModuleNotFound") as caught:
        parse_spec("own:m")
    assert caught.value.hint == "install a_library"


@pytest.mark.parametrize(
    ("entry", "path", "says", "hint"),
    [
        ("FAILING", "m", "can't open own:m: RuntimeError: out of luck", ""),
        ("FAILING", "lacks", "can't open own:lacks: ModuleNotFoundError", "install a_library"),
        ("NOT_AN_ENGINE", "m", "made a NoneType of own:m, not an Engine", ""),
        ("NOT_ASYNC", "base", "can't open own:base: TypeError", ""),
    ],
)
def test_an_engine_that_does_not_open_is_named_with_its_package(
    offer: Offer, entry: str, path: str, says: str, hint: str
) -> None:
    offer("broken-package", f"own = an_own_engine:{entry}")
    with pytest.raises(ModelError, match=f"'own' of the package broken-package {says}") as caught:
        open_engine(f"own:{path}")
    assert caught.value.hint == hint


def test_two_packages_that_offer_one_kind_are_named(offer: Offer) -> None:
    offer("one", "own = an_own_engine:KIND")
    offer("other", "own = a_broken_engine:KIND")
    with pytest.raises(SpecError, match="one, other"):
        parse_spec("own:m")


def test_built_in_kinds_stay_and_load_nothing_of_others(offer: Offer) -> None:
    offer("other", "llama = a_broken_engine:KIND")
    assert parse_spec("llama:m.gguf").kind == "llama"
    with pytest.raises(SpecError):
        parse_spec("own:m")
    assert "a_broken_engine" not in sys.modules


def test_a_spec_is_read_without_the_libraries_that_open_it() -> None:
    specs = ("demo:base", "scripted:base", "llama:m", "hf:m", "http://h/v1#m")
    code = (
        "import sys; from nudging.engines.spec import parse_spec; [*map(parse_spec, sys.argv[1:])];"
        "print(*{'numpy', 'torch', 'transformers', 'xllamacpp', 'aiohttp'} & {*sys.modules})"
    )
    command = [sys.executable, "-c", code, *specs]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
