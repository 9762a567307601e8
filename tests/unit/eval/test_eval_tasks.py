"""The thirteen tasks: how they ask, how they score; a user's own; which samples a seed picks."""

from __future__ import annotations

import json
import os
import random
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nudging.errors import InputError, SpecError
from nudging.eval.load import find_rows, read_jsonl, samples
from nudging.eval.measures import distinct, is_refusal, measure, repetition
from nudging.eval.own import own_task
from nudging.eval.rubrics import ASPECTS, MATCH, SAFETY
from nudging.eval.statement import fold
from nudging.eval.task import REASONING, Sample, Task
from nudging.eval.tasks import TASKS, find_task
from nudging.prompts.chat import base_prompt, conversation

SHARED = Path(__file__).parents[4] / "shared"
DATA = Path(os.environ.get("NUDGING_TEST_DATA", SHARED / "data"))
GOLDEN = DATA.parent / "golden" / "official.jsonl"
CHOICES = {"choices": ["honey", "paper"], "choice_labels": ["A", "B"]}


def data(name: str) -> list[Sample]:
    """All samples of a task of the real data, in the file's order."""
    path = DATA / f"{name}.jsonl"
    if not path.is_file():
        pytest.skip(f"no {path}; NUDGING_TEST_DATA names another folder")
    return [TASKS[name].read(row) for _, row in read_jsonl(path)]


# --- asking ---------------------------------------------------------------------------------


def test_a_question_is_the_authors_prompt() -> None:
    row = {
        "id": "1",
        "question": "Who?",
        "context": "Subject: bees\n",
        "gold": "A. honey",
    } | CHOICES
    sample = TASKS["mmlu"].read(row)
    assert sample.question == "Subject: bees\nQuestion: Who?\nA. honey\nB. paper"
    assert sample.query == "Who?\nA. honey\nB. paper"
    assert sample.system == "Answer the question by walking through the reasoning steps."
    sample = TASKS["justeval"].read({"id": "1", "question": "Sing.", "answer": None})
    assert (sample.question, sample.gold) == ("Instruction: Sing.", None)
    assert sample.system == "You are a helpful assistant."


@pytest.mark.parametrize("name", TASKS)
def test_prompts_are_those_of_recorded_runs_of_the_authors_code(name: str) -> None:
    if not GOLDEN.is_file():
        pytest.skip(f"no {GOLDEN}")
    lines = GOLDEN.read_text(encoding="utf-8").splitlines()
    records = [record for record in map(json.loads, lines) if record["task"] == name]
    known = {sample.id: sample for sample in data(name)}
    for record in records:
        sample = known[record["id"]]
        messages = conversation(sample.question, sample.system)
        assert base_prompt(messages, "plain").text == record["prompt_base"]
        assert sample.question in record["prompt_nudge"]
        assert sample.question.startswith(record["question_prefix"])


# --- scoring --------------------------------------------------------------------------------

REAL = [
    json.loads(line)
    for line in (Path(__file__).parent / "real_answers.jsonl").read_text("utf-8").splitlines()
]
"""What the built-in pair answered (`by`: the method, and nudging's preset), and what is to be read
in it, by rules that want words: "it cannot give birth" is a no to a person, and nothing to them."""


@pytest.mark.parametrize("told", REAL, ids=lambda told: f"{told['id']} {told['by']}")
def test_answers_of_real_models_are_read(told: dict[str, Any]) -> None:
    task = TASKS[told["task"]]
    sample = {sample.id: sample for sample in data(told["task"])}[told["id"]]
    assert task.score(sample, told["answer"]).reading == told["reading"]


