"""What strangers send may be nested, but not until the stack ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nudging.batch.jsonl import JsonlReader, as_json
from nudging.cli import run
from nudging.errors import ConfigError, InputError, ModelError
from nudging.eval.load import read_jsonl
from nudging.eval.run_folder import read_header
from nudging.eval.sample_lines import read_lines
from nudging.launch.sizes import size_of
from nudging.plan.shape import read_answers
from nudging.plan.times import read_times
from nudging.settings import read_config
from nudging.storage.nesting import MOST, holds_more, shallow
from nudging.storage.resumable import HEADER

DEPTHS = [MOST + 2, 300, 500, 950, 985, 995, 5000, 100_000]
PAIR = ["--base", "scripted:base", "--nudge", "scripted:nudge"]


def nest(depth: int) -> str:
    return "[" * depth + "]" * depth


def nested(depth: int) -> Any:
    found: Any = 1
    for place in range(depth):
        found = [found] if place % 2 else {"a": found}
    return found


def test_so_deep_and_no_deeper() -> None:
    data = nested(MOST)
    assert shallow(data) is data
    for depth in (MOST + 1, 10_000):
        with pytest.raises(RecursionError):
            shallow(nested(depth))


@pytest.mark.parametrize("depth", DEPTHS[:-1])
@pytest.mark.parametrize("where", ["array", "table", "dotted", "serve", "option"])
def test_a_config_file(tmp_path: Path, depth: int, where: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(
        {
            "array": f"[pairs.default]\nbase = {nest(depth)}",
            "table": "[pairs.default]\ngamma = " + "{a = " * depth + "1" + "}" * depth,
            "dotted": f"[pairs.default]\ngamma{'.a' * depth} = 1",
            "serve": f"[serve]\nport = {nest(depth)}",
            "option": '[pairs.default]\nbase = "scripted:base"\nnudge = "scripted:nudge"\n'
            f"stop_strings = {nest(depth)}",
        }[where]
    )
    with pytest.raises(ConfigError, match="too deep"):
        read_config(path)


@pytest.mark.parametrize("depth", DEPTHS[:-1])
@pytest.mark.parametrize("form", ["array", "table", "dotted"])
def test_an_option_that_is_set(depth: int, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    value = {
        "array": nest(depth),
        "table": "{a=" * depth + "1" + "}" * depth,
        "dotted": f"{{a{'.a' * depth} = 1}}",
    }[form]
    assert run(["ask", "hi", *PAIR, "--set", f"gamma={value}"]) == 2
    assert "--set gamma has values in values, too deep" in capsys.readouterr().err


@pytest.mark.parametrize("depth", DEPTHS)
def test_rows_of_a_batch(tmp_path: Path, depth: int) -> None:
    """Such a row is a bad one, and kept as it came."""
    path, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    row = f'{{"prompt": "a", "more": {nest(depth)}}}'
    path.write_text(f'{row}\n{{"prompt": "What is the capital of France?"}}\n')
    bad = next(JsonlReader(path).rows(0, None))
    assert "not JSON" in bad.reason
    assert json.loads(as_json(row.encode())) == row
    assert run(["batch", str(path), str(out), *PAIR]) == 1
    assert len(out.read_text().splitlines()) == 1
    assert len((tmp_path / "out.jsonl.bad.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("depth", DEPTHS)
def test_other_files(tmp_path: Path, depth: int) -> None:
    path = tmp_path / HEADER
    path.write_text(f'{{"format": {nest(depth)}}}\n{{}}\n')
    for read in (
        lambda: read_header(tmp_path),
        lambda: list(read_lines(path)),
        lambda: list(read_jsonl(path)),
        lambda: read_times(path),
        lambda: read_answers(path),
    ):
        with pytest.raises(InputError):
            read()
    (tmp_path / "config.json").write_text(nest(depth))
    with pytest.raises(ModelError):
        size_of(str(tmp_path))


LONG = "1" * 5000


def test_numbers_of_thousands_of_digits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Python reads no text as a number of so many digits."""
    path = tmp_path / "config.toml"
    path.write_text(f"[pairs.default]\ngamma = {LONG}")
    with pytest.raises(ConfigError, match=r"5000 digits$"):
        read_config(path)
    assert run(["ask", "Hi", *PAIR, "--set", f"gamma={LONG}"]) == 2
    assert "gamma must be a number from 0 to 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("body", "heavy"),
    [
        (b"[" + b"1," * 99 + b"1]", False),
        (b"[" + b"1," * 100 + b"1]", False),
        (b"[" + b"1," * 101 + b"1]", True),
        (b'["' + b"," * 1000 + b'"]', False),
        (rb'["\\", "' + b"," * 1000 + b'"]', False),
        (rb'["\"' + b"," * 1000 + b'"]', False),
        (rb'["\\",' + b"1," * 101 + b'""]', True),
        (b"[" + b'"",' * 49 + b'"' + b"," * 1000 + b'"]', False),
        (b"[" + b'"",' * 50 + b'"' + b"," * 1000 + b'"]', True),
    ],
)
def test_what_stands_in_strings_is_not_counted(body: bytes, heavy: bool) -> None:
    assert holds_more(body, lambda text: text.count(b","), 100, 50) == heavy
