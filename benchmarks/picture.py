"""The README's picture: a real answer of the built-in pair, drawn as the terminal shows it.

python -m benchmarks.picture "QUESTION" docs/picture.svg
"""

from __future__ import annotations

import argparse
import io
import re
from pathlib import Path

from rich.console import Console
from rich.text import Text

from nudging import NudgedModel
from nudging.engines.demo import pull_demo

STYLES = {"nudge": "bold underline magenta", "base": ""}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("question")
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    pull_demo()
    with NudgedModel("demo:base", "demo:nudge") as model:
        answer = model.answer(given.question)
    console = Console(record=True, width=76, file=io.StringIO(), force_terminal=True)
    console.print(f'$ nudge ask "{given.question}"', style="dim", highlight=False)
    for line in Text.assemble(*((s.text, STYLES[s.source]) for s in answer.spans)).split("\n"):
        console.print(line)
    console.print(f"{answer.nudge_rate:.0%} of the words nudged", style="dim", highlight=False)
    svg = console.export_svg(title="nudge")
    # A picture should ask nobody for fonts: any fixed-width one will do.
    given.out.write_text(re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL))


if __name__ == "__main__":
    main()
