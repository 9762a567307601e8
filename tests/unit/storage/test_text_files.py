"""Files that should be JSON lines and are not: each kind is told, with a command that works."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from nudging.batch.files import open_source
from nudging.errors import InputError, UsageError
from nudging.eval.load import read_jsonl
from nudging.eval.prompts import read_prompts
from nudging.storage.text_files import read_questions

ROWS = [{"question": "Who, then?\né"}, {"question": "漢字"}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
PACKED = gzip.compress(LINES.encode(), mtime=0)  # the same in every process that collects
TABLE = 'question,n\n"Who, then?\né",1\n漢字,2\n'

READERS: Mapping[str, Callable[[Path], Any]] = {
    "batch": open_source,
    "eval": lambda path: list(read_jsonl(path)),
    "bench": read_questions,
}
KINDS: Mapping[str, tuple[bytes, str]] = {
    "UTF-16": (LINES.encode("utf-16"), "is in UTF-16, not UTF-8"),
    "UTF-16, big endian": (b"\xfe\xff" + LINES.encode("utf-16be"), "is in UTF-16, not UTF-8"),
    "UTF-16 with no mark": (LINES.encode("utf-16le"), "is in UTF-16LE, not UTF-8"),
    "UTF-16, big endian with no mark": (LINES.encode("utf-16be"), "is in UTF-16BE, not UTF-8"),
    "UTF-32": (LINES.encode("utf-32"), "is in UTF-32, not UTF-8"),
    "an array": (json.dumps(ROWS).encode(), "is one JSON array"),
    "an array over lines": (json.dumps(ROWS, indent=1).encode(), "is one JSON array"),
    "an array, a row a line": (
        b"\xef\xbb\xbf\n[\n" + b",\n".join(json.dumps(row).encode() for row in ROWS) + b"\n]",
        "is one JSON array",
    ),
    "objects over lines": (
        "\n".join(json.dumps(row, indent=1) for row in ROWS).encode(),
        "is JSON over several lines",
    ),
    "gzip": (PACKED, "is packed"),
}


def run(hint: str, folder: Path) -> None:
    """Do what a hint says, in a shell."""
    command = hint.removeprefix("convert it: ")
    tools = [word for word in ("iconv", "jq", "gzip", "python3") if command.startswith(word)]
    assert tools
    if not shutil.which(tools[0]):
        pytest.skip(f"{tools[0]} is not installed")
    subprocess.run(command, shell=True, check=True, cwd=folder, timeout=60)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_a_file_of_another_kind_is_told_and_how_to_convert_it(
    tmp_path: Path, kind: str, reader: str
) -> None:
    data, told = KINDS[kind]
    path = tmp_path / "my rows.jsonl"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        READERS[reader](path)
    assert told in str(caught.value)
    run(caught.value.hint, tmp_path)
    made = tmp_path / "my rows-lines.jsonl"
    READERS[reader](made)
    assert [json.loads(line) for line in made.read_text("utf-8-sig").splitlines()] == ROWS


@pytest.mark.parametrize("mark", [",", "\t"])
@pytest.mark.parametrize("suffix", [".jsonl", ""])
def test_a_table_as_text(tmp_path: Path, mark: str, suffix: str) -> None:
    """Under a name for JSON lines, and under its own."""
    own = {",": ".csv", "\t": ".tsv"}[mark]
    path = tmp_path / f"rows{suffix or own}"
    path.write_text(
        TABLE.replace("question,", f"question{mark}")
        .replace('",', f'"{mark}')
        .replace("漢字,", f"漢字{mark}"),
        encoding="utf-8",
    )
    with pytest.raises(UsageError) as caught:
        open_source(path)
    assert ("is it CSV?" if suffix else "tells no kind of file") in str(caught.value)
    run(caught.value.hint, tmp_path)
    made = open_source(tmp_path / "rows-lines.jsonl")
    assert [row.data["question"] for row in made.rows(0, None)] == [r["question"] for r in ROWS]


@pytest.mark.parametrize(
    ("name", "data"),
    [("rows.json", json.dumps(ROWS).encode()), ("rows.jsonl.gz", PACKED)],
)
def test_names_that_tell_another_kind(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(UsageError, match="tells no kind of file") as caught:
        open_source(path)
    run(caught.value.hint, tmp_path)
    assert open_source(tmp_path / "rows-lines.jsonl").count == len(ROWS)


def test_parquet_under_another_name(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"PAR1" + bytes(99))
    with pytest.raises(InputError, match="is Parquet") as caught:
        open_source(path)
    assert ".parquet" in caught.value.hint


@pytest.mark.parametrize("data", [b"a word\nand more\n", b"{}\n{}\n", b"3\n", b'"text, more"\n'])
def test_no_line_is_an_object(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"no line of .* is a JSON object with something in it"):
        open_source(path)


@pytest.mark.parametrize(
    "data",
    [
        LINES.encode(),
        b"\xef\xbb\xbf" + LINES.encode(),
        b'\n\n  {"question": "x\\u0000y"}\n',
        b'not JSON\n{"question": "?"}\n',
        b'{"question": [\n{"question": "?"}\n',
    ],
)
def test_json_lines_stay_such(tmp_path: Path, data: bytes) -> None:
    """One line that is wrong is that line's fault, and told there."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(data)
    assert open_source(path).names == ("question",)


def test_prompts_in_lines(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("[a] prompt, as it is\n{what} then?\n")
    assert read_prompts(path, 9) == ["[a] prompt, as it is", "{what} then?"]
    array = path.rename(tmp_path / "prompts.json")
    array.write_text(json.dumps(["a", "b"]))
    with pytest.raises(InputError, match="is one JSON array"):
        read_prompts(array, 9)
    path.write_bytes(LINES.encode("utf-16"))
    with pytest.raises(InputError, match="is in UTF-16") as caught:
        read_prompts(path, 9)
    run(caught.value.hint, tmp_path)
    assert len(read_prompts(tmp_path / "prompts-lines.jsonl", 9)) == len(ROWS)
