"""The figures of docs/results.md, from a run of `nudge eval` on the paper's tasks, finished or not.

    python -m benchmarks.results RUN docs/results.md

What the document says of them is decided here, by rule: a figure that may be luck is shown, and
nothing is said of it.
"""

from __future__ import annotations

import math
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nudging.eval.header import asked
from nudging.eval.interval import interval
from nudging.eval.report.gather import Cell, ReportData, gather
from nudging.eval.run_folder import read_samples
from nudging.eval.sample_lines import Line, canonical
from nudging.eval.summary import BASELINE
from nudging.eval.task import Sample
from nudging.eval.tasks import find_task
from nudging.eval.tasks.choice import Choice
from nudging.storage.resumable import Header

from .sections import table, write_section

LUCK = 0.05
"""The chance that any figure at all is wrongly called better than chance."""
MEASURES = ("ended", "repetition", "words")
_CHOICE = re.compile(r"^([A-Z0-9])\. (.*)$", re.MULTILINE)


class Shown(NamedTuple):
    """A row: a task, and a way to answer it."""

    way: str
    cell: Cell
    lines: Sequence[Line]
    """Its answers, without those that failed."""
    chance: float | None
    """The share that is right without understanding; None where nothing is right or wrong."""

    @property
    def luck(self) -> float:
        """The probability of as many right answers by chance."""
        if self.chance is None:
            return 1.0
        right = sum(bool(line["score"]["correct"]) for line in self.lines)
        return tail(right, self.cell["scored"], self.chance)


def read(run: Path) -> tuple[ReportData, list[Shown]]:
    gathered = gather([run])
    answers: dict[str, list[Line]] = {}
    tasks: dict[str, list[Line]] = {}
    for line in read_samples(run):
        tasks.setdefault(line["task"], []).append(line)
        if line["error"] is None:
            answers.setdefault(_about(line), []).append(line)
    chances = {task: chance(lines) for task, lines in tasks.items()}
    shown = [
        Shown(gathered.names[way], cell, answers.get(_about(cell), []), chances[cell["task"]])
        for way, cell in gathered.cells
    ]
    return gathered, shown


def _about(of: Mapping[str, Any]) -> str:
    return canonical([of["task"], of["method"], of["setting"]])


# --- chance ---------------------------------------------------------------------------------


def chance(lines: Iterable[Line]) -> float | None:
    """The share of a task's samples that is right without understanding: by a choice at random, or
    by always giving the answer that is right most often; the larger of both."""
    golds = [_gold(line) for line in {line["id"]: line for line in lines}.values() if line["gold"]]
    if not golds:
        return None
    guessed = math.fsum(1 / choices for _, choices in golds if choices) / len(golds)
    return max(guessed, Counter(gold for gold, _ in golds).most_common(1)[0][1] / len(golds))


def _gold(line: Line) -> tuple[str | None, int]:
    """What the right answer reads as, and among how many; 0 where there is nothing to choose."""
    task = find_task(line["task"])
    choices = dict(_CHOICE.findall(line["question"])) if isinstance(task, Choice) else {}
    reading = task.reading(line["gold"], Sample(line["id"], "", "", "", line["gold"], choices))
    return reading, len(choices) or 2 * (reading in ("yes", "no"))


def tail(right: int, n: int, chance: float) -> float:
    """The probability of at least so many right ones of n, each right by chance."""
    return math.fsum(
        math.comb(n, k) * chance**k * (1 - chance) ** (n - k) for k in range(right, n + 1)
    )


def above(shown: Sequence[Shown]) -> list[Shown]:
    """Those that are better than chance. The more are looked at, the surer each must be."""
    scored = [row for row in shown if row.chance is not None and row.cell["scored"]]
    return [row for row in scored if row.luck < LUCK / len(scored)]


# --- what the document says -----------------------------------------------------------------


