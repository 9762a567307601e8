"""Hints that name a command."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from nudging.errors import MissingExtra


@pytest.mark.parametrize("editable", [True, False])
@pytest.mark.parametrize("there", [True, False])
def test_an_extra_comes_from_where_the_package_came_from(
    there: bool, editable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path / "a clone"
    if there:
        clone.mkdir()
    told = {"url": clone.as_uri(), "dir_info": {"editable": editable}}
    told_by(json.dumps(told), tmp_path, monkeypatch)
    pip = [sys.executable, "-m", "pip", "install"]
    editing = ["--editable"] if editable and there else []
    source = f"{clone}[server]" if there else "nudging[server]"
    assert shlex.split(MissingExtra("nudge serve", "server").hint) == [*pip, *editing, source]


def test_an_extra_comes_from_the_index_where_the_package_came_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told_by(None, tmp_path, monkeypatch)
    hint = MissingExtra("nudge serve", "server").hint
    assert hint == f"{shlex.quote(sys.executable)} -m pip install 'nudging[server]'"


def told_by(direct_url: str | None, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation, as pip describes it."""
    info = folder / "nudging-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.4\nName: nudging\nVersion: 0\n")
    if direct_url is not None:
        (info / "direct_url.json").write_text(direct_url)
    monkeypatch.syspath_prepend(str(folder))
