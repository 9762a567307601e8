"""One name, one thing: no two classes and no two files of the package share a name."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[3] / "src" / "nudging"
SHARED_CLASSES = {"Gate"}
"""One for each of vLLM's model runners: the file names the runner. Nothing is added here."""


def shared(found: Iterator[tuple[str, str]]) -> dict[str, list[str]]:
    """The names that stand in several places, leading underscores ignored."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for name, place in found:
        places[name.lstrip("_")].append(place)
    return {name: where for name, where in places.items() if len(where) > 1}


def classes() -> Iterator[tuple[str, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                yield node.name, f"{path.relative_to(PACKAGE)}:{node.lineno}"


def files() -> Iterator[tuple[str, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name not in ("__init__.py", "__main__.py"):
            yield path.stem, str(path.relative_to(PACKAGE))


def test_no_two_classes_have_one_name() -> None:
    assert shared(classes()).keys() <= SHARED_CLASSES


def test_no_two_files_have_one_name() -> None:
    assert shared(files()) == {}
