"""The tables of `nudge bench --json` put into a document, each suite in its section.

python -m benchmarks.tables DOCUMENT.md ROWS.json ...
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterable
from pathlib import Path

from nudging.bench.rows import HEAD, Row, legend, lines

from .sections import table, write_section


def read_rows(paths: Iterable[Path]) -> list[Row]:
    return [Row(**row) for path in paths for row in json.loads(path.read_text())]


def drawn(suite: str, rows: Iterable[Row]) -> str:
    """The table of one suite; columns in which nothing stands are left out."""
    cells = lines(row for row in rows if row.suite == suite)
    kept = [place for place in range(len(HEAD)) if any(line[place] for line in cells)]
    text = table([HEAD[i] for i in kept], [[line[i] for i in kept] for line in cells])
    return f"{text}\n\n{legend(suite)} On {os.cpu_count()} cores of {platform.machine()}."


def main() -> None:
    document, *paths = map(Path, sys.argv[1:])
    rows = read_rows(paths)
    for suite in dict.fromkeys(row.suite for row in rows):
        write_section(document, suite, drawn(suite, rows))


if __name__ == "__main__":
    main()