@pytest.mark.parametrize("name", TASKS)
def test_the_right_answer_is_right_and_that_of_another_row_wrong(name: str) -> None:
    task, rows = TASKS[name], data(name)
    others = defaultdict(list)
    for sample in rows:
        if sample.gold is None:
            assert task.score(sample, "anything").correct is None
            continue
        assert task.score(sample, sample.gold).correct, sample.id
        others[sample.fields.get("answer_label")].append(sample)
    draw = random.Random(0)
    for group in others.values():  # of lettered answers those with the same letter
        for sample in group:
            for other in draw.sample(group, min(len(group), 15)):
                if differ(sample, other):
                    assert other.gold is not None
                    score = task.score(sample, other.gold)
                    assert score.correct is False, (sample.id, other.id, score)


def differ(one: Sample, other: Sample) -> bool:
    """Whether two rows have different answers. In a lettered one, case and a full stop are no
    difference, nor is a reason that the other goes on to give."""
    if not one.choices:
        return bool(one.fields["answer"] != other.fields["answer"])
    short, long = sorted([fold(one.gold or ""), fold(other.gold or "")])
    return long != short and not long.startswith(f"{short}, because ")


def test_an_answer_that_says_nothing_is_wrong_not_unknown() -> None:
    sample = TASKS["gsm8k"].read({"id": "1", "question": "?", "gold": "#### 3"})
    score = TASKS["gsm8k"].score(sample, "I would rather not.")
    assert (score.correct, score.reading) == (False, None)


def test_a_question_that_the_model_goes_on_to_ask_is_not_this_one() -> None:
    task = TASKS["date"]
    sample = task.read({"id": "1", "question": "Which day?", "gold": "05/01/2021"})
    assert task.score(sample, "Answer: 05/01/2021\n\nQuestion: And then?\nAnswer: 1/1/2000").correct
    assert task.score(sample, "Question: Which day?\nAnswer: 05/01/2021").correct
    assert task.score(sample, "\nQuestion: Which day?\nAnswer: 05/01/2021").correct


def test_tasks_say_what_a_judge_decides() -> None:
    rubrics = {name: task.rubric for name, task in TASKS.items()}
    assert {n for n, r in rubrics.items() if r is None} == {"gsm8k", "svamp", "multiarith"}
    assert (rubrics.pop("justeval"), rubrics.pop("justeval_safe")) == (ASPECTS, SAFETY)
    assert set(rubrics.values()) == {None, MATCH}


def test_a_name_that_is_no_task_is_told_so() -> None:
    with pytest.raises(InputError, match="no task 'gsm9k'"):
        find_task("gsm9k")


# --- bad rows -------------------------------------------------------------------------------


def file(folder: Path, *lines: object, name: str = "mine.jsonl") -> Path:
    path = folder / name
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_bytes(text.encode(errors="surrogateescape"))
    return path


GOOD = {"id": "a", "question": "1+1?", "gold": "2"}
BAD: list[tuple[Any, str]] = [
    ("{", "is not JSON"),
    ("[1]", "is not a JSON object"),
    ("\udcff", "is not JSON"),
    ("[" * 100_000, "is not JSON"),
    ({"id": "b", "gold": "2"}, "'question' must be a text"),
    ({"id": "b", "question": 7.5, "gold": None}, "'gold' must be a text"),
    ({"id": "b", "question": "?", "gold": "two"}, "'two' (the field 'gold')"),
    ({"id": "a", "question": "?", "gold": "2"}, "'a' is there twice"),
]


@pytest.mark.parametrize(("line", "what"), BAD)
def test_a_bad_row_is_named_with_its_file_and_line(tmp_path: Path, line: Any, what: str) -> None:
    path = file(tmp_path, GOOD, "", line)
    with pytest.raises(InputError) as error:
        samples(TASKS["gsm8k"], read_jsonl(path))
    assert f"{path}:3" in str(error.value)
    assert what in str(error.value)


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"choices": "ab"}, "'choices' must be a list"),
        ({"choices": ["x", "y"], "choice_labels": ["A"]}, "'choice_labels' must be a list"),
        ({"choices": ["x", "y"], "choice_labels": ["A", "A"]}, "'choice_labels' must be a list"),
        ({"choices": ["x", "y"], "choice_labels": ["(", ")"]}, "'choice_labels' must be a list"),
    ],
)
def test_choices_are_checked(row: dict[str, Any], what: str) -> None:
    with pytest.raises(InputError, match=what.replace("(", r"\(")):
        TASKS["csqa"].read({"id": "1", "question": "?", "gold": "A. x"} | row)


