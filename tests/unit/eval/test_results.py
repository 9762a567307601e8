"""The figures of docs/results.md: what counts as better than chance, and what is said of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks import results

from tests.made_runs import Line, base, line, make_run, nudge

BEES = "Question: What do bees make?\nA. honey\nB. paper\nC. wax\nD. silk\nE. milk"
OFFICIAL, DEFAULT = {"preset": "official"}, {"preset": "default"}


def choice(number: int, method: str, right: bool, **more: Any) -> Line:
    """A sample of csqa, of which the right answers are A, B, C, D, E in turn."""
    gold = ("A. honey", "B. paper", "C. wax", "D. silk", "E. milk")[number % 5]
    return line(
        "csqa",
        method,
        f"s{number}",
        base("It is so."),
        correct=right,
        gold=gold,
        question=BEES,
        **more,
    )


def opened(number: int, method: str, ended: float, words: int, **more: Any) -> Line:
    found = line("justeval", method, f"s{number}", nudge("a"), correct=None, gold=None, **more)
    measures = {"ended": ended, "words": float(words), "repetition": number / 100, "refusal": 0.0}
    found["score"]["measures"] = measures
    return found


def shown(tmp_path: Path, lines: list[Line]) -> list[results.Shown]:
    return results.read(make_run(tmp_path / "run", lines))[1]


# --- chance ---------------------------------------------------------------------------------


def test_the_chance_of_a_choice_is_one_in_as_many() -> None:
    assert results.chance([choice(n, "base", True) for n in range(10)]) == pytest.approx(0.2)
    # the same samples again change nothing
    twice = [choice(n % 10, "base", True) for n in range(20)]
    assert results.chance(twice) == pytest.approx(0.2)


def test_or_that_of_the_answer_that_is_right_most_often() -> None:
    same = [choice(5 * n, "base", True) for n in range(9)] + [choice(1, "base", True)]
    assert results.chance(same) == pytest.approx(0.9)
    sums = [line("gsm8k", "base", f"s{n}", base("x"), gold=f"#### {n // 2}") for n in range(8)]
    assert results.chance(sums) == pytest.approx(2 / 8)
    coins = [
        line("coin_flip", "base", f"s{n}", base("x"), gold=gold)
        for n, gold in enumerate(["yes", "no", "no", "yes"])
    ]
    assert results.chance(coins) == pytest.approx(0.5)
    assert results.chance([opened(0, "base", 0, 1)]) is None


def test_the_tail_is_the_binomial() -> None:
    assert results.tail(0, 5, 0.3) == pytest.approx(1)
    assert results.tail(5, 5, 0.5) == pytest.approx(1 / 32)
    assert results.tail(2, 3, 0.5) == pytest.approx(0.5)


# --- what is said ---------------------------------------------------------------------------


def test_what_may_be_luck_is_not_spoken_of(tmp_path: Path) -> None:
    lines = [choice(n, "base", n % 4 == 0) for n in range(40)]  # 25 % where chance is 20
    lines += [choice(n, "nudging", n % 4 == 1, setting=DEFAULT) for n in range(40)]
    rows = shown(tmp_path, lines)
    assert results.above(rows) == []
    said = results.claims(rows)
    assert "Of 2 figures, none is better than chance" in said
    assert "Nothing is claimed of any of them, high or low." in said
    assert "there is nothing to compare" in said
    assert "**" not in results.accuracy(rows)


def test_what_is_no_luck_is_said(tmp_path: Path) -> None:
    lines = [choice(n, "base", n % 5 == 0) for n in range(40)]
    lines += [choice(n, "nudging", n % 5 < 4, setting=DEFAULT) for n in range(40)]
    lines += [choice(n, "nudging", n % 5 == 0, setting=OFFICIAL) for n in range(40)]
    rows = shown(tmp_path, lines)
    (better,) = results.above(rows)
    assert better.way == "nudging default"
    said = results.claims(rows)
    assert "1 is better than chance" in said
    assert "Of the other 2 nothing is claimed, high or low." in said
    assert "csqa (chance 20 %): nudging default 80 %" in said
    assert "csqa, nudging default: +60 points (+" in said
    assert "nudging official" not in said
    (row,) = [row for row in results.accuracy(rows).splitlines() if "**80**" in row]
    assert row.startswith("| csqa | nudging default | 40 | **80** | ")


def test_the_more_is_looked_at_the_surer_each_must_be(tmp_path: Path) -> None:
    lines = [choice(n, "base", n < 8) for n in range(20)]  # comes by chance in one of 30 runs
    rows = shown(tmp_path, lines)
    assert len(results.above(rows)) == 1
    assert results.above(rows * 2) == []


def test_form_is_compared_with_the_base_model(tmp_path: Path) -> None:
    lines = [opened(n, "base", 0.0, 90 + n) for n in range(20)]
    lines += [
        opened(n, "nudging", float(n > 1), 90 + (n * 7) % 20, setting=DEFAULT) for n in range(20)
    ]
    text = results.form(shown(tmp_path, lines))
    assert "| justeval | base | 20 | 0 |  |  |" in text
    assert "| justeval | nudging | 20 | 90 | +90 | " in text
    assert text.endswith(
        "justeval, nudging: beside the base model alone it ends more of its answers "
        "(90 against 0). No difference can be told in repetition and words."
    )


def test_a_way_that_differs_in_nothing(tmp_path: Path) -> None:
    lines = [opened(n, method, 1.0, 50) for n in range(5) for method in ("base", "nudging")]
    assert "it differs in nothing that can be told." in results.form(shown(tmp_path, lines))


# --- the document ---------------------------------------------------------------------------


def test_a_run_that_is_not_finished_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [choice(0, "base", True), line("csqa", "base", "s1", question=BEES, gold="A. honey")]
    lines += [choice(0, "nudging", True, setting=DEFAULT)]
    run = make_run(tmp_path / "run", lines)
    document = tmp_path / "doc.md"
    document.write_text(
        "".join(
            f"<!-- {name} -->\nold\n<!-- end of {name} -->\n"
            for name in ("made", "accuracy", "claims", "form")
        )
    )
    monkeypatch.setattr(sys, "argv", ["results", str(run), str(document)])
    results.main()
    text = document.read_text()
    assert "old" not in text
    assert "of 3 answers by `llama:base.gguf`" in text
    assert "1 of them failed" in text
    assert "1 of 4 answers are missing" in text
    assert "No answer to an open instruction is there yet." in text


def test_a_finished_run_says_nothing_of_it(tmp_path: Path) -> None:
    lines = [choice(n, method, True) for n in range(2) for method in ("base", "nudging")]
    gathered, rows = results.read(make_run(tmp_path / "run", lines))
    (header,) = gathered.headers.values()
    assert "missing" not in results.made(header, rows)
