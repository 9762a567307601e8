"""A batch's parts: what rows ask, files of rows, what is kept of the work, and the joining."""

from __future__ import annotations

import asyncio
import datetime
import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nudging import NudgedModel
from nudging.batch import answer as answer_module
from nudging.batch.answer import PromptAnswerer
from nudging.batch.files import open_sink, open_source, schemas_of
from nudging.batch.job import Job
from nudging.batch.join import join, matched
from nudging.batch.openai_requests import RequestAnswerer, check_ids
from nudging.batch.row import ADDED, Result, Row, bad, question_of
from nudging.batch.row_options import RowOptions
from nudging.batch.work_folder import DoneRows, WorkFolder, opened
from nudging.cli import show
from nudging.engines.scripted import Distribution, ScriptedEngine
from nudging.errors import (
    InputError,
    MissingExtra,
    ModelError,
    NudgingError,
    ServerBusy,
    ServerDown,
    ServerFailed,
    ServerRefused,
    UsageError,
)
from nudging.server.served_models import ServedModels
from nudging.values.tokens import Candidate, Usage

FRANCE, PARIS = "What is the capital of France?", "The capital of France is Paris."
PLAIN = RowOptions({}, {})


def lines(path: Path, rows: list[Any]) -> Path:
    """A file of JSON lines; a text is a line as it is."""
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return path


def table(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path, **options)
    return path


def read_table(path: Path) -> Any:
    import pyarrow.parquet as pq

    return pq.read_table(path)


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# --- rows -----------------------------------------------------------------------------------