def made(header: Header, shown: Sequence[Shown]) -> str:
    """What the figures come from, and whether they are all there."""
    models = " and ".join(
        f"`{model['spec']}` ({role}; SHA-256 {str(model.get('sha256', 'not known'))[:12]})"
        for role, model in header["models"].items()
    )
    versions = ", ".join(f"{name} {version}" for name, version in header["versions"].items())
    options = ", ".join(f"{name} {value}" for name, value in header["options"].items())
    wanted = sum(asked(header, task) for task in header["tasks"]) * _ways(header)
    there = sum(row.cell["n"] + row.cell["errors"] for row in shown)
    failed = sum(row.cell["errors"] for row in shown)
    text = (
        f"The figures of this page are of {there:,} answers by {models}; {versions}; {options}; "
        f"begun {header['started'][:10]} on {header['machine']['cores']} cores."
    )
    if failed:
        text += f" {failed:,} of them failed and are in no figure."
    if there < wanted:
        text += (
            f" **The run is not finished: {wanted - there:,} of {wanted:,} answers are missing**, "
            "and figures will change."
        )
    return text


def _ways(header: Header) -> int:
    """Ways to answer each sample: only `nudging` reads what is varied here."""
    others = len(header["methods"]) - ("nudging" in header["methods"])
    return others + len(header["variants"]) * ("nudging" in header["methods"])


def accuracy(shown: Sequence[Shown]) -> str:
    better = above(shown)
    head = ["task", "way", "n", "right", "95 %", "chance", "over base", "95 % of it"]
    head += ["read", "nudged", "ended", "words", "repetition"]
    rows: list[list[object]] = []
    for row in shown:
        cell = row.cell
        right = _share(cell["accuracy"])
        rows.append(
            [
                cell["task"],
                row.way,
                cell["n"],
                f"**{right}**" if row in better else right,
                _ends(cell["ci95"]),
                _share(row.chance),
                _share(cell["difference"], "+"),
                _ends(cell["difference_ci95"], "+"),
                _share(cell["read_rate"]),
                _share(cell["nudge_rate"]),
                _share(cell["ended_rate"]),
                *(_measure(cell["measures"], name) for name in ("words", "repetition")),
            ]
        )
    return table(head, rows)


def claims(shown: Sequence[Shown]) -> str:
    """What can be told from the right answers, in words."""
    scored = [row for row in shown if row.chance is not None and row.cell["scored"]]
    if not scored:
        return "No answer of a task with right answers is there yet."
    better = above(shown)
    least = f"{100 * LUCK / len(scored):.2g} %"
    rest = (
        f"Of the other {len(scored) - len(better)} nothing is claimed"
        if better
        else "Nothing is claimed of any of them"
    )
    parts = [
        f"Of {len(scored)} figures, {_counted(len(better))} better than chance (each with "
        f"less than {least} for luck)" + (": " + _listed(better) if better else "") + ". "
        f"{rest}, high or low."
    ]
    bases = {row.cell["task"]: row for row in scored if row.cell["method"] == BASELINE}
    compared = [
        row
        for row in scored
        if row.cell["method"] == "nudging"
        and row.cell["difference_ci95"]
        and (row in better or bases.get(row.cell["task"]) in better)
    ]
    apart = [row for row in compared if not _holds(row.cell["difference_ci95"], 0)]
    if not compared:
        parts.append(
            "Nudging against the base model alone: in no task is either of them better than "
            "chance, so there is nothing to compare."
        )
    else:
        parts.append(
            f"Nudging against the base model alone, where one of the two is better than chance "
            f"({len(compared)} of the figures): the interval of the "
            + (
                "difference leaves out 0 for "
                + "; ".join(
                    f"{row.cell['task']}, {row.way}: {_share(row.cell['difference'], '+')} points "
                    f"({_ends(row.cell['difference_ci95'], '+')})"
                    for row in apart
                )
                + "."
                if apart
                else "difference holds 0 in all of them."
            )
        )
    return "\n\n".join(parts)


def _listed(rows: Sequence[Shown]) -> str:
    tasks: dict[str, list[str]] = {}
    for row in rows:
        right, level = _share(row.cell["accuracy"]), _share(row.chance)
        tasks.setdefault(f"{row.cell['task']} (chance {level} %)", []).append(
            f"{row.way} {right} %"
        )
    return "; ".join(f"{task}: {', '.join(ways)}" for task, ways in tasks.items())