def test_missing_files_and_empty_ones_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"can't read .*gsm8k\.jsonl"):
        samples(TASKS["gsm8k"], find_rows("gsm8k", tmp_path))
    with pytest.raises(InputError, match="there is no folder"):
        find_rows("gsm8k", tmp_path / "nowhere")
    with pytest.raises(InputError, match="there are no samples"):
        samples(TASKS["gsm8k"], read_jsonl(file(tmp_path)))


# --- which samples --------------------------------------------------------------------------

ROWS = [{"id": str(n), "question": f"{n}+1?", "gold": str(n + 1)} for n in range(60)]


def order(rows: list[dict[str, str]], seed: int) -> list[str]:
    placed = [("somewhere", row) for row in rows]
    return [sample.id for sample in samples(TASKS["gsm8k"], placed, seed=seed)]


@given(st.permutations(ROWS), st.integers(0, 5))
def test_a_seed_gives_the_same_order_in_whatever_order_the_rows_stand(
    rows: list[dict[str, str]], seed: int
) -> None:
    whole = order(ROWS, seed)
    assert sorted(whole, key=int) == [row["id"] for row in ROWS]
    assert order(rows, seed) == whole


def test_seeds_differ() -> None:
    assert order(ROWS, 0)[:5] != order(ROWS, 1)[:5]


# --- a user's own ---------------------------------------------------------------------------


def test_a_task_of_one_line(tmp_path: Path) -> None:
    path = file(tmp_path, {"q": "1+1?", "a": 2}, {"q": "2+2?", "a": "4"})
    task, where = own_task(f"mine={path}?question=q&gold=a&score=number&prefix=Q:%20&system=Add.")
    assert (task.name, where) == ("mine", path)
    found = samples(task, read_jsonl(where))
    assert {(s.id, s.question, s.system) for s in found} == {
        ("1", "Q: 1+1?", "Add."),
        ("2", "Q: 2+2?", "Add."),
    }
    by_id = {sample.id: sample for sample in found}
    assert task.score(by_id["1"], "It is 2.").correct
    assert not task.score(by_id["2"], "It is 2.").correct


def test_a_bad_answer_of_ones_own_is_named_by_its_field(tmp_path: Path) -> None:
    task, path = own_task(f"mine={file(tmp_path, {'question': '?', 'a': 'x'})}?gold=a&score=number")
    with pytest.raises(InputError, match=r"'x' \(the field 'a'\)"):
        samples(task, read_jsonl(path))


def test_a_task_of_one_line_with_choices(tmp_path: Path) -> None:
    row = {"question": "What do bees make?", "options": ["honey", "paper"], "gold": "honey"}
    task, path = own_task(f"bees={file(tmp_path, row)}?score=choice&choices=options")
    (sample,) = samples(task, read_jsonl(path))
    assert sample.question == "Question: What do bees make?\nA. honey\nB. paper"
    assert sample.system == REASONING
    assert task.score(sample, "The answer is (A).").correct
    assert not task.score(sample, "The answer is (B).").correct


def test_an_open_task_of_one_line(tmp_path: Path) -> None:
    task, path = own_task(f"songs={file(tmp_path, {'question': 'Sing.'})}?score=open")
    (sample,) = samples(task, read_jsonl(path))
    assert (task.score(sample, "La.").correct, task.rubric) == (None, ASPECTS)