def test_a_row_asks_a_prompt_or_a_conversation() -> None:
    turns = [{"role": "user", "content": "Hello"}]
    assert question_of({"prompt": "Hello", "messages": None}) == "Hello"
    assert question_of({"messages": turns}) == turns
    assert question_of({"question": "Hello", "prompt": "no"}, "question") == "Hello"


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({}, "it has no prompt and no messages"),
        ({"prompt": None}, "it has no prompt and no messages"),
        ({"prompt": "a", "messages": []}, "it has both of prompt and messages"),
        ({"prompt": 3}, "neither a text nor a list"),
        ({"prompt": " "}, "the question is empty"),
        ({"prompt": "\ud800"}, "not valid Unicode"),
        ({"messages": []}, "must end with a message of the user"),
        ({"messages": [{"role": "user"}]}, "needs a role and a content"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "a message's role is"),
    ],
)
def test_what_asks_nothing_is_told(row: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        question_of(row)


# --- files ----------------------------------------------------------------------------------


def copied(source: Path, out: Path, prefix: str = "") -> None:
    """All rows of a file written to another, with an answer's columns."""
    opened = open_source(source)
    schemas = schemas_of(opened, prefix) if out.suffix == ".parquet" else None
    sink = open_sink(out, schemas)
    for row in opened.originals():
        added = {prefix + name: None for name in ADDED}
        sink.write(row.with_id, {**added, f"{prefix}text": "an answer"})
    sink.close()


def test_json_lines_are_kept_byte_by_byte(tmp_path: Path) -> None:
    row = (
        '{"id":  1.50, "é": "\\u00e9\\ud83d", "big": 123456789012345678901234567890, "prompt":"x" }'
    )
    source = tmp_path / "in.jsonl"
    source.write_bytes(b"\xef\xbb\xbf" + row.encode() + b"\r\n\n  " + b'{"prompt": "y"}')
    copied(source, tmp_path / "out.jsonl")
    first, second = (tmp_path / "out.jsonl").read_text().splitlines()
    assert first.startswith(row[:-1].rstrip() + ', "text": "an answer", ')
    assert second.startswith('{"id": "2", "prompt": "y", "text": ')
    assert [row.number for row in open_source(source).rows(1, None)] == [1]


def test_parquet_is_kept_whatever_its_types(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    columns = {
        "prompt": pa.array([f"p{n}" for n in range(300)]),
        "when": pa.array([datetime.datetime(2026, 1, 1, 0, 0, n % 60) for n in range(300)]),
        "nanos": pa.array([10**18 + n for n in range(300)], pa.timestamp("ns", "UTC")),
        "price": pa.array([Decimal("1.10")] * 300),
        "raw": pa.array([bytes([n % 256]) for n in range(300)]),
        "named": pa.array(["a", "b", None] * 100).dictionary_encode(),
        "map": pa.array([[("k", n)] for n in range(300)], pa.map_(pa.string(), pa.int64())),
        "half": pa.array([1.5, None, float("nan")] * 100, pa.float32()),
    }
    source = table(tmp_path / "in.parquet", columns, row_group_size=70)
    copied(source, tmp_path / "out.parquet", "nudged_")
    before, after = read_table(source), read_table(tmp_path / "out.parquet")
    assert after.select(list(columns)).equals(before) or str(
        after.select(list(columns)).to_pylist()
    ) == str(before.to_pylist())  # NaN is not equal to itself
    assert after.schema.names == [*columns, "id", *(f"nudged_{name}" for name in ADDED)]
    assert after["id"].to_pylist() == [str(n + 1) for n in range(300)]
    assert [row.number for row in open_source(source).rows(200, ["prompt"])] == [*range(200, 300)]
    assert next(iter(open_source(source).rows(299, ["prompt"]))).data == {"prompt": "p299"}


def test_parquet_becomes_json(tmp_path: Path) -> None:
    columns = {
        "id": [7, 8],
        "prompt": ["x", "y"],
        "at": [datetime.date(2026, 1, 2), None],
        "price": [Decimal("1.10"), None],
        "raw": [b"\xff", None],
        "score": [float("nan"), 0.5],
        "turns": [[{"role": "user", "content": "hi"}], []],
    }
    copied(table(tmp_path / "in.parquet", columns), tmp_path / "out.jsonl")
    first, second = read_lines(tmp_path / "out.jsonl")
    assert {name: first[name] for name in columns} == {
        "id": 7,
        "prompt": "x",
        "at": "2026-01-02",
        "price": "1.10",
        "raw": "/w==",
        "score": None,
        "turns": [{"role": "user", "content": "hi"}],
    }
    assert second["score"] == 0.5


def test_json_becomes_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    rows = [{"prompt": f"{n}", "n": n, "turns": [{"role": "user"}]} for n in range(2500)]
    rows[1999] |= {"n": 0.5, "later": {"a": [1]}}
    copied(lines(tmp_path / "in.jsonl", rows), tmp_path / "out.parquet")
    found = read_table(tmp_path / "out.parquet")
    assert found.num_rows == 2500
    assert str(found.schema.field("n").type) == "double"
    assert found["later"][1999].as_py() == {"a": [1]}
    assert found["turns"][0].as_py() == [{"role": "user"}]
    assert found["id"][2].as_py() == "3"
    usage = found.schema.field("usage").type
    assert {field.name for field in usage} == set(Usage().as_dict())


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([{"prompt": "x", "n": 1}] * 1500 + [{"prompt": "x", "n": "one"}], "column n can't be"),
        ([{"prompt": "x", "n": 1}, {"prompt": "x", "n": "one"}], "column n can't be"),
        ([{"prompt": "x", "n": 2**70}], "column n can't be"),
        ([{"prompt": "x", "n": 2**60}, *[{"prompt": "x", "n": 0.5}] * 1500], "column n can't be"),
        ([{"prompt": "x", "n": {}}], "can't be written to Parquet"),
    ],
)
def test_what_parquet_can_not_hold_is_found_before_anything_is_asked(
    tmp_path: Path, rows: list[Any], told: str
) -> None:
    pytest.importorskip("pyarrow")
    source = lines(tmp_path / "in.jsonl", rows)
    with pytest.raises(InputError, match=told) as caught:
        Job.of(source, tmp_path / "out.parquet", PLAIN)
    assert ".jsonl" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("in.csv", b"a,b", "tells no kind of file"),
        ("in.jsonl", b"\n \n", "holds no rows"),
        ("in.parquet", b"nonsense", "is not a Parquet file"),
    ],
)
def test_a_file_that_holds_no_rows_is_told(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=told):
        open_source(tmp_path / name)


