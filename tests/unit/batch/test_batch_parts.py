"""A batch in parts: files of rows cut, parts answered, and the folder where they are kept."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from nudging import NudgedModel
from nudging.batch.row_options import RowOptions
from nudging.errors import InputError, UsageError
from tests.unit.batch.test_batch import FRANCE, PARIS, lines, read_table, table

pytest.importorskip("pyarrow")

from nudging.batch.answer_part import answer_part, bounded
from nudging.batch.parts import BatchPart, InputFiles, cut
from nudging.batch.parts_folder import PartsFolder
from nudging.storage.location import Location

PLAIN = RowOptions({}, {})


def parts_of(files: InputFiles, size: int, but: frozenset[str] = frozenset()) -> list[BatchPart]:
    found: list[BatchPart] = []
    for path in files.paths:
        with files.system.open_input_file(path) as file:
            found += cut(file, path, files.titles[path], files.kind, size, but)
    return found


def answered(folder: Path, parts: list[BatchPart], kind: str) -> Counter[str]:
    with NudgedModel("scripted:base", "scripted:nudge") as model:
        step = bounded(PLAIN.step(model, requests=False), 4)
        to = PartsFolder(str(folder))
        counts = [answer_part(each, kind, PLAIN, step, 4, to, requests=False) for each in parts]
    return sum(counts, Counter[str]())


# --- cutting --------------------------------------------------------------------------------


def test_lines_are_cut_as_they_came(tmp_path: Path) -> None:
    rows = [{"id": "a", "prompt": "x"}, {"prompt": "y"}, "{nonsense", {"prompt": "z"}]
    files = InputFiles.of(str(lines(tmp_path / "in.jsonl", rows)))
    assert (files.kind, files.names) == ("jsonl", ("id", "prompt"))
    one, two = parts_of(files, 2)
    assert [(part.name, part.first) for part in (one, two)] == [
        ("00000-in-000000000", 0),
        ("00000-in-000000002", 2),
    ]
    assert one.rows == b'{"id": "a", "prompt": "x"}\n{"prompt": "y"}'
    assert two.rows == b'{nonsense\n{"prompt": "z"}'


def test_what_is_done_is_not_cut_again(tmp_path: Path) -> None:
    files = InputFiles.of(str(lines(tmp_path / "in.jsonl", [{"prompt": "x"}] * 5)))
    one, two, three = parts_of(files, 2)
    assert parts_of(files, 2, frozenset({one.name, three.name})) == [two]


def test_tables_are_cut_in_their_types(tmp_path: Path) -> None:
    import pyarrow as pa

    columns = {"prompt": ["x", "y", "z"], "price": pa.array([1, None, 3], pa.decimal128(5, 2))}
    files = InputFiles.of(str(table(tmp_path / "in.parquet", columns, row_group_size=2)))
    one, two = parts_of(files, 2)
    found = read_table(_file(tmp_path / "one.parquet", one.rows))
    assert found.schema.names == ["prompt", "price"]
    assert found["price"].type == pa.decimal128(5, 2)
    assert found["prompt"].to_pylist() == ["x", "y"]
    assert read_table(_file(tmp_path / "two.parquet", two.rows))["prompt"].to_pylist() == ["z"]


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def _file(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_a_folder_is_its_files_in_order(tmp_path: Path) -> None:
    for name in ("b/x", "a", ".hidden", "_nudge/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        lines(tmp_path / f"{name}.jsonl", [{"prompt": name}])
    files = InputFiles.of(str(tmp_path))
    assert [Path(path).name for path in files.paths] == ["a.jsonl", "x.jsonl"]
    assert [part.name for part in parts_of(files, 9)] == ["00000-a-000000000", "00001-x-000000000"]
    before = files.facts
    lines(tmp_path / "a.jsonl", [{"prompt": "other"}])
    assert InputFiles.of(str(tmp_path)).facts != before
    assert InputFiles.of(f"file://{tmp_path}").paths == files.paths


def test_what_holds_no_rows_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no rows"):
        InputFiles.of(str(tmp_path))
    with pytest.raises(InputError, match="there is no "):
        InputFiles.of(str(tmp_path / "none"))
    lines(tmp_path / "a.jsonl", [{"prompt": "x"}])
    table(tmp_path / "b.parquet", {"prompt": ["x"]})
    with pytest.raises(UsageError, match="files of jsonl and of parquet"):
        InputFiles.of(str(tmp_path))
    with pytest.raises(UsageError, match="can't use nothing://x"):
        InputFiles.of("nothing://x")


# --- answering and keeping ------------------------------------------------------------------


def test_parts_together_are_the_whole(tmp_path: Path) -> None:
    rows: list[Any] = [{"id": n, "prompt": f"{n}. {FRANCE}", "mine": [n]} for n in range(7)]
    rows[4:6] = [{"mine": 4}, {"prompt": FRANCE}]
    files = InputFiles.of(str(lines(tmp_path / "in.jsonl", rows)))
    out = tmp_path / "out"
    counts = answered(out, parts_of(files, 3), "jsonl")
    assert counts == {"answered": 6, "bad": 1}
    found = [json.loads(line) for path in sorted(out.glob("*.jsonl")) for line in _lines(path)]
    assert [row["id"] for row in found] == [0, 1, 2, 3, "6", 6]
    assert {row["text"] for row in found} == {PARIS}
    (bad,) = out.glob("_nudge/bad/*")
    told = json.loads(bad.read_text())
    assert (told["row"], told["data"]) == (5, {"mine": 4})
    assert sum(PartsFolder(str(out)).done().values(), Counter[str]()) == counts


def test_a_part_that_is_done_is_left_alone(tmp_path: Path) -> None:
    files = InputFiles.of(str(lines(tmp_path / "in.jsonl", [{"prompt": FRANCE}])))
    out = tmp_path / "out"
    parts = parts_of(files, 3)
    answered(out, parts, "jsonl")
    (file,) = out.glob("*.jsonl")
    file.write_text("mine")
    assert answered(out, parts, "jsonl") == {"answered": 1}
    assert file.read_text() == "mine"


def test_tables_stay_tables(tmp_path: Path) -> None:
    files = InputFiles.of(str(table(tmp_path / "in.parquet", {"prompt": [FRANCE] * 3})))
    assert answered(tmp_path / "out", parts_of(files, 2), "parquet") == {"answered": 3}
    found = [read_table(path) for path in sorted((tmp_path / "out").glob("*.parquet"))]
    assert [part["id"].to_pylist() for part in found] == [["1", "2"], ["3"]]
    assert found[0].schema == found[1].schema
    assert found[0]["text"].to_pylist() == [PARIS] * 2


def test_a_folder_says_what_it_holds(tmp_path: Path) -> None:
    folder = PartsFolder(str(tmp_path / "out"))
    assert folder.header_to_resume(resume=False) is None
    assert folder.done() == {}
    folder.begin({"format": 1})
    assert folder.header_to_resume(resume=True) == {"format": 1}
    with pytest.raises(UsageError, match="has been begun"):
        folder.header_to_resume(resume=False)
    assert not folder.is_whole()
    folder.finish({"answered": 1})
    assert folder.is_whole()
    folder.begin({"format": 0})
    with pytest.raises(InputError, match="another version"):
        folder.header_to_resume(resume=True)


def test_no_folder_of_others_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "theirs.txt").write_text("x")
    with pytest.raises(UsageError, match="is not empty"):
        PartsFolder(str(tmp_path)).header_to_resume(resume=True)
    with pytest.raises(UsageError, match="is a file"):
        PartsFolder(str(tmp_path / "theirs.txt")).header_to_resume(resume=True)


def test_a_file_is_there_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Location.of(str(tmp_path)).inside("part")
    place.write(b"one")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("os.replace", killed)
        with pytest.raises(KeyboardInterrupt):
            place.write(b"another")
    assert place.read() == b"one"
    assert [name for name, _ in Location.of(str(tmp_path)).files()] == ["part"]
