"""The report as one HTML file: plots, tables, and the samples to look through.

The file loads nothing and asks nobody: its policy names its own style and script by their digests,
and forbids the rest. What models and tasks say is escaped here, or becomes text by the script.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ...page import ENDED, STYLE
from ..summary import BASELINE
from . import charts, tables
from .counts import Counts
from .gather import Cell, ReportData, way_name
from .samples import as_json

HERE = Path(__file__).parent
METHODS = ("base", "nudge", "nudging", "aligned", "ensemble", "proxy-tuning", "icl", "opening")
"""Those with a colour of their own."""
MOST_WORDS = 12


def report_page(gathered: ReportData) -> str:
    """The whole file. A text in it may hold half a character pair: encode accordingly."""
    style = STYLE + (HERE / "report.css").read_text(encoding="utf-8")
    script = (HERE / "report.js").read_text(encoding="utf-8")
    sections = [
        ("accuracy", "Accuracy", _accuracy(gathered)),
        ("figures", "All figures", _figures(gathered)),
        ("gamma", "Gamma", _gamma(gathered)),
        ("nudges", "How it nudges", _nudges(gathered)),
        ("made", "Made with", _made(gathered)),
        ("samples", "Samples", _BROWSER),  # the last: it grows as it is read
    ]
    links = "".join(f'<a href="#{place}">{name}</a>' for place, name, _ in sections)
    body = "".join(f'<h2 id="{place}">{name}</h2>\n{text}\n' for place, name, text in sections)
    names, lines = ", ".join(gathered.headers), "\n".join(gathered.samples.lines)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_policy(script, style)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{escape(names)} – nudging evaluated</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>Nudging evaluated</h1>
<p class="about">{escape(_about(gathered))}</p>
</header>
<nav aria-label="Parts of this report">{links}</nav>
<main>
{body}</main>
<script type="application/json" id="index">{_index(gathered)}</script>
<script type="text/plain" id="lines">{lines}</script>
<script>{script}</script>
</body>
</html>
"""


def _policy(script: str, style: str) -> str:
    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; script-src {digest(script)}; style-src {digest(style)}; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; "
        "trusted-types 'none'"
    )


def _about(gathered: ReportData) -> str:
    answers = sum(cell["n"] for _, cell in gathered.cells)
    errors = sum(cell["errors"] for _, cell in gathered.cells)
    many = [
        _count(len(gathered.tasks), "task"),
        _count(len(gathered.ways), "way") + " to answer",
        _count(answers, "answer") + (f" ({errors:,} failed)" if errors else ""),
    ]
    runs = [
        f"{name}: "
        + ", ".join(f"{role} {_spec(model)}" for role, model in header["models"].items())
        for name, header in gathered.headers.items()
    ]
    return ". ".join([*runs, ", ".join(many)]) + "."


def _spec(model: Mapping[str, Any]) -> str:
    return str(model.get("spec", "")).rpartition("/")[2]


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" + ("" if n == 1 else "s")


# --- accuracy -------------------------------------------------------------------------------


def _accuracy(gathered: ReportData) -> str:
    """A panel for each task; of those that nothing scores, how many answers ended."""
    right, ended = [], []
    for task in gathered.tasks:
        cells = [(way, cell) for way, cell in gathered.cells if cell["task"] == task]
        scored = [(way, cell) for way, cell in cells if cell["accuracy"] is not None]
        if scored:
            drawn = _shares(gathered, scored, "accuracy", "ci95")
            right.append(_panel(task, drawn, _of(cell["scored"] for _, cell in scored)))
        elif cells := [(way, cell) for way, cell in cells if cell["n"]]:
            drawn = _shares(gathered, cells, "ended_rate")
            ended.append(_panel(task, drawn, _of(cell["n"] for _, cell in cells)))
    told = ""
    if right:
        told = "<p>Share of right answers in percent, with 95\u00a0% intervals.</p>" + _panels(
            right
        )
    if ended:
        told += (
            "<p>Not scored as right or wrong. Share of answers that a model ended, in percent.</p>"
            + _panels(ended)
        )
    return told


def _of(counts: Iterable[int]) -> str:
    """How many answers the ways of a panel have, which differ where a run is not finished."""
    found = sorted(set(counts))
    return f"n = {found[0]}" + (f" to {found[-1]}" if len(found) > 1 else "")