def test_a_line_without_end_is_not_read_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nudging.batch.jsonl._LONGEST", 100)
    lines(tmp_path / "in.jsonl", [{"prompt": "x" * 200}])
    with pytest.raises(InputError, match=r"line 1 of .* is longer than"):
        open_source(tmp_path / "in.jsonl")


# --- what is kept ---------------------------------------------------------------------------


@given(st.permutations(range(30)), st.integers(0, 30))
def test_settled_rows_are_those_that_were_added(order: list[int], count: int) -> None:
    settled = DoneRows()
    for row in order[:count]:
        assert row not in settled
        settled.add(row)
    assert [row in settled for row in range(30)] == [row in order[:count] for row in range(30)]
    assert len(settled) == count
    assert settled.below == next(row for row in range(31) if row not in order[:count])


@given(st.permutations(range(12)), st.permutations(range(12)))
def test_what_has_one_number_comes_together(one: list[int], other: list[int]) -> None:
    found = list(matched([(n, f"a{n}") for n in one], [(n, f"b{n}") for n in other]))
    assert found == [(n, f"a{n}", f"b{n}") for n in one]


@pytest.mark.parametrize("others", [[0, 1], [0, 1, 1, 2], [0, 1, 2, 3], [0, 3, 1, 2]])
def test_what_has_no_other_or_two_is_told(others: list[int]) -> None:
    with pytest.raises(InputError):
        list(matched([(n, "") for n in range(3)], [(n, "") for n in others]))


def test_results_outlive_a_kill_at_any_byte(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path)
    results = [Result("answered", {"text": "a\nb é"}), bad("no"), Result("failed", {})]
    for row, result in enumerate(results):
        work.add(row, result)
    work.close()
    whole = (tmp_path / "results.jsonl").read_bytes()
    ends = [n + 1 for n, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole) + 1):
        (tmp_path / "results.jsonl").write_bytes(whole[:cut])
        work = WorkFolder(tmp_path)
        done = sum(end <= cut for end in ends)
        assert [row in work.settled for row in range(3)] == [row < done for row in range(3)]
        for row in range(done, 3):
            work.add(row, results[row])
        assert list(work.results()) == list(enumerate(results))
        assert work.counts == {"answered": 1, "bad": 1, "failed": 1}
        work.close()
    (tmp_path / "results.jsonl").write_bytes(whole + whole[: ends[0]])
    with pytest.raises(InputError, match=r"line 4 of .* is damaged"):
        WorkFolder(tmp_path)
    (tmp_path / "results.jsonl").write_bytes(b"\0" * 20 + b"\n" + whole)
    with pytest.raises(InputError, match=r"line 1 of .* is damaged"):
        WorkFolder(tmp_path)


