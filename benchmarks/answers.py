"""How the answers of the built-in pair end, by preset, over the first instructions of a file.

    python -m benchmarks.answers QUESTIONS.jsonl [--limit 40] [--max-tokens 256] [--doc FILE.md]

QUESTIONS has a `question` in each line. A line an answer goes to `--out` as it comes, and a run
that was interrupted goes on from there; remove the file to begin anew.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

from nudging import NudgedModel
from nudging.engines.demo import pull_demo
from nudging.rule.config import Preset

from .sections import add_line, read_lines, table, write_section

PRESETS: tuple[Preset, ...] = ("default", "official")
SHOWN = 10


def run(questions: list[str], max_tokens: int, out: Path) -> list[dict[str, Any]]:
    done = read_lines(out)
    seen = {(r["preset"], r["question"]) for r in done}
    todo = [(p, q) for p in PRESETS for q in questions if (p, q) not in seen]
    if todo:
        pull_demo()
        with NudgedModel("demo:base", "demo:nudge") as model:
            for preset, question in todo:
                # Without speculation a run can be repeated to the byte: no pass has another shape.
                answer = model.answer(
                    question, preset=preset, max_tokens=max_tokens, speculate="off"
                )
                record = {
                    "preset": preset,
                    "question": question,
                    "stop_reason": str(answer.stop_reason),
                    "tokens": answer.usage.tokens,
                    "nudge_rate": round(answer.nudge_rate, 3),
                    "spans": [[span.source, span.text] for span in answer.spans],
                }
                add_line(out, record)
                done.append(record)
                left = sum((r["preset"], r["question"]) not in seen for r in done)
                print(f"{left}/{len(todo)} {preset} {record['stop_reason']}: {question[:60]!r}")
    wanted = set(questions)
    return [r for r in done if r["question"] in wanted]


def figures(records: list[dict[str, Any]]) -> str:
    rows: list[list[object]] = []
    for preset in PRESETS:
        own = [r for r in records if r["preset"] == preset]
        if not own:
            continue
        ends = Counter(r["stop_reason"] for r in own)
        before_limit = sum(n for reason, n in ends.items() if reason not in ("length", "rounds"))
        tokens = sum(r["tokens"] for r in own) / len(own)
        rate = sum(r["nudge_rate"] for r in own) / len(own)
        rows.append(
            [
                f"`{preset}`",
                len(own),
                f"{before_limit / len(own):.0%}",
                f"{ends['nudge'] / len(own):.0%}",
                ", ".join(f"{reason} {n}" for reason, n in ends.most_common()),
                f"{tokens:.0f}",
                f"{rate:.0%}",
            ]
        )
    head = ["preset", "answers", "ended before the limit", "ended by the nudging model"]
    return table([*head, "all ends", "tokens", "nudged words"], rows)


def shown(records: list[dict[str, Any]], questions: list[str]) -> str:
    parts = []
    for question in questions[:SHOWN]:
        parts.append(f"**{question.strip()}**")
        for preset in PRESETS:
            asked = (r for r in records if (r["preset"], r["question"]) == (preset, question))
            record = next(asked, None)
            if record is None:  # a run that is not over yet
                continue
            text = "".join(
                f"⟦{text}⟧" if source == "nudge" else text for source, text in record["spans"]
            )
            end = f"(ends: {record['stop_reason']}, {record['tokens']} tokens)"
            parts.append(f"`{preset}` {end}\n\n```text\n{text.replace('```', '` ` `')}\n```")
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--limit", type=int, default=40)
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--out", type=Path, default=Path("build/answers.jsonl"))
    parser.add_argument("--doc", type=Path, help="a document with sections `ends` and `answers`")
    parser.add_argument("--so-far", action="store_true", help="report what is there, run nothing")
    given = parser.parse_args()
    if not given.questions.exists():
        raise SystemExit(f"there are no questions at {given.questions}")
    lines = given.questions.read_text().splitlines()[: given.limit]
    questions = [json.loads(line)["question"] for line in lines]
    if given.so_far:
        records = [r for r in read_lines(given.out) if r["question"] in questions]
    else:
        records = run(questions, given.max_tokens, given.out)
    print(figures(records))
    if given.doc:
        write_section(given.doc, "ends", figures(records))
        write_section(given.doc, "answers", shown(records, questions))


if __name__ == "__main__":
    main()