def _shares(
    gathered: ReportData, cells: Iterable[tuple[int, Cell]], figure: str, ends: str = ""
) -> str:
    return charts.shares(
        [
            charts.ShareRow(gathered.names[way], _colour(cell), cell[figure], cell.get(ends))
            for way, cell in cells
        ]
    )


def _colour(cell: Mapping[str, Any]) -> str:
    method = cell["method"]
    return f"m-{method}" if method in METHODS else "m-other"


def _panel(title: str, drawn: str, beside: str = "") -> str:
    more = f"<span>{escape(beside)}</span>" if beside else ""
    return f"<figure><figcaption>{escape(title)}{more}</figcaption>{drawn}</figure>"


def _panels(panels: Sequence[str]) -> str:
    return f'<div class="panels">{"".join(panels)}</div>' if panels else ""


# --- tables ---------------------------------------------------------------------------------


def _figures(gathered: ReportData) -> str:
    head, rows = tables.measured(gathered)
    return (
        f'<p class="about">{escape(tables.NOTE)}</p>'
        + _table(tables.HEAD, tables.rows(gathered))
        + "".join(
            f'<p class="about">[{number}] {escape(note)}</p>'
            for number, note in enumerate(gathered.notes, 1)
        )
        + '<p class="about">Means of what can be measured without a right answer.</p>'
        + _table(head, rows)
    )


_SCROLL = '<div class="scroll" tabindex="0" role="group" aria-label="A table">'


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "figures") -> str:
    """The first two columns are names, the others numbers. Columns with no entry are left out."""
    found = list(rows)
    kept = [i for i in range(len(head)) if any(row[i] for row in found)]

    def line(tag: str, cells: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{'' if i < 2 else ' class=r'}>{escape(cells[i])}</{tag}>" for i in kept
        )

    body = "".join(f"<tr>{line('td', row)}</tr>" for row in found)
    return f"{_SCROLL}<table class={kind}><tr>{line('th', head)}</tr>{body}</table></div>"


# --- gamma ----------------------------------------------------------------------------------


_AGAINST_GAMMA = ("accuracy", "ci95", "nudge_rate")


def _gamma(gathered: ReportData) -> str:
    """A panel for each task and each setting that was tried with several gammas."""
    tried: dict[tuple[str, str], list[Cell]] = {}
    runs: dict[tuple[str, str], str] = {}
    for number, cell in gathered.cells:
        way = gathered.ways[number]
        if "gamma" in way.setting:
            rest = {name: value for name, value in way.setting.items() if name != "gamma"}
            about = (cell["task"], way_name(way._replace(setting=rest), gathered.ways))
            tried.setdefault(about, []).append(cell)
            runs[about] = way.run
    panels = []
    for (task, name), cells in tried.items():
        points = [
            charts.GammaPoint(
                each["setting"]["gamma"], *(each[figure] for figure in _AGAINST_GAMMA)
            )
            for each in sorted(cells, key=lambda each: each["setting"]["gamma"])
        ]
        if len(points) > 1:
            alone = _alone(gathered, task, runs[task, name])
            panels.append(_panel(task, charts.against_gamma(points, alone), name))
    if not panels:
        return '<p class="none">One gamma was tried. Several: <code>--gammas 0.2,0.3,0.4</code></p>'
    return (
        '<p class="about"><span class="key m-nudging"></span> Accuracy in percent, with its '
        '95\u00a0% interval; dashed: the base model alone. <span class="key m-nudge"></span> '
        "Dotted: share of the words that were nudged.</p>" + _panels(panels)
    )


def _alone(gathered: ReportData, task: str, run: str) -> float | None:
    """The accuracy of the base model alone on a task of a run."""
    for way, cell in gathered.cells:
        if (cell["task"], cell["method"], gathered.ways[way].run) == (task, BASELINE, run):
            accuracy: float | None = cell["accuracy"]
            return accuracy
    return None


# --- nudges ---------------------------------------------------------------------------------


_NUDGES = """<p class="about">All tasks together. <span class="key m-nudge"></span> Written by the
nudging model, or the base model in doubt. <span class="key m-base"></span> Written by the base
model.</p>"""