def test_what_other_work_has_left_is_not_taken_for_its_own(tmp_path: Path) -> None:
    with opened(tmp_path, {}) as work:
        work.add(0, bad("no"))
    with opened(tmp_path, {}) as work:
        assert len(work.settled) == 1
    (tmp_path / "header.json").unlink()
    with opened(tmp_path, {}) as work:
        assert len(work.settled) == 0


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_rows_and_results_are_joined_in_either_order(
    tmp_path: Path, kind: str, ordered: bool
) -> None:
    if kind == "jsonl":
        rows: list[Any] = [{"id": n, "prompt": "x"} for n in range(40)]
        rows[5] = "nonsense"
        path = lines(tmp_path / "in.jsonl", rows)
    else:
        path = table(tmp_path / "in.parquet", {"id": range(40), "prompt": ["x"] * 40})
    order = random.Random(3).sample(range(40), 40)
    work = WorkFolder(tmp_path)
    for row in order:
        work.add(row, bad("it is 5") if row == 5 else Result("answered", {"text": f"a{row}"}))
    out, side = tmp_path / f"out.{kind}", tmp_path / "side.jsonl"
    source = open_source(path)
    schemas = schemas_of(source, "") if kind == "parquet" else None
    join(source, work, open_sink(out, schemas), side, ordered=ordered, own=True)
    work.close()
    found = read_lines(out) if kind == "jsonl" else read_table(out).to_pylist()
    wanted = [row for row in (range(40) if ordered else order) if row != 5]
    assert [(row["id"], row["text"]) for row in found] == [(n, f"a{n}") for n in wanted]
    told = "nonsense" if kind == "jsonl" else {"id": 5, "prompt": "x"}
    assert read_lines(side) == [{"row": 6, "reason": "it is 5", "data": told}]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_bad_row_is_told_as_it_came(tmp_path: Path, kind: str) -> None:
    if kind == "jsonl":
        wanted = ['{"n":  1e999, "n": 1.50}', "[1]", '"{\\"prompt\\": NaN}"', '"\\\\xff"']
        path = tmp_path / "in.jsonl"
        path.write_bytes(b'{"n":  1e999, "n": 1.50}\n[1]\n\n{"prompt": NaN}\n\xff\n')
    else:
        wanted = ['{"prompt": null}']
        path = table(tmp_path / "in.parquet", {"prompt": [None]})
    source = open_source(path, 7)
    work = WorkFolder(tmp_path)
    for row in source.rows(0, None):
        work.add(row.number, bad("no"))
    side = tmp_path / "side.jsonl"
    join(source, work, open_sink(tmp_path / "out.jsonl", None), side, ordered=True, own=True)
    work.close()
    assert side.read_text().splitlines() == [
        f'{{"row": {row}, "reason": "no", "data": {data}}}' for row, data in enumerate(wanted, 8)
    ]


# --- answers --------------------------------------------------------------------------------


def failing(errors: list[Exception]) -> ScriptedEngine:
    """A base model that raises these, one a time it is asked, and then answers."""

    def following(prompt: str, text: bytes) -> Distribution:
        if errors:
            raise errors.pop(0)
        return [Candidate(b" ab", 0.9), Candidate(b"x", 0.1)]

    return ScriptedEngine(following)


def result_of(errors: list[Exception]) -> Result:
    with NudgedModel(failing(errors), "scripted:nudge", max_tokens=4) as model:
        return asyncio.run(PromptAnswerer(model, {})({"prompt": FRANCE}))


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_module, "PAUSES", (0.0, 0.0))


def test_an_answer_is_told_in_five_columns() -> None:
    with NudgedModel("scripted:base", "scripted:nudge") as model:
        step = PromptAnswerer(model, {}, prefix="n_")
        result = asyncio.run(step({"prompt": FRANCE}))
    assert result.kind == "answered"
    assert list(result.data) == [f"n_{name}" for name in ADDED]
    assert result.data["n_text"] == PARIS
    assert result.data["n_stop_reason"] == "nudge"
    assert "".join(span["text"] for span in result.data["n_spans"]) == PARIS
    assert result.data["n_spans"][0] == {
        "source": "nudge",
        "text": "The capital",
        "handover": "opening",
    }
    assert result.data["n_usage"]["tokens"] == 7
    assert result.data["n_error"] is None