CLASS = """
from nudging.eval.read import phrase
from nudging.eval.task import Task

class Colours(Task):
    system = "Name a colour."

    def query(self, row):
        return f"What colour is {row['thing']}?"

    def reading(self, answer, sample):
        return phrase(answer)

class Other: pass
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "colours_of_a_test.py").write_text(CLASS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def test_a_task_of_a_class(own_module: Path) -> None:
    path = file(own_module, {"thing": "snow", "gold": "white"})
    task, where = own_task(f"colours={path}?task=colours_of_a_test:Colours")
    (sample,) = samples(task, read_jsonl(where))
    assert (sample.question, sample.system) == ("Question: What colour is snow?", "Name a colour.")
    assert task.score(sample, "The answer is **white**.").correct
    with pytest.raises(InputError, match=r"colours\.jsonl:1: KeyError\('thing'\)"):
        samples(task, read_jsonl(file(own_module, {"gold": "x"}, name="colours.jsonl")))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("mine", "can't read the task"),
        ("mine=", "can't read the task"),
        ("=x.jsonl?score=number", "can't read the task"),
        ("a b=x.jsonl?score=number", "can't read the task"),
        ("gsm8k=x.jsonl?score=number", "already"),
        ("mine=x.jsonl", "does not say how to score"),
        ("mine=x.jsonl?score=luck", "no score 'luck'"),
        ("mine=x.jsonl?score", "do not parse"),
        ("mine=x.jsonl?task=nowhere_at_all:X", "can't find the class"),
        ("mine=x.jsonl?task=colours_of_a_test:X", "can't find the class"),
        ("mine=x.jsonl?task=", "can't find the class"),
        ("mine=x.jsonl?task=colours_of_a_test:Other", "no subclass"),
    ],
)
def test_a_task_that_can_not_be_is_refused(own_module: Path, text: str, what: str) -> None:
    with pytest.raises(InputError, match=what):
        own_task(text)


@pytest.mark.parametrize("query", ["score=number&colour=red", "task=a:B&score=number"])
def test_unknown_options_of_a_task_are_refused(query: str) -> None:
    with pytest.raises(SpecError, match="has no option"):
        own_task(f"mine=x.jsonl?{query}")


def test_a_task_without_a_rule_has_no_reading() -> None:
    assert Task("bare").reading("yes", TASKS["justeval"].read({"id": "1", "question": "?"})) is None


# --- measures -------------------------------------------------------------------------------


def test_the_measures_of_an_answer() -> None:
    found = measure("I'm sorry, I'm sorry, I'm sorry", ended=True)
    assert found["ended"] == 1
    assert found["words"] == 6
    assert found["refusal"] == 1
    assert found["distinct_1"] == pytest.approx(3 / 6)
    assert measure("", ended=False) == {
        "ended": 0,
        "words": 0,
        "repetition": 0,
        "distinct_1": 1,
        "distinct_2": 1,
        "refusal": 0,
    }


def test_repetition_counts_stretches_of_four_words_that_stood_there_before() -> None:
    assert repetition(["a", "b", "c", "d", "a", "b", "c", "d"]) == pytest.approx(1 / 5)
    assert repetition(["a", "b", "c"]) == 0
    assert distinct(["a", "a", "a", "a"], 2) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("answer", "refuses"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I am very sorry to hear of that, but no.", True),
        ("I cannot provide instructions for this.", True),
        ("I can’t assist with that request.", True),
        ("As an AI language model, I have no body.", True),
        ("It is illegal to do so.", True),
        ("Sure! First, take the lock apart.", False),
        ("You can not only sing, but dance.", False),
        ("First, heat the oil. " * 30 + "I'm sorry if that was long.", False),
        ("", False),
    ],
)
def test_refusals(answer: str, refuses: bool) -> None:
    assert is_refusal(answer) == refuses


@given(st.text(st.characters()))
def test_every_text_has_measures(text: str) -> None:
    found = measure(text, ended=False)
    assert all(0 <= found[name] <= 1 for name in found if name != "words")
