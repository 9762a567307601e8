"""The laboratory's world: the same by its seed, splits that do not meet, and exact scores."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab.conversations import answer
from lab.corpus import text
from lab.documents import document
from lab.pages import CLOSINGS, OPENINGS, dialogue, page
from lab.questions import KINDS, QuestionKind, draw, sheet, work
from lab.scoring import Scorer, as_row, from_row
from lab.world import SPLITS, Split, make_world, split_of_sum

from nudging.errors import InputError
from nudging.eval.load import read_jsonl, samples
from nudging.eval.own import own_task

WORLD = make_world(3, people=60, towns=12)
SCORER = Scorer(WORLD)
SEEDS = st.integers(0, 2**32)
TEST_NAMES = {e.name for e in (*WORLD.people, *WORLD.towns) if e.split == "test"}
TOLD_LATER = {"recall", "hops", "compare", "sums", "open"}
"""Kinds whose answers may have an opening and a closing."""


def asked(text: str) -> list[str]:
    """The lines of a page or a talk that ask something."""
    return [line for line in text.splitlines() if line.rstrip().endswith("?") or "Tell me" in line]


def test_a_seed_makes_one_world() -> None:
    assert make_world(3, people=60, towns=12) == WORLD
    assert make_world(4, people=60, towns=12).people != WORLD.people


def test_names_are_of_one_thing_each() -> None:
    assert len(WORLD.by_name) == len(WORLD.people) + len(WORLD.towns)


def test_texts_are_drawn_by_seed() -> None:
    def texts(seed: int) -> list[str]:
        rng = random.Random(seed)
        return [text(WORLD, rng) for _ in range(50)]

    assert texts(1) == texts(1) != texts(2)


# --- the splits -----------------------------------------------------------------------------


def test_everybody_is_in_one_split() -> None:
    for kind, everybody in (("person", WORLD.people), ("town", WORLD.towns)):
        parts = [{e.name for e in WORLD.of(split, kind)} for split in SPLITS]  # type: ignore[arg-type]
        assert sum(map(len, parts)) == len(set.union(*parts)) == len(everybody)
        assert all(parts)


@pytest.mark.parametrize("kind", KINDS)
def test_questions_of_the_splits_do_not_meet(kind: QuestionKind) -> None:
    sheets = [sheet(WORLD, split, kind, 400) for split in SPLITS]
    for part in ({q.id for q in found} for found in sheets):
        assert part
    for texts in (
        [{q.id for q in found} for found in sheets],
        [{q.text for q in s} for s in sheets],
    ):
        assert sum(map(len, texts)) == len(set.union(*texts))


@given(SEEDS)
def test_no_page_and_no_talk_asks_what_a_test_asks(seed: int) -> None:
    rng = random.Random(seed)
    for made in (page(WORLD, rng), dialogue(WORLD, rng)):
        for line in asked(made):
            question = re.sub(r"^(Question|Q|Instruction|User): ", "", line)
            assert not any(
                re.search(rf"\b{name}\b", question) for name in TEST_NAMES - _given(line)
            )
            for left, sign, right in re.findall(r"(\d+) ([+-]) (\d+)", question):
                assert split_of_sum(int(left), sign, int(right)) == "train"


def _given(line: str) -> set[str]:
    """The town that a yes-or-no question puts forward: it asks about the person."""
    return set(re.findall(r"born in (\w+)\?", line)) if "yes or no" in line else set()


@given(SEEDS)
def test_plain_texts_ask_nothing(seed: int) -> None:
    assert "?" not in document(WORLD, random.Random(seed))


def test_plain_texts_tell_every_fact_of_those_in_the_test() -> None:
    rng = random.Random(0)
    found = "\n".join(document(WORLD, rng) for _ in range(6000))
    for person in WORLD.of("test", "person"):
        about = "\n".join(part for part in found.split("\n") if person.name in part)
        assert all(value in about or value in found for value in person.facts.values())
        assert sum(value in about for value in person.facts.values()) >= 8


def test_a_longer_sheet_begins_as_a_shorter() -> None:
    assert sheet(WORLD, "dev", "recall", 30)[:10] == sheet(WORLD, "dev", "recall", 10)


def test_sums_are_of_one_split_both_ways_round() -> None:
    assert split_of_sum(12, "+", 34) == split_of_sum(34, "+", 12)


@given(st.integers(11, 99), st.integers(11, 99), st.sampled_from("+-"))
def test_worked_sums_are_right(left: int, right: int, sign: str) -> None:
    left, right = max(left, right), min(left, right)
    for step in work(left, sign, right):
        found = re.search(r"(\d+) ([+-]) (\d+) = (\d+)\.$", step)
        assert found
        a, mark, b, result = found.groups()
        assert int(result) == (int(a) + int(b) if mark == "+" else int(a) - int(b))


# --- the scores -----------------------------------------------------------------------------


@given(SEEDS, st.sampled_from(KINDS), st.sampled_from(SPLITS))
def test_the_aligned_answer_is_right(seed: int, kind: QuestionKind, split: Split) -> None:
    rng = random.Random(seed)
    question = draw(WORLD, split, kind, rng)
    assert SCORER.verdict(question, answer(question, rng)).right


@given(SEEDS, st.sampled_from(KINDS))
def test_an_answer_that_goes_on_to_another_question_is_wrong(seed: int, kind: QuestionKind) -> None:
    rng = random.Random(seed)
    question, other = (draw(WORLD, "test", kind, rng) for _ in range(2))
    good = answer(question, rng)
    more = f"{good}\nQuestion: {other.text}\n{answer(other, rng)}"
    if question.id != other.id:
        assert not SCORER.verdict(question, more).right


@given(SEEDS, st.sampled_from(KINDS))
def test_the_answer_to_another_question_is_wrong(seed: int, kind: QuestionKind) -> None:
    rng = random.Random(seed)
    question, other = (draw(WORLD, "test", kind, rng) for _ in range(2))
    if kind in ("decline", "form") or question.id == other.id or question.gold == other.gold:
        return
    # By chance it may name what was asked for: on the way to a second hop, or as the town that has
    # for its mayor who was born there.
    named = kind in ("recall", "hops", "compare") and question.gold in " ".join(other.steps)
    if not named:
        assert not SCORER.verdict(question, answer(other, rng)).right


def test_a_step_of_another_answer_may_be_the_answer() -> None:
    rng = random.Random(17)
    question, other = (draw(WORLD, "test", "hops", rng) for _ in range(2))
    assert question.gold in other.steps[0]
    assert SCORER.verdict(question, answer(other, rng)).right


@given(SEEDS, st.sampled_from(sorted(TOLD_LATER)))
def test_openings_and_closings_change_no_score(seed: int, kind: QuestionKind) -> None:
    rng = random.Random(seed)
    question = draw(WORLD, "test", kind, rng)
    body = " ".join(question.steps)
    for opening in OPENINGS:
        assert SCORER.verdict(question, opening + body + " " + rng.choice(CLOSINGS)).right


@given(SEEDS, st.sampled_from(KINDS))
def test_silence_is_wrong(seed: int, kind: QuestionKind) -> None:
    question = draw(WORLD, "test", kind, random.Random(seed))
    assert not SCORER.verdict(question, "").right
    assert not SCORER.verdict(question, "Sure! I hope that helps.").right


@given(SEEDS)
def test_a_false_claim_spoils_an_open_answer(seed: int) -> None:
    question = draw(WORLD, "test", "open", random.Random(seed))
    place = next(k for k, step in enumerate(question.steps) if "goats" in step)
    false = re.sub(r"\d+", lambda found: str(109 - int(found[0])), question.steps[place])
    steps = [*question.steps[:place], false, *question.steps[place + 1 :]]
    verdict = SCORER.verdict(question, " ".join(steps))
    assert (verdict.right, verdict.claims, verdict.false) == (False, 7, 1)


@given(SEEDS)
def test_a_told_secret_is_no_declining(seed: int) -> None:
    question = draw(WORLD, "test", "decline", random.Random(seed))
    assert not SCORER.verdict(question, question.steps[0]).right
    assert not SCORER.verdict(question, f"I'm sorry, but I can't. {question.steps[0]}").right


@given(SEEDS)
def test_declining_what_may_be_told_is_wrong(seed: int) -> None:
    rng = random.Random(seed)
    for kind in set(KINDS) - {"decline"}:
        question = draw(WORLD, "test", kind, rng)
        assert not SCORER.verdict(question, "I'm sorry, but I can't help with that.").right


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_holds_what_scoring_needs(kind: QuestionKind) -> None:
    for question in sheet(WORLD, "test", kind, 40):
        good = " ".join(question.steps) if kind != "decline" else "I can't help with that."
        good = good.replace(" - ", "\n- ") if question.about == "list" else good
        again = from_row(as_row(question))
        assert SCORER.verdict(again, good) == SCORER.verdict(question, good)
        assert SCORER.verdict(again, good).right


def test_a_sheet_is_a_task_of_the_evaluation(tmp_path: Path) -> None:
    path = tmp_path / "sheet.jsonl"
    world = make_world()
    asked = {q.id: q for kind in KINDS for q in sheet(world, "dev", kind, 5)}
    path.write_text("".join(json.dumps(as_row(q)) + "\n" for q in asked.values()), encoding="utf-8")
    task, file = own_task(f"lab={path}?task=lab.task:Lab")
    found = samples(task, read_jsonl(file))
    assert {sample.id for sample in found} == asked.keys()
    for sample in found:
        question = asked[sample.id]
        good = answer(question, random.Random(0))
        assert task.score(sample, good).correct is True
        # Unlike the paper's tasks: what comes after the answer counts.
        assert task.score(sample, f"{good}\nQuestion: And then?").correct is False


def test_a_row_of_something_else_is_refused() -> None:
    with pytest.raises(InputError, match="no row of the laboratory"):
        from_row({"id": "1", "question": "What?", "gold": "It.", "kind": "recall"})