# --- form -----------------------------------------------------------------------------------


def form(shown: Sequence[Shown]) -> str:
    """Open instructions: how answers look, with their differences from the base model's."""
    opened = [row for row in shown if row.chance is None and row.lines]
    if not opened:
        return "No answer to an open instruction is there yet."
    head = ["task", "way", "n"]
    for name in MEASURES:
        head += [name, "over base", "95 % of it"]
    rows: list[list[object]] = []
    told = []
    for row in opened:
        base = next((r for r in opened if _is_base(r, row.cell["task"])), None)
        cells: list[object] = [row.cell["task"], row.way, row.cell["n"]]
        for name in MEASURES:
            cells.append(_measure(row.cell["measures"], name))
            gain = None if base is None or base is row else gained(row, base, name)
            cells += ["", ""] if gain is None else _gain(gain, name)
        rows.append([*cells, _share(row.cell["measures"].get("refusal"))])
        if base is not None and row.cell["method"] == "nudging":
            told.append(_said(row, base))
    return "\n\n".join([table([*head, "refusals"], rows), *told])


def _is_base(row: Shown, task: str) -> bool:
    return (row.cell["task"], row.cell["method"]) == (task, BASELINE)


class Gain(NamedTuple):
    mean: float
    ends: Sequence[float] | None


def gained(row: Shown, base: Shown, measure: str) -> Gain | None:
    """The mean difference of a measure from the base model's, sample by sample."""
    before = {line["id"]: line["score"]["measures"][measure] for line in base.lines}
    each = [
        line["score"]["measures"][measure] - before[line["id"]]
        for line in row.lines
        if line["id"] in before
    ]
    return Gain(_mean(each) or 0.0, interval(each)) if each else None


def _said(row: Shown, base: Shown) -> str:
    """A way beside the base model, in words; what the interval leaves open is said to be open."""
    verbs = {
        "ended": ("ends more of its answers", "ends fewer of its answers"),
        "repetition": ("repeats itself more", "repeats itself less"),
        "words": ("writes more words", "writes fewer words"),
    }
    sure, open_ = [], []
    for name, (more, less) in verbs.items():
        gain = gained(row, base, name)
        if gain is None or gain.ends is None or _holds(gain.ends, 0):
            open_.append(name)
        else:
            here, there = (_measure(r.cell["measures"], name) for r in (row, base))
            sure.append(f"{more if gain.mean > 0 else less} ({here} against {there})")
    text = f"{row.cell['task']}, {row.way}: beside the base model alone it "
    text += f"{_and(sure)}." if sure else "differs in nothing that can be told."
    return text + (f" No difference can be told in {_and(open_)}." if sure and open_ else "")


def _and(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


# --- figures --------------------------------------------------------------------------------


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _holds(ends: Sequence[float], value: float) -> bool:
    low, high = ends
    return low <= value <= high


def _share(value: float | None, sign: str = "") -> str:
    return "" if value is None else f"{100 * value:{sign}.0f}"


def _ends(values: Sequence[float] | None, sign: str = "") -> str:
    return "" if values is None else " to ".join(_share(value, sign) for value in values)


def _measure(measures: Mapping[str, float | None], name: str) -> str:
    value = measures.get(name)
    return ("" if value is None else f"{value:.0f}") if name == "words" else _share(value)


def _gain(gain: Gain, name: str) -> list[str]:
    scale = 0.01 if name == "words" else 1  # `_share` shows hundredths
    ends = gain.ends and [scale * end for end in gain.ends]
    return [_share(scale * gain.mean, "+"), _ends(ends, "+")]


def _counted(n: int) -> str:
    return f"{n} {'is' if n == 1 else 'are'}" if n else "none is"


def main() -> None:
    run, document = map(Path, sys.argv[1:])
    gathered, shown = read(run)
    (header,) = gathered.headers.values()
    for name, text in (
        ("made", made(header, shown)),
        ("accuracy", accuracy(shown)),
        ("claims", claims(shown)),
        ("form", form(shown)),
    ):
        write_section(document, name, text)


if __name__ == "__main__":
    main()
