"""Documents that are generated from the code are what the code says now."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import nudging
from nudging import Decision, NudgedModel
from nudging.engines.kinds import find_kind
from nudging.engines.remote.dialects import DIALECTS
from nudging.prompts.templates import NAMED

ROOT = Path(__file__).parents[3]


def test_generated_documents_are_up_to_date() -> None:
    made = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "make.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr


LINES = {"keep": "9", "takeover": "9", "accept": "17, 19", "consult": "18", "end": "12"}
"""Of the pseudo-code, by what is decided there."""


def worked_example() -> list[str]:
    """The decisions of an answer as a table."""
    told: list[str] = []
    taken = False
    with NudgedModel("scripted:base", "scripted:nudge") as model:
        stream = model.stream("What is the capital of France?", trace=True)
        decisions = [event for event in stream if isinstance(event, Decision)]
        text = stream.answer.text
    for decision in decisions:
        line = LINES.get(decision.kind, "1" if decision.note == "opening" else "17")
        line = "11" if taken else line  # the token at a takeover is not asked about again
        taken = decision.kind == "takeover"
        step = decision.step
        seen = [f"`{c.text.decode()}` {c.prob:.2f}" for c in step.top[:2]] if step else []
        note = f" ({decision.note})" if decision.note else ""
        end = decision.at + (len(step.text) if step and decision.kind == "accept" else 0)
        told.append(f"| {line} | {', '.join(seen)} | {decision.kind}{note} | {text[:end]} |")
    return told


def test_the_worked_example_is_a_real_one() -> None:
    text = (ROOT / "docs" / "algorithm.md").read_text(encoding="utf-8")
    found = text.split("<!-- example -->\n")[1].split("<!-- end of example -->")[0]
    assert found.splitlines()[2:] == worked_example()


def test_the_options_of_specs_are_all_told() -> None:
    pytest.importorskip("torch")
    from nudging.engines.hf import hf_loading as hf

    text = (ROOT / "docs" / "models.md").read_text()
    kinds = (find_kind(name) for name in ("hf", "llama", "http", "scripted"))
    known = {option for kind in kinds if kind for option in kind.options or ()}
    table = text.split("| option | of | |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == known
    for name in (*NAMED, *DIALECTS, *hf.DTYPES):
        assert f"`{name}`" in table


def test_the_api_shows_what_an_engine_of_ones_own_imports() -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    shown = {
        f"{module}.{name}"
        for module, names in re.findall(
            r"^::: (\S+)\n    options:\n      members: \[(.*)\]", text, re.M
        )
        for name in names.split(", ")
    }
    assert all(hasattr(import_module(m), n) for m, _, n in (name.rpartition(".") for name in shown))
    shown |= {f"nudging.{name}" for name in nudging.__all__}
    shown |= {
        f"{each.__module__}.{name}"  # by its own module too
        for name in nudging.__all__
        if hasattr(each := getattr(nudging, name), "__module__")
    }
    tree = ast.parse((ROOT / "examples" / "an_engine.py").read_text(encoding="utf-8"))
    imported = {
        f"{node.module}.{name.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("nudging")
        for name in node.names
    }
    to_write_an_engine = {"nudging.prompts.chat.Prompt", "nudging.prompts.chat.Part"}
    assert imported | to_write_an_engine <= shown


DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_files_that_a_document_names_are_there(path: Path) -> None:
    """Anchors are for `make site`, which is strict."""
    text = path.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", text)
    assert [link for link in links if not (path.parent / link).exists()] == []
    named = re.findall(r"`([\w.]+/[\w./]+\.py)`", text)
    folders = [ROOT, ROOT / "src", ROOT / "src" / "nudging", ROOT / "lab"]
    assert [name for name in named if not any((f / name).exists() for f in folders)] == []
