"""Generated parts of hand-written documents: what stands between two marks is replaced.

python -m benchmarks.sections NAME FROM.md TO.md    copies a section
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any


def write_section(document: Path, name: str, text: str) -> None:
    """Replace what stands between `<!-- NAME -->` and `<!-- end of NAME -->`."""
    read_section(document, name)
    new = f"<!-- {name} -->\n\n{text.strip()}\n\n<!-- end of {name} -->"
    document.write_text(_section(name).sub(lambda _: new, document.read_text()))


def read_section(document: Path, name: str) -> str:
    found = _section(name).search(document.read_text())
    if not found:
        raise SystemExit(f"{document} has no section {name!r}")
    return found[1].strip()


def _section(name: str) -> re.Pattern[str]:
    return re.compile(
        f"<!-- {re.escape(name)} -->(.*?)<!-- end of {re.escape(name)} -->", re.DOTALL
    )


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a JSONL file that a run has written so far; a last, half line is dropped."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            break
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in found))
    return found


def add_line(path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")


def table(head: list[str], rows: list[list[object]]) -> str:
    lines: list[list[object]] = [[*head], ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    name, source, target = sys.argv[1:]
    write_section(Path(target), name, read_section(Path(source), name))
