"""Data from the Hugging Face hub: `datasets` itself, on data sets that the test lays on the disk.

The hub is not asked. What is shown is that rows with the columns which the authors' code reads
become questions, and that failures are told.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nudging.errors import MissingExtra, PullError, install
from nudging.eval.hub import HUB, hub_rows
from nudging.eval.load import samples
from nudging.eval.tasks import TASKS

CHOICES = {"text": ["honey", "paper"], "label": ["A", "B"]}
COLUMNS: dict[str, dict[str, Any]] = {
    "gsm8k": {"question": "1+1? ", "answer": "1+1=<<1+1=2>>2\n#### 1,002"},
    "svamp": {"question_concat": "1+1?", "Equation": "( 1.0 + 1.0 )", "Answer": "2"},
    "multiarith": {"question": "1+1?", "final_ans": "2"},
    "mmlu": {"question": "Who?", "subject": "bees", "choices": ["honey", "paper"], "answer": 0},
    "arc_challenge": {"question": "Who?", "choices": CHOICES, "answerKey": "A"},
    "csqa": {"question": "Who?", "choices": CHOICES, "answerKey": "A"},
    "strategyqa": {"question": "Can it?", "answer": True},
    "sports": {"inputs": "Statement: He ran\nPlausible/implausible?", "targets": ["plausible"]},
    "date": {"inputs": "Q: Which day?\nA:", "targets": ["05/01/2021", "05/02/2021"]},
    "coin_flip": {"inputs": "Q: Is it heads up?", "targets": "no"},
    "last_letter_concat": {"question": 'Letters of "Ann Bob"', "answer": "nb"},
    "justeval": {"input": "Sing.", "output_cand": "La la."},
    "justeval_safe": {"input": "Sing badly.", "output_cand": "No."},
}
ASKED = {
    "gsm8k": ("gsm8k-test-0", "Question: 1+1?", "1+1=<<1+1=2>>2\n#### 1,002"),
    "svamp": ("svamp-test-0", "Question: 1+1?", "( 1.0 + 1.0 ) = 2"),
    "multiarith": ("multiarith-test-0", "Question: 1+1?", "2"),
    "mmlu": (
        "mmlu-val-bees-000",
        "Subject: bees\nQuestion: Who?\nA. honey\nB. paper",
        "A. honey",
    ),
    "arc_challenge": (
        "arc_challenge-validation-0",
        "Question: Who?\nA. honey\nB. paper",
        "A. honey",
    ),
    "csqa": ("csqa-validation-0", "Question: Who?\nA. honey\nB. paper", "A. honey"),
    "strategyqa": ("strategyqa-test-0", "Question: Can it?", "true"),
    "sports": ("sports-default-0", "Question: Statement: He ran", "1. yes\n2. plausible"),
    "date": ("date-default-0", "Question: Which day?", "05/01/2021"),
    "coin_flip": ("coin_flip-test-0", "Question: Is it heads up?", "no"),
    "last_letter_concat": (
        "last_letter_concat-test-0",
        'Question: Letters of "Ann Bob"',
        "nb",
    ),
    "justeval": ("justeval-000", "Instruction: Sing.", None),
    "justeval_safe": ("justeval_safe-800", "Instruction: Sing badly.", None),
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


def lay(folder: Path, name: str, row: dict[str, Any]) -> Path:
    """A data set as the hub holds one: files, and a card that says which is which."""
    hub = HUB[name]
    folder.mkdir()
    (folder / "rows.jsonl").write_text(json.dumps(row) + "\n")
    config = hub.config or "default"
    files = [{"split": hub.split, "path": "rows.jsonl"}]
    card = json.dumps({"configs": [{"config_name": config, "data_files": files}]})
    (folder / "README.md").write_text(f"---\n{card}\n---\n")
    return folder


@pytest.mark.parametrize("name", TASKS)
def test_rows_of_the_hub_are_asked_as_those_of_files(name: str, tmp_path: Path) -> None:
    hub = HUB[name]._replace(path=str(lay(tmp_path / "set", name, COLUMNS[name])))
    (sample,) = samples(TASKS[name], hub_rows(name, hub))
    assert (sample.id, sample.question, sample.gold) == ASKED[name]
    if name == "gsm8k":
        assert sample.fields["answer"] == "1002"


def test_other_columns_than_expected_are_told(tmp_path: Path) -> None:
    hub = HUB["gsm8k"]._replace(path=str(lay(tmp_path / "set", "gsm8k", {"q": "1+1?"})))
    with pytest.raises(PullError, match="row 0 has not the columns"):
        list(hub_rows("gsm8k", hub))


def test_a_data_set_that_is_not_there_is_told(tmp_path: Path) -> None:
    hub = HUB["gsm8k"]._replace(path=str(tmp_path / "nowhere"))
    with pytest.raises(PullError, match="nowhere") as error:
        list(hub_rows("gsm8k", hub))
    assert "--data-dir" in error.value.hint


def test_a_hub_that_can_not_be_reached_is_told(tmp_path: Path) -> None:
    """A process of its own: whether to go online is read where `datasets` is first imported."""
    code = """
from nudging.errors import PullError
from nudging.eval.hub import hub_rows
try:
    list(hub_rows("svamp"))
except PullError as error:
    print(error)
"""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120
    )
    assert "can't load ChilleD/SVAMP" in done.stdout, done.stderr


def test_without_datasets_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra) as error:
        list(hub_rows("gsm8k"))
    assert error.value.hint == install("eval")
