"""By which code answers are scored, as checksums: two scorings agree only where these do.

A sum is of files, not of classes: what a rule does depends as much on the rest of its file and on
the files that it imports.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path

from ..errors import InputError

_HERE = Path(__file__).parent
_RULES = (
    *("statement.py", "numerals.py", "read.py", "choose.py", "measures.py"),
    *("task.py", "own.py", "rubrics.py", "judge.py", "tasks/*.py"),
)
_OURS = __name__.partition(".")[0]
_INSTALLED = ("site-packages", "dist-packages")


@cache
def rules_sum() -> str:
    """The sum of this library's own scoring code."""
    return _sum(path for pattern in _RULES for path in _HERE.glob(pattern))


def own_sum(kind: type) -> str | None:
    """The sum of the user's own files behind a class: those that define it and what it inherits,
    and all of the user's that they import. None for a class of this library.

    Raises:
        InputError: a part of it is in no file.
    """
    names = [part.__module__ for part in kind.__mro__ if part is not object]
    own = [name for name in names if not _is_of(name, _OURS) and name not in ("abc", "typing")]
    if not own:
        return None
    tops = {name.partition(".")[0] for name in own}
    found: dict[str, Path] = {}
    waiting = list(own)
    while waiting:
        name = waiting.pop()
        path = _file(name, tops)
        if path is None and name in own:
            raise InputError(
                f"the code of {kind.__qualname__} is in no file, so a run can't tell it",
                hint="put the class into a file",
            )
        if path is not None and name not in found:
            found[name] = path
            waiting += _imported(path, name)
    return _sum(set(found.values()))


def _sum(paths: Iterable[Path]) -> str:
    """Of the files' contents, wherever they lie."""
    sums = sorted(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in paths)
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()


def _is_of(name: str, top: str) -> bool:
    return name == top or name.startswith(f"{top}.")


def _file(name: str, tops: Iterable[str]) -> Path | None:
    """The source of a module, if it is the user's own: of a class's own package, or neither
    Python's nor installed nor ours."""
    top = name.partition(".")[0]
    if top not in tops and (top in sys.stdlib_module_names or top == _OURS):
        return None
    loaded = getattr(sys.modules.get(name), "__file__", None)
    if loaded is None:
        first = _spec(top)  # looked up alone, since to look up a part imports the whole
        if first is None or (top not in tops and _is_installed(first)):
            return None
        found = first if name == top else _spec(name)
        loaded = found.origin if found and found.has_location else None
    path = Path(loaded) if loaded else None
    if path is None or path.suffix != ".py" or not path.is_file():
        return None
    return None if top not in tops and set(_INSTALLED) & {*path.parts} else path


def _spec(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, AttributeError, ValueError):
        return None


def _is_installed(spec: ModuleSpec) -> bool:
    places = [spec.origin or "", *(spec.submodule_search_locations or ())]
    return any(set(_INSTALLED) & {*Path(place).parts} for place in places)


def _imported(path: Path, name: str) -> Iterator[str]:
    """The modules that a file imports, anywhere in it. Of what is imported from a module, each may
    be a module itself."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    parts = package.split(".") if package else []
    yield from (".".join(parts[:length]) for length in range(1, len(parts) + 1))
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except SyntaxError:  # of one that nothing has needed so far
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = parts[: len(parts) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{each.name}" for each in node.names)