def test_a_system_text_of_the_row_goes_before_the_commands() -> None:
    seen: list[str] = []

    def following(prompt: str, text: bytes) -> Distribution:
        seen.append(prompt)
        return [Candidate(b" ab", 1.0)]

    engine = ScriptedEngine(following)
    own = [{"role": "system", "content": "Mine."}, {"role": "user", "content": "Hello"}]
    with NudgedModel(engine, "scripted:nudge", max_tokens=4) as model:
        step = PromptAnswerer(model, {}, system="The command's.")
        for row in ({"messages": own}, {"prompt": "Hello"}):
            assert asyncio.run(step(row)).kind == "answered"
    assert {prompt.splitlines()[0] for prompt in seen} == {"Mine.", "The command's."}


@pytest.mark.usefixtures("at_once")
def test_what_may_pass_is_tried_again_and_then_is_the_rows_failure() -> None:
    assert result_of([ServerFailed("broke off")] * 2).kind == "answered"
    failed = result_of([ServerFailed("broke off")] * 3)
    assert failed.kind == "failed"
    assert failed.data["error"] == {"kind": "ServerFailed", "message": "broke off"}
    assert failed.data["text"] is None
    assert result_of([ModelError("broken")]).data["error"]["kind"] == "ModelError"


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    "error",
    [
        ServerDown("gone"),
        ServerBusy("busy"),
        ServerRefused("no such key", code=401),
        MissingExtra("a preset", "paper"),
    ],
)
def test_a_server_that_is_gone_ends_the_work_and_not_the_row(error: NudgingError) -> None:
    with pytest.raises(type(error)):
        result_of([error] * 3)


def test_a_column_that_is_there_already_makes_a_bad_row() -> None:
    with NudgedModel("scripted:base", "scripted:nudge") as model:
        result = asyncio.run(PromptAnswerer(model, {})({"prompt": FRANCE, "text": "mine"}))
    assert result == bad("it has a column text of its own")


# --- OpenAI's format ------------------------------------------------------------------------


def request(body: object, url: object = "/v1/chat/completions", **other: object) -> dict[str, Any]:
    return {"custom_id": "a", "method": "POST", "url": url, "body": body, **other}


def asked(row: dict[str, Any], errors: list[Exception] | None = None) -> Result:
    with NudgedModel("scripted:base", "scripted:nudge") as model:
        base = model.base if errors is None else failing(errors)
        return asyncio.run(RequestAnswerer(ServedModels(base, model.nudge))(row))


def test_a_request_is_answered_as_the_server_would() -> None:
    body = {"messages": [{"role": "user", "content": FRANCE}], "n": 2, "model": "nudged"}
    result = asked(request(body))
    assert result.kind == "answered"
    assert result.data["custom_id"] == "a"
    assert result.data["error"] is None
    assert result.data["response"]["status_code"] == 200
    reply = result.data["response"]["body"]
    assert reply["object"] == "chat.completion"
    assert [choice["message"]["content"] for choice in reply["choices"]] == [PARIS] * 2
    assert reply["usage"]["completion_tokens"] == 14
    text = asked(request({"prompt": FRANCE, "model": "nudge"}, "/v1/completions"))
    assert text.data["response"]["body"]["object"] == "text_completion"
    response = asked(request({"input": FRANCE}, "/v1/responses")).data["response"]["body"]
    assert (response["object"], response["output"][0]["content"][0]["text"]) == ("response", PARIS)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (request({}, custom_id=3), "custom_id must be a text"),
        (request({}, method="GET"), "method must be POST"),
        (request({}, "/v1/embeddings"), "url must be one of"),
        (request({}, ["x"]), "url must be one of"),
        (request([]), "body must be an object"),
    ],
)
def test_what_is_no_request_is_a_bad_row(row: dict[str, Any], told: str) -> None:
    result = asked(row)
    assert result.kind == "bad"
    assert told in result.data["reason"]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (request({}), "messages must hold"),
        (request({"messages": [{}], "response_format": {"type": "json_object"}}), "not supported"),
        (request({"prompt": "x", "stream": True}, "/v1/completions"), "no streams"),
    ],
)
def test_what_the_server_refuses_is_answered_with_its_error(row: dict[str, Any], told: str) -> None:
    result = asked(row)
    assert (result.kind, result.data["custom_id"]) == ("failed", "a")
    assert result.data["response"]["status_code"] == 400
    assert told in result.data["response"]["body"]["error"]["message"]


