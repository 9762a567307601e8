"""The thirteen data sets on the Hugging Face hub, with their rows in the form of the JSON lines.

Ids, configurations, splits and columns are those that the authors' code loads
(dataset_utils.py), but for the owner's name before `gsm8k`, which newer versions of `datasets`
ask for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ..errors import MissingExtra, PullError

Row = Mapping[str, Any]
LETTERS = "ABCDEFGHIJ"


class Hub(NamedTuple):
    path: str
    config: str | None
    split: str
    row: Callable[[Row], dict[str, Any]]
    """A row of the hub as one of ours, without its id."""
    first: int | None = None
    """The number of the first row, where rows are numbered across splits."""


def hub_rows(name: str, hub: Hub | None = None) -> Iterator[tuple[str, Row]]:
    """The rows of a task, each with its place. Fetched once, then from the cache of `datasets`.

    Raises:
        MissingExtra: `datasets` is not installed. PullError: the data can't be had.
    """
    try:
        import datasets
    except ModuleNotFoundError:
        raise MissingExtra("the Hugging Face hub", "eval") from None
    path, config, split, convert, first = hub or HUB[name]
    try:
        found = datasets.load_dataset(path, config, split=split)
    except Exception as error:  # of four libraries, with no common base
        raise PullError(
            f"can't load {path} with the datasets library: {str(error)[:300]}",
            hint="is the hub reachable? A folder of JSON lines does as well: --data-dir",
        ) from error
    width = len(str(len(found) - 1))
    of_subject: Counter[str] = Counter()
    for place, row in enumerate(found):
        where = f"{path}, {split}, row {place}"
        try:
            ours = convert(row)
        except (LookupError, TypeError, AttributeError) as error:
            raise PullError(f"{where} has not the columns that were expected: {error!r}") from None
        number = f"{split}-{place:0{width}}"
        if name == "mmlu":  # its rows are counted by subject
            number = f"val-{ours['subject']}-{of_subject[ours['subject']]:03}"
            of_subject[ours["subject"]] += 1
        elif first is not None:  # just-eval has numbers of its own
            number = f"{first + place:03}"
        yield where, {"id": f"{name}-{number}", **ours}


def _gsm8k(row: Row) -> dict[str, Any]:
    return {
        "question": row["question"].strip(),
        "answer": row["answer"].rpartition("####")[2].strip().replace(",", ""),
        "gold": row["answer"],
    }


def _svamp(row: Row) -> dict[str, Any]:
    return {
        "question": row["question_concat"].strip(),
        "answer": row["Answer"],
        "gold": f"{row['Equation']} = {row['Answer']}",
    }


def _multiarith(row: Row) -> dict[str, Any]:
    return _plain(row["question"], row["final_ans"])


def _mmlu(row: Row) -> dict[str, Any]:
    labels = list(LETTERS[: len(row["choices"])])
    subject = row["subject"]
    return {
        "subject": subject,
        "context": f"Subject: {subject}\n",
        **_choices(row["question"], row["choices"], labels, labels[row["answer"]]),
    }


def _lettered(row: Row) -> dict[str, Any]:
    given = row["choices"]
    return _choices(row["question"], given["text"], given["label"], row["answerKey"])


def _choices(question: str, texts: list[str], labels: list[str], label: str) -> dict[str, Any]:
    text = texts[labels.index(label)]
    return {
        "question": question,
        "choices": texts,
        "choice_labels": labels,
        "answer": text,
        "answer_label": label,
        "gold": f"{label}. {text}",
    }


def _strategyqa(row: Row) -> dict[str, Any]:
    return _plain(row["question"], "true" if row["answer"] else "false")


def _sports(row: Row) -> dict[str, Any]:
    answer = row["targets"][0]
    gold = "1. yes\n2. plausible" if answer == "plausible" else "1. no\n2. implausible"
    question = row["inputs"].split("Plausible/implausible?")[0].strip()
    return {"question": question, "answer": answer, "gold": gold}


def _date(row: Row) -> dict[str, Any]:
    return _plain(row["inputs"].split("Q:")[1].split("A:")[0], row["targets"][0])


def _coin_flip(row: Row) -> dict[str, Any]:
    return _plain(row["inputs"].split("Q:")[1], row["targets"])


def _last_letters(row: Row) -> dict[str, Any]:
    return _plain(row["question"], row["answer"])


def _justeval(row: Row) -> dict[str, Any]:
    return {"question": row["input"].strip(), "answer": None, "reference": row["output_cand"]}


def _plain(question: str, answer: str) -> dict[str, Any]:
    return {"question": question.strip(), "answer": answer, "gold": answer}


_JUSTEVAL = ("re-align/just-eval-instruct", "gpt_3.5_turbo_0301")
HUB: Mapping[str, Hub] = {
    "gsm8k": Hub("openai/gsm8k", "main", "test", _gsm8k),
    "svamp": Hub("ChilleD/SVAMP", None, "test", _svamp),
    "multiarith": Hub("ChilleD/MultiArith", None, "test", _multiarith),
    "mmlu": Hub("cais/mmlu", "all", "validation", _mmlu),
    "arc_challenge": Hub("allenai/ai2_arc", "ARC-Challenge", "validation", _lettered),
    "csqa": Hub("tau/commonsense_qa", None, "validation", _lettered),
    "strategyqa": Hub("ChilleD/StrategyQA", None, "test", _strategyqa),
    "sports": Hub("hails/bigbench", "sports_understanding_zero_shot", "default", _sports),
    "date": Hub("hails/bigbench", "date_understanding_zero_shot", "default", _date),
    "coin_flip": Hub("skrishna/coin_flip", None, "test", _coin_flip),
    "last_letter_concat": Hub("ChilleD/LastLetterConcat", None, "test", _last_letters),
    "justeval": Hub(_JUSTEVAL[0], "judgements_main", _JUSTEVAL[1], _justeval, first=0),
    "justeval_safe": Hub(_JUSTEVAL[0], "judgements_safety", _JUSTEVAL[1], _justeval, first=800),
}
