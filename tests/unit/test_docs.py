"""Documents that are generated from the code are what the code says now."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from nudging.engines.kinds import find_kind
from nudging.engines.remote.dialects import DIALECTS
from nudging.prompts.templates import NAMED

ROOT = Path(__file__).parents[2]


def test_generated_documents_are_up_to_date() -> None:
    made = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "make.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr


def test_the_options_of_specs_are_all_told() -> None:
    pytest.importorskip("torch")
    from nudging.engines.hf import hf_runtime as hf

    text = (ROOT / "docs" / "models.md").read_text()
    kinds = (find_kind(name) for name in ("hf", "llama", "http", "scripted"))
    known = {option for kind in kinds if kind for option in kind.options or ()}
    table = text.split("| option | of | |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == known
    for name in (*NAMED, *DIALECTS, *hf.DTYPES):
        assert f"`{name}`" in table
