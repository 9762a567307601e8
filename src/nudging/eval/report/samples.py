"""Answers for the page: a short line each, which the page reads only when it shows the answer.

So thousands of answers open at once: the browser reads an index, and only the lines that are looked
at. What JSON would let stand as markup is escaped.
"""

from __future__ import annotations

import json
from typing import Any

from ..sample_lines import Line


class Samples:
    """The samples of all runs, and what each way to answer made of them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        """As JSON, one text each: samples, and answers to them."""
        self._index: dict[tuple[str, str, str], list[Any]] = {}
        self._texts: dict[tuple[str, str, str], dict[str, int]] = {}

    def add(self, way: int, line: Line) -> None:
        about = (line["task"], line["id"], line["question"])
        if about not in self._index:
            asked = {"question": line["question"], "system": line["system"], "gold": line["gold"]}
            self._index[about] = [line["task"], line["id"], self._line(asked), []]
            self._texts[about] = {}
        answer, score = line["answer"], line["score"] or {}
        # Answers to one sample differ where these numbers do: the page need not read the texts.
        numbers = self._texts[about]
        same = numbers.setdefault(answer["text"] if answer else "", len(numbers))
        place = self._line(_short(line))
        self._index[about][3].append([way, place, same, score.get("correct")])

    def _line(self, data: object) -> int:
        self.lines.append(as_json(data))
        return len(self.lines) - 1

    def index(self) -> list[Any]:
        """Of each sample its task, its id, the number of its line, and its answers: of each the
        number of its way, of its line, and of its text, and whether it is right."""
        return list(self._index.values())


def _short(line: Line) -> dict[str, Any]:
    """What is shown of an answer. Probabilities are in thousandths."""
    found: dict[str, Any] = {}
    if line["error"]:
        found["error"] = f"{line['error']['kind']}: {line['error']['message']}"
    if line["score"]:
        found["reading"] = line["score"]["reading"]
    if answer := line["answer"]:
        usage = answer["usage"]
        found |= {"stop": answer["stop_reason"], "tokens": usage["tokens"]}
        found |= {"seconds": answer["seconds"], "spans": [_span(span) for span in answer["spans"]]}
    return found


def _span(span: dict[str, Any]) -> list[Any]:
    """Source, texts of the tokens, their top-1; of a nudge also why, and the base's candidates."""
    tokens = span["tokens"]
    found: list[Any] = [span["source"], [token["text"] for token in tokens]]
    found.append([_thousandths(token["top1"]) for token in tokens])
    if handover := span.get("handover"):
        top = [[each["text"], _thousandths(each["prob"])] for each in handover.get("top", ())]
        found += [handover["reason"], top]
    return found


def _thousandths(probability: float) -> int:
    return round(1000 * probability)


def as_json(data: object) -> str:
    """JSON that may stand in a script element: it can't be ended from within."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