def _nudges(gathered: ReportData) -> str:
    """A part for each way in which a base model wrote; the first that was nudged is open."""
    parts = [
        (name, counts)
        for name, counts in zip(gathered.names, gathered.counts, strict=True)
        if any(counts.wrote)
    ]
    if not parts:
        return '<p class="none">No base model wrote anything.</p>'
    first = next((place for place, (_, counts) in enumerate(parts) if counts.is_nudged), 0)
    return _NUDGES + "".join(
        _way(name, counts, opened=place == first) for place, (name, counts) in enumerate(parts)
    )


def _way(name: str, counts: Counts, *, opened: bool) -> str:
    asked = sum(counts.wrote) + sum(counts.doubted)
    panels = [
        _panel(
            "The base model's top-1",
            charts.confidence(counts.wrote, counts.doubted),
            f"% of {asked:,} places",
        )
    ]
    told = ""
    if counts.is_nudged:
        told = f"<mark>{sum(counts.nudged) / sum(counts.words):.0%}</mark> of the words nudged"
        turns, opening, later = (
            counts.reasons.total(),
            counts.opening.total(),
            counts.later.total(),
        )
        reasons = [(charts.REASONS.get(why, why), n) for why, n in counts.reasons.most_common()]
        panels = [
            _panel(
                "Where nudges fall",
                charts.along_answer(counts.words, counts.nudged),
                "% of the words there",
            ),
            panels[0],
            _panel("Why", charts.counted(reasons, turns), f"{turns:,} nudge turns"),
            _words("Words that open answers", counts.opening.most_common(MOST_WORDS), opening),
            _words("Nudging words later on", counts.later.most_common(MOST_WORDS), later),
        ]
    summary = f"<summary><b>{escape(name)}</b><span>{told}</span></summary>"
    return f'<details class="way"{" open" * opened}>{summary}{_panels(panels)}</details>'


def _words(title: str, words: Sequence[tuple[str, int]], total: int) -> str:
    often = [(word, n) for word, n in words if n > 1] or words
    drawn = charts.counted(often, total) if words else '<p class="none">None.</p>'
    return _panel(title, drawn, f"{total:,} words")


# --- samples --------------------------------------------------------------------------------

_BROWSER = """<p class="about"><mark>Marked</mark> words are the nudging model's. The
<span class="t">stronger the underline</span>, the less sure the base model was. Point at a word, or
tap it, for its probability.</p>
<noscript><p>The samples need this page's script.</p></noscript>
<div id="browser" hidden>
<div class="filters">
<label>Task<select id="task"></select></label>
<label>Way<select id="left"></select></label>
<label>Beside<select id="right"></select></label>
<label>Show<select id="which"><option value="all">all</option>
<option value="differ">where the answers differ</option>
<option value="judged">where one is right, one wrong</option></select></label>
<span id="found" role="status"></span>
</div>
<div id="list"></div>
<button id="more" type="button" hidden>More</button>
</div>"""


def _index(gathered: ReportData) -> str:
    """What the script reads at once. At first it shows the base model beside nudging."""
    methods = [way.method for way in gathered.ways]
    left = methods.index(BASELINE) if BASELINE in methods else 0
    nudged = [way for way, counts in enumerate(gathered.counts) if counts.is_nudged and way != left]
    return as_json(
        {
            "ways": gathered.names,
            "samples": gathered.samples.index(),
            "left": left,
            "right": nudged[0] if nudged else len(methods) - 1,
            "ended": ENDED,
            "why": charts.REASONS,
        }
    )


# --- what it was made with ------------------------------------------------------------------


def _made(gathered: ReportData) -> str:
    return "".join(
        (f"<h3>{escape(name)}</h3>" if len(gathered.headers) > 1 else "")
        + f'{_SCROLL}<table class="made">'
        + "".join(
            f"<tr><th>{escape(what)}</th><td>{escape(value)}</td></tr>"
            for what, value in _facts("", header)
        )
        + "</table></div>"
        for name, header in gathered.headers.items()
    )


def _facts(name: str, value: object) -> Iterator[tuple[str, str]]:
    """Nested tables as rows with dotted names."""
    if isinstance(value, Mapping):
        for inner, each in value.items():
            yield from _facts(f"{name}.{inner}" if name else str(inner), each)
    else:
        yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
