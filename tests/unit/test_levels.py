"""The table of levels in docs/architecture.md against every import of the package."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import nudging

SOURCE = Path(nudging.__file__).parent
TABLE = Path(__file__).parents[2] / "docs" / "architecture.md"
FILES = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))


def rows() -> Iterator[tuple[str, int]]:
    """Each file that the table names, with its level."""
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if found := re.match(r"\| (\d+) \| ([^|]*) \|", line):
            for file in re.findall(r"`([^`]+)`", found[2]):
                yield file, int(found[1])


@cache
def levels() -> dict[str, int]:
    return dict(rows())


def imports(file: str) -> Iterator[tuple[int, str]]:
    """The files of the package that a file imports, anywhere in it, with the lines."""
    package = ("nudging", *Path(file).parent.parts)
    for node in ast.walk(ast.parse((SOURCE / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield from _files(node.lineno, tuple(name.name.split(".")))
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = (*above, *(node.module or "").split(".")) if node.module else above
            for name in node.names:
                yield from _files(node.lineno, (*module, name.name))


def _files(line: int, name: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """The file that a dotted name means: a module, or what a module or package holds."""
    if name[0] != "nudging":
        return
    for parts in (name[1:], name[1:-1]):
        for file in ("/".join(parts) + ".py", "/".join((*parts, "__init__.py"))):
            if (SOURCE / file).is_file():
                yield line, file
                return
    raise AssertionError(f"line {line} imports {'.'.join(name)}, which is no file")


def test_the_table_names_every_file_once() -> None:
    assert sorted(file for file, _ in rows()) == FILES


@pytest.mark.parametrize("file", FILES)
def test_a_file_imports_only_from_lower_levels(file: str) -> None:
    level = levels()[file]
    wrong = [
        f"{file}:{line} (level {level}) imports {other} (level {levels()[other]})"
        for line, other in imports(file)
        if levels()[other] >= level
    ]
    assert wrong == []


def test_imports_are_found_wherever_they_stand() -> None:
    """What the test above rests on: lazy imports, the package's own names, plain modules."""
    assert "engines/hf.py" in {file for _, file in imports("engines/__init__.py")}
    assert "__init__.py" in {file for _, file in imports("cli/ask.py")}
    assert "portal.py" in {file for _, file in imports("model.py")}
    assert "engines/base.py" in {file for _, file in imports("streams.py")}
