"""Right answers come out whole: where both models write a text, nothing of the rule cuts it.

The texts are of many forms (lists, tables, code, verse, scripts), and each is written in every
setting of ours: one byte a token to one word a token, the base model sure or in doubt, by either
opener, with each stop rule, as one question and as one of many turns. More texts are read from the
folder of shared cases, where there is one.
"""

from __future__ import annotations

import itertools
import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import pytest

from nudging import NudgedModel
from nudging.engines.scripted import Distribution, ScriptedEngine
from nudging.prompts.chat import Message
from nudging.rule.config import StopRule
from nudging.values.tokens import Candidate, Source, StopReason

CASES = Path(__file__).parents[4] / "shared" / "cases" / "whole_texts.jsonl"


def rows(line: str, count: int) -> str:
    return "".join(line.format(n=n, twice=2 * n, square=n * n) for n in range(1, count + 1))


SONG = (
    "Oh, the wind goes over the hill,\nOver the hill and away,\n"
    "And the rain comes after it still,\nOn every holiday.\n"
)
TEXTS = {
    "sums": rows("On day {n} she sold {twice} * 3 = {square} cakes at the market.\n", 9) + "So 9.",
    "table": "| Day | What was done | Hours |\n|---|---|---|\n"
    + rows("| {n} | Painted the fence behind the house | {twice} |\n", 12)
    + "\nThat is all.",
    "table of one row": rows("| the same | in each of the rows of it | 7 |\n", 1) * 5 + "\nDone.",
    "inserts": rows("INSERT INTO stock (id, amount) VALUES ({n}, {square});\n", 14),
    "calls": rows('    assert rounded({n}.5) == {n}, "halves go down"\n', 8) + "\nRun it.",
    "chorus": "\n\n".join([SONG + rows("A verse of which line {n} is new,\n", 1), SONG, SONG]),
    "the chorus thrice": SONG * 3 + "\nThis is the song.",
    "a line five times": "I will not talk in class again.\n" * 5 + "There you are.",
    "a line ten times": "I will not talk in class again.\n" * 10 + "There you are.",
    "a word fifteen times": " ".join(["Row"] * 15) + ", they sang.",
    "counting": ", ".join(map(str, range(1, 121))) + ".",
    "countdown": rows("T minus {n} seconds and counting.\n", 20) + "Lift-off.",
    "steps": rows("Step {n}: Turn the left screw by a quarter and wait.\n", 7) + "Done.",
    "zeros": "weights = [" + ", ".join(["0"] * 50) + "]\n",
    "address": "See https://example.net/find?of=" + "a1b2" * 40 + " for it.",
    "digits": "It is 0."
    + "3" * 60
    + ", and so on. Pi is 3.14159265358979323846264338327950288419.",
    "rules": "Title\n" + "=" * 80 + "\n\n" + "-" * 80 + "\n| --- | --- | --- | --- | --- | --- |\n",
    "nested": '{"a": {"b": {"c": {"d": [[1, 2], [1, 2], [1, 2], [1, 2]]}}}}',
    "html": "<ul>\n" + "  <li><a href='#'>Read more</a></li>\n" * 6 + "</ul>\n",
    "gap": "def f():\n" + "    " * 12 + "pass\n\n\n\n\n\n\n\nreturn",
    "laughter": "Ha" + "ha" * 20 + "! " + "No, " * 12 + "not again.",
    "questions": "Question: Is it so?\nAnswer: Yes.\n\nQuestion: Is that all?\nAnswer: Yes.\n",
    "speakers": "User: hello\nAssistant: hi\nUser: bye\nAssistant: bye\nInstruction: none\n",
    "scripts": "naïve 東京は首都です。 مرحبا 👩‍🚀 e\u0301 \u1100\u1161 done",
    "thai": "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย",
    "control": "<|im_end|> and </s> are only text, as is [INST].",
    "breaks": "\n\n  One.\r\n\r\nTwo.\t\tThree.\n\n",
}


def cut_as(tokens: str) -> Callable[[bytes], list[bytes]]:
    patterns = {
        "bytes": rb"[\x00-\xff]",
        "words": rb"\s*[^\s]+|\s+",
        "threes": rb"[\x00-\xff]{1,3}",
    }
    return lambda data: re.findall(patterns[tokens], data, re.DOTALL)


def writer(text: str, tokens: str, sure: float, other: bytes) -> ScriptedEngine:
    """A model that writes this text, each token with probability `sure`, and then ends.
    `other`: what might come instead."""
    data = text.encode()
    following: dict[int, bytes] = {}
    at = 0
    for token in cut_as(tokens)(data):
        following[at] = token
        at += len(token)
    starts = list(following)

    def after(prompt: str, so_far: bytes) -> Distribution:
        if not data.startswith(so_far):
            return [Candidate(other, 1.0)]
        at = len(so_far)
        start = starts[bisect_right(starts, at) - 1]
        rest = following.get(start, b"")[at - start :]
        return [Candidate(rest, sure), Candidate(other, 0.1)]  # others are left out

    return ScriptedEngine(after)


def settings() -> Iterator[tuple[str, str, float, StopRule, Source, bool]]:
    pairs = [("bytes", "bytes"), ("words", "words"), ("words", "bytes"), ("threes", "words")]
    stops: tuple[StopRule, ...] = get_args(StopRule)
    openers: tuple[Source, ...] = get_args(Source)
    for pair in pairs:
        for sure, stop in itertools.product([0.9, 0.3], stops):
            for opener, talk in itertools.product(openers, [False, True]):
                yield (*pair, sure, stop, opener, talk)


def check_whole(text: str, others: tuple[bytes, bytes] = (b"~", b"_")) -> None:
    talk = [
        Message("user", "Hello"),
        Message("assistant", "Hello."),
        Message("user", "What now?"),
    ]
    for base, nudge, sure, stop, opener, turns in settings():
        model = NudgedModel(
            writer(text, base, sure, others[0]),
            writer(text, nudge, 0.9, others[1]),
            stop=stop,
            opener=opener,
            max_tokens=4000,
            lookahead=8,
        )
        answer = model.answer(talk if turns else "What now?")
        setting = (base, nudge, sure, stop, opener, turns)
        assert (answer.text, setting) == (text, setting)
        assert answer.stop_reason in (StopReason.NUDGE, StopReason.BASE), setting


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_that_both_models_write_is_whole(name: str) -> None:
    check_whole(TEXTS[name])


@pytest.mark.parametrize("name", ["sums", "table", "inserts", "the chorus thrice", "speakers"])
def test_what_is_left_of_the_probability_may_be_that_of_the_end(name: str) -> None:
    check_whole(TEXTS[name], (b"", b""))


def shared_texts() -> dict[str, str]:
    if not CASES.exists():
        return {}
    lines = [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines()]
    return {line["name"]: line["text"] for line in lines}


@pytest.mark.skipif(not CASES.exists(), reason=f"there is no {CASES.name} beside the project")
@pytest.mark.parametrize("name", shared_texts() or ["none"])
def test_a_shared_text_that_both_models_write_is_whole(name: str) -> None:
    check_whole(shared_texts()[name])
