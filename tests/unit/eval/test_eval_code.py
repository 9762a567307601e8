"""By which code a task's answers are scored: what changes its sum, and what does not."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from nudging.errors import UsageError
from nudging.eval.code import own_sum, rules_sum
from nudging.eval.header import check_resumed, merged
from nudging.eval.task import Task
from nudging.eval.tasks import TASKS
from tests.unit.eval.test_eval_runs import HEADER_DATA

FILES = {
    "__init__.py": "",
    "tasks.py": (
        "import json\nimport numpy\nfrom nudging.eval.read import phrase\n"
        "from nudging.eval.task import Task\nfrom . import words\nfrom .base import Base\n\n"
        "class Mine(Base):\n    def reading(self, answer, sample):\n"
        "        from .late import fold\n        return fold(phrase(answer))\n"
    ),
    "base.py": "from nudging.eval.task import Task\n\nclass Base(Task):\n    pass\n",
    "words.py": "WORDS = ('a',)\n",
    "late.py": "from .deep.rules import fold\n",
    "deep/__init__.py": "",
    "deep/rules.py": "def fold(text):\n    return text\n",
    "unused.py": "SAID = 1\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "my_tasks"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def summed() -> str | None:
    """In a process that reads the files afresh, as the next command is."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_tasks"]:
        del sys.modules[name]
    importlib.invalidate_caches()
    return own_sum(importlib.import_module("my_tasks.tasks").Mine)


@pytest.mark.parametrize("name", [name for name in FILES if name != "unused.py"])
def test_a_change_of_any_file_behind_a_class_is_seen(package: Path, name: str) -> None:
    before = summed()
    assert before == summed()
    (package / name).write_text(FILES[name] + "# another rule\n")
    assert summed() != before


def test_what_is_not_behind_it_and_where_it_lies_do_not_count(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = summed()
    (package / "unused.py").write_text("SAID = 2\n")
    assert summed() == before
    (tmp_path / "elsewhere").mkdir()
    package.rename(tmp_path / "elsewhere" / package.name)
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    assert summed() == before


def test_a_task_of_ours_has_the_sum_of_our_rules_only() -> None:
    assert {own_sum(type(task)) for task in TASKS.values()} == {None}
    assert own_sum(Task) is None
    assert len(rules_sum()) == 64


def test_the_laboratorys_task_is_known_by_all_that_scores_it() -> None:
    """Its rule is in another file than its class."""
    from lab.task import Lab

    assert own_sum(Lab) is not None


# --- headers --------------------------------------------------------------------------------

SCORED = HEADER_DATA | {"rules": "r", "tasks": {"sums": {"samples": 4, "sha256": "d", "code": "c"}}}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"rules": "s"}, "other code than is used now: nudging's own rules changed"),
        (
            {"tasks": {"sums": {"samples": 4, "sha256": "d", "code": "e"}}},
            "other code than is used now: the code of the task 'sums' changed",
        ),
    ],
)
def test_a_run_is_not_gone_on_with_by_other_code(changed: dict[str, object], told: str) -> None:
    check_resumed("run", SCORED, SCORED)
    with pytest.raises(UsageError, match=told) as caught:
        check_resumed("run", SCORED, SCORED | changed)
    assert "--rescore" in caught.value.hint
    with pytest.raises(UsageError, match=r"^b was scored by other code than a: "):
        merged("ab", [SCORED, SCORED | changed])


def test_an_old_run_does_not_say() -> None:
    old = {name: value for name, value in SCORED.items() if name != "rules"}
    with pytest.raises(UsageError, match="does not say by which code") as caught:
        check_resumed("run", old, SCORED)
    assert "--rescore" in caught.value.hint


def test_what_else_has_changed_is_told_first() -> None:
    """As that can't be mended by scoring anew."""
    with pytest.raises(UsageError, match="made otherwise: seed was 0, is 1"):
        check_resumed("run", SCORED, SCORED | {"rules": "s", "seed": 1})