def test_ids_of_requests_are_not_used_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["a", None, "b", None, 3, 3, "b"]
    source = lines(tmp_path / "in.jsonl", [request({}, custom_id=name) for name in names])
    with pytest.raises(InputError, match="rows 3 and 7 have the same custom_id, 'b'"):
        Job.of(source, tmp_path / "out.jsonl", PLAIN)
    monkeypatch.setattr("nudging.batch.openai_requests.MOST_IDS", 6)
    check_ids(Row(number, {"custom_id": name}) for number, name in enumerate(names))


@pytest.mark.usefixtures("at_once")
def test_a_request_that_fails_has_the_servers_status() -> None:
    body = {"messages": [{"role": "user", "content": FRANCE}]}
    refused = asked(request({**body, "model": "gpt"}))
    assert (refused.kind, refused.data["response"]["status_code"]) == ("failed", 404)
    failed = asked(request(body), [ServerFailed("broke off")] * 3)
    assert (failed.kind, failed.data["response"]["status_code"]) == ("failed", 502)
    assert "broke off" in failed.data["response"]["body"]["error"]["message"]
    with pytest.raises(ServerDown):
        asked(request(body), [ServerDown("gone")] * 3)


# --- the work -------------------------------------------------------------------------------


def test_a_row_that_takes_long_does_not_let_others_run_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nudging.batch.job._AHEAD", 20)
    source = lines(tmp_path / "in.jsonl", [{"prompt": str(n)} for n in range(200)])
    job = Job.of(source, tmp_path / "out.jsonl", PLAIN)
    work = WorkFolder(tmp_path)
    furthest = []

    async def step(row: Any) -> Result:
        if row["prompt"] == "3":
            await asyncio.sleep(0.2)
            furthest.append(len(work.settled))
        await asyncio.sleep(0)
        return Result("answered", {})

    asyncio.run(job.do(step, work, 4))
    work.close()
    assert len(work.settled) == 200
    assert furthest == [22]  # rows 0 to 22, but for the one


def test_job_says_what_is_wrong_with_the_columns(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    source = lines(tmp_path / "in.jsonl", [{"q": "x", "text": "y"}])
    out = tmp_path / "out.jsonl"
    with pytest.raises(UsageError, match="no column prompt or messages; they have q, text") as told:
        Job.of(source, out, PLAIN)
    assert "a request in OpenAI's batch format has custom_id, method, url" in told.value.hint
    with pytest.raises(UsageError, match="have a column text of their own"):
        Job.of(source, out, RowOptions({}, {}, column="q"))
    assert not Job.of(source, out, RowOptions({}, {}, column="q", name_prefix="n_")).requests
    requests = lines(tmp_path / "r.jsonl", [request({})])
    assert Job.of(requests, out, PLAIN).requests
    with pytest.raises(UsageError, match="are for rows, and these are requests"):
        Job.of(requests, out, RowOptions({}, {}, column="q"))
    with pytest.raises(UsageError, match="are answered in JSON lines"):
        Job.of(requests, tmp_path / "out.parquet", PLAIN)


# --- how far it is --------------------------------------------------------------------------


def test_a_log_has_a_line_after_some_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, *(10.0 * n for n in range(1, 21))])
    monkeypatch.setattr("nudging.cli.show.time.monotonic", lambda: next(clock))
    with show.bar("rows", 120, 100, every=60.0) as advance:
        for _ in range(20):
            advance()
    assert capsys.readouterr().err.splitlines() == [
        "106 of 120 rows, 0.1/s, 0:02:20 left",
        "112 of 120 rows, 0.1/s, 0:01:20 left",
        "118 of 120 rows, 0.1/s, 0:00:20 left",
    ]
