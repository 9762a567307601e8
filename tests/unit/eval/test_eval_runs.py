"""Runs: lines as they come, what a kill leaves of them, what may be gone on with, and merging."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nudging.errors import InputError, ServerDown, UsageError
from nudging.eval.header import ALL, check_same, merged
from nudging.eval.merge import merge
from nudging.eval.run_folder import SAMPLES, header_to_resume, opened, read_header, read_samples
from nudging.eval.sample_lines import key, read_lines, timeless
from nudging.eval.task import Sample, Score
from nudging.eval.work import Cell, work
from nudging.storage.resumable import HEADER, differences
from nudging.storage.safe_files import encode, write_json
from nudging.values.tokens import Answer, ModelUsage, Span, StopReason, Token, Usage

Line = dict[str, Any]

HEADER_DATA: dict[str, Any] = {
    "format": 1,
    "versions": {"nudging": "1.2.3"},
    "models": {"base": {"spec": "llama:/a/base.gguf", "options": {}, "sha256": "abc"}},
    "tasks": {"sums": {"samples": 4, "sha256": "def"}},
    "methods": ["base"],
    "variants": [{"gamma": 0.4}],
    "options": {"max_tokens": 32},
    "seed": 0,
    "limit": 4,
    "judge": None,
    "started": "2026-01-01T00:00:00+00:00",
    "machine": {"cores": 2},
}


class Speller:
    """A method that spells the question, in letters."""

    name = "base"

    def __init__(self, setting: Mapping[str, Any] | None = None) -> None:
        self.setting = setting or {}
        self.asked: list[str] = []
        self.down: set[str] = set()

    async def answer(
        self, question: str, *, system: str | None = None, prefix: str | None = None
    ) -> Answer:
        self.asked.append(question)
        await asyncio.sleep(0)
        if question in self.down:
            raise ServerDown("no connection")
        tokens = tuple(Token(letter.encode(), 0.5) for letter in question)
        usage = Usage(ModelUsage(len(tokens), len(tokens), 1, seconds=0.25), seconds=0.25)
        return Answer((Span("base", tokens),), StopReason.BASE, usage)


def samples(count: int = 4) -> list[Sample]:
    return [Sample(f"s{n}", f"ask {n}", "Think.", f"ask {n}", f"ask {n}") for n in range(count)]


async def exact(sample: Sample, line: Line) -> Score:
    text = line["answer"]["text"]
    return Score(text == sample.gold, text, {"words": float(len(text.split()))})


def cell(
    method: Speller,
    *,
    count: int = 4,
    score: Callable[[Sample, Line], Awaitable[Score]] = exact,
    at_once: int = 1,
) -> Cell:
    return Cell("sums", samples(count), method, score, at_once)


async def nothing() -> None:
    pass


def run_into(folder: Path, *cells: Cell, stop_after: int | None = None) -> None:
    """What the command does, with a header of the tests' own."""

    async def go() -> None:
        with opened(folder, HEADER_DATA) as run:
            lines = work(cells, frozenset(run.done), run.unscored, nothing)
            count = 0
            async for line in lines:
                run.add(line)
                count += 1
                if count == stop_after:
                    break
            await lines.aclose()

    asyncio.run(go())


def lines_of(folder: Path) -> list[object]:
    return sorted((timeless(line) for line in read_samples(folder)), key=json.dumps)


# --- lines ----------------------------------------------------------------------------------


def test_a_line_holds_what_was_promised(tmp_path: Path) -> None:
    run_into(tmp_path / "run", cell(Speller({"gamma": 0.4}), count=1))
    (line,) = read_lines(tmp_path / "run" / SAMPLES)
    spans = line["answer"].pop("spans")
    assert spans[0]["text"] == "ask 0"
    assert spans[0]["tokens"][0] == {"text": "a", "top1": 0.5}
    assert line == {
        "task": "sums",
        "method": "base",
        "setting": {"gamma": 0.4},
        "id": "s0",
        "question": "ask 0",
        "system": "Think.",
        "gold": "ask 0",
        "answer": {
            "text": "ask 0",
            "stop_reason": "base",
            "usage": line["answer"]["usage"],
            "seconds": 0.25,
        },
        "score": {"correct": True, "reading": "ask 0", "measures": {"words": 2.0}},
        "error": None,
    }
    assert line["answer"]["usage"]["base"]["emitted"] == 5


@given(st.text(), st.text(st.characters(categories=["Cs"])))
def test_any_text_comes_back_out_of_a_line(text: str, halves: str) -> None:
    line = {"question": text + halves}
    data = encode(line)
    assert data.count(b"\n") == 1
    assert json.loads(data.decode()) == json.loads(json.dumps(line))


def test_a_sample_is_known_by_its_setting_whatever_its_order() -> None:
    line = {"task": "t", "method": "m", "id": "1"}
    one = key({**line, "setting": {"gamma": 0.4, "preset": "default"}})
    assert one == key({**line, "setting": {"preset": "default", "gamma": 0.4}})
    assert one != key({**line, "setting": {"preset": "default", "gamma": 0.3}})


# --- what fails -----------------------------------------------------------------------------


def test_a_sample_that_fails_is_recorded_and_asked_again(tmp_path: Path) -> None:
    method = Speller()
    method.down = {"ask 1"}
    run_into(tmp_path / "run", cell(method))
    lines = {line["id"]: line for line in read_samples(tmp_path / "run")}
    assert lines["s1"]["error"] == {"kind": "ServerDown", "message": "no connection"}
    assert (lines["s1"]["answer"], lines["s1"]["score"]) == (None, None)
    assert [lines[name]["error"] for name in ("s0", "s2", "s3")] == [None] * 3
    again = Speller()
    run_into(tmp_path / "run", cell(again))
    assert again.asked == ["ask 1"]
    run_into(tmp_path / "whole", cell(Speller()))
    assert lines_of(tmp_path / "run") == lines_of(tmp_path / "whole")
    whole = [line["id"] for line in read_lines(tmp_path / "whole" / SAMPLES)]
    assert whole == ["s0", "s1", "s2", "s3"]
    assert len((tmp_path / "run" / SAMPLES).read_text().splitlines()) == 4


def test_an_answer_that_could_not_be_scored_is_kept_and_scored_again(tmp_path: Path) -> None:
    async def silent(sample: Sample, line: Line) -> Score:
        raise ServerDown("the judge does not answer")

    run_into(tmp_path / "run", cell(Speller(), score=silent))
    for line in read_samples(tmp_path / "run"):
        assert line["error"]["kind"] == "ServerDown"
        assert line["answer"]["text"] == line["question"]
        assert line["score"] is None
    run_into(tmp_path / "run", cell(Speller(), score=silent))  # still down: nothing is lost
    again = Speller()
    run_into(tmp_path / "run", cell(again), stop_after=2)
    assert len(list(read_samples(tmp_path / "run"))) == 4
    run_into(tmp_path / "run", cell(again))
    assert again.asked == []
    run_into(tmp_path / "whole", cell(Speller()))
    assert lines_of(tmp_path / "run") == lines_of(tmp_path / "whole")


@pytest.mark.parametrize("measures", [{"odd": float("nan")}, {"odd": object()}])
def test_a_score_that_json_cannot_hold_is_a_failure(tmp_path: Path, measures: Any) -> None:
    async def odd(sample: Sample, line: Line) -> Score:
        return Score(None, None, measures)

    run_into(tmp_path / "run", cell(Speller(), count=1, score=odd))
    (line,) = read_samples(tmp_path / "run")
    assert line["error"]["kind"] in ("ValueError", "TypeError")


# --- how it is worked off -------------------------------------------------------------------


def test_no_more_are_at_work_than_may_be_and_each_comes_when_it_is_done() -> None:
    at_work, most, order = 0, 0, []

    class Slow(Speller):
        async def answer(
            self, question: str, *, system: str | None = None, prefix: str | None = None
        ) -> Answer:
            nonlocal at_work, most
            at_work += 1
            most = max(most, at_work)
            await asyncio.sleep(0.2 if question == "ask 0" else 0)
            at_work -= 1
            return await super().answer(question)

    async def go() -> None:
        async for line in work([cell(Slow(), count=9, at_once=3)], frozenset(), {}, nothing):
            order.append(line["id"])

    asyncio.run(go())
    assert most == 3
    assert sorted(order) == [f"s{n}" for n in range(9)]
    assert order[-1] == "s0"


@pytest.mark.parametrize(("at_once", "times"), [(1, 4), (2, 0)])
def test_models_forget_before_each_answer_that_has_them_to_itself(at_once: int, times: int) -> None:
    forgot = 0

    async def fresh() -> None:
        nonlocal forgot
        forgot += 1

    async def go() -> None:
        async for _ in work([cell(Speller(), at_once=at_once)], frozenset(), {}, fresh):
            pass

    asyncio.run(go())
    assert forgot == times


def test_leaving_early_ends_what_is_at_work() -> None:
    begun, ended = [], []

    class Endless(Speller):
        async def answer(
            self, question: str, *, system: str | None = None, prefix: str | None = None
        ) -> Answer:
            if question == "ask 0":
                return await super().answer(question)
            begun.append(question)
            try:
                await asyncio.sleep(60)
            finally:
                ended.append(question)
            raise AssertionError

    async def go() -> None:
        lines = work([cell(Endless(), at_once=3)], frozenset(), {}, nothing)
        await anext(lines)
        await lines.aclose()

    asyncio.run(go())
    assert {"ask 1", "ask 2"} <= set(begun)
    assert sorted(ended) == sorted(begun)


# --- kills ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    run_into(folder, cell(Speller(), count=5), cell(Speller({"gamma": 0.3}), count=5, at_once=2))
    return folder


@given(st.data())
def test_what_is_cut_off_anywhere_is_gone_on_with(whole: Path, data: st.DataObject) -> None:
    """A kill leaves the beginning of the file, to any byte."""
    text = (whole / SAMPLES).read_bytes()
    kept = text[: data.draw(st.integers(0, len(text)))]
    folder = whole.parent / "cut"
    folder.mkdir(exist_ok=True)
    write_json(folder / HEADER, HEADER_DATA)
    (folder / SAMPLES).write_bytes(kept)
    methods = Speller(), Speller({"gamma": 0.3})
    run_into(folder, cell(methods[0], count=5), cell(methods[1], count=5, at_once=2))
    assert len(methods[0].asked) + len(methods[1].asked) == 10 - kept.count(b"\n")
    assert lines_of(folder) == lines_of(whole)
    assert len(list(read_lines(folder / SAMPLES))) == 10


def test_damage_elsewhere_is_told_with_its_line(tmp_path: Path) -> None:
    run_into(tmp_path / "run", cell(Speller()))
    path = tmp_path / "run" / SAMPLES
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[1][:20] + b"\n", *lines[2:]]))
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"line 2 of .* is damaged"), opened(path.parent, {}):
        pass
    assert path.read_bytes() == before


def test_two_processes_do_not_write_to_one_run(tmp_path: Path) -> None:
    with (
        opened(tmp_path / "run", HEADER_DATA),
        pytest.raises(UsageError, match="another process"),
        opened(tmp_path / "run", HEADER_DATA),
    ):
        pass
    with opened(tmp_path / "run", HEADER_DATA):
        pass


# --- where a run may be ---------------------------------------------------------------------


def test_a_run_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert header_to_resume(folder, resume=False) is None
    assert header_to_resume(folder, resume=True) is None
    folder.mkdir()
    assert header_to_resume(folder, resume=False) is None
    run_into(folder, cell(Speller()))
    with pytest.raises(UsageError, match="is there already") as caught:
        header_to_resume(folder, resume=False)
    assert "--resume" in caught.value.hint
    assert header_to_resume(folder, resume=True) == HEADER_DATA


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    for resume in (False, True):
        with pytest.raises(UsageError, match="is no run"):
            header_to_resume(tmp_path, resume=resume)
    with pytest.raises(UsageError, match="is no run"):
        header_to_resume(tmp_path / "letters.txt", resume=False)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}'])
def test_a_header_of_something_else_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / HEADER).write_text(text)
    with pytest.raises(InputError, match="is not the header of a run"):
        header_to_resume(tmp_path, resume=True)
    write_json(tmp_path / HEADER, HEADER_DATA | {"format": 2})
    with pytest.raises(InputError, match="another version"):
        read_header(tmp_path)


def test_a_kill_before_the_header_leaves_a_place_to_begin(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / f"{HEADER}.new").write_text("{")
    assert header_to_resume(tmp_path, resume=False) is None


# --- headers --------------------------------------------------------------------------------


def test_what_has_changed_is_named() -> None:
    changed = HEADER_DATA | {
        "options": {"max_tokens": 64},
        "methods": ["base", "nudge"],
        "tasks": {"sums": {"samples": 4, "sha256": "other"}},
        "seed": 1,
    }
    assert differences(HEADER_DATA, HEADER_DATA, ALL) == []
    found = differences(HEADER_DATA, changed, ALL)
    assert sorted(found) == [
        "methods was ['base'], is ['base', 'nudge']",
        "options.max_tokens was 32, is 64",
        "seed was 0, is 1",
        "tasks.sums.sha256 was def, is other",
    ]
    with pytest.raises(UsageError, match=r"run was made otherwise: .*, and 1 more"):
        check_same("run", HEADER_DATA, changed)


def test_when_and_where_and_a_models_place_may_change() -> None:
    model = HEADER_DATA["models"]["base"] | {"spec": "llama:/b/base.gguf"}
    moved = HEADER_DATA | {"started": "later", "machine": {"cores": 8}, "models": {"base": model}}
    assert differences(HEADER_DATA, moved, ALL) == []
    model["sha256"] = "xyz"
    assert differences(HEADER_DATA, moved, ALL) == ["models.base.sha256 was abc, is xyz"]


def test_parts_that_are_not_known_yet_are_not_compared() -> None:
    part = {"seed": 0, "limit": 5}
    assert differences(HEADER_DATA, part, ALL) == ["limit was 4, is 5"]


# --- merging --------------------------------------------------------------------------------


def make(folder: Path, lines: list[Line], **header: Any) -> Path:
    with opened(folder, HEADER_DATA | header) as run:
        for line in lines:
            run.add(line)
    return folder


def made_by(*methods: Speller, count: int = 4) -> list[Line]:
    async def go() -> list[Line]:
        cells = [cell(method, count=count) for method in methods]
        return [line async for line in work(cells, frozenset(), {}, nothing)]

    return asyncio.run(go())


def test_runs_of_several_machines_become_one(tmp_path: Path) -> None:
    one = make(tmp_path / "a", made_by(Speller({"gamma": 0.2})), variants=[{"gamma": 0.2}])
    lines = [{**line, "task": "letters"} for line in made_by(Speller({"gamma": 0.3}))]
    other = make(
        tmp_path / "b",
        lines,
        variants=[{"gamma": 0.3}],
        tasks={"letters": {"samples": 4, "sha256": "ghi"}},
        machine={"cores": 64},
        models={"nudge": {"spec": "llama:/n.gguf", "options": {}, "sha256": "jkl"}},
    )
    merge([one, other], tmp_path / "c")
    assert len(lines_of(tmp_path / "c")) == 8
    header = read_header(tmp_path / "c")
    assert list(header["tasks"]) == ["sums", "letters"]
    assert list(header["models"]) == ["base", "nudge"]
    assert header["variants"] == [{"gamma": 0.2}, {"gamma": 0.3}]
    assert [each["machine"]["cores"] for each in header["merged"]] == [2, 64]
    with pytest.raises(UsageError, match="is there already") as caught:
        merge([one, other], tmp_path / "c")
    assert caught.value.hint == "name another --out for the merged run"


def test_merged_runs_may_be_merged_again(tmp_path: Path) -> None:
    first, second, third = made_by(Speller(), count=3)
    runs = [make(tmp_path / line["id"], [line]) for line in (first, second, third)]
    merge(runs[:2], tmp_path / "two")
    merge([tmp_path / "two", runs[2]], tmp_path / "three")
    merge(runs, tmp_path / "at once")
    assert lines_of(tmp_path / "three") == lines_of(tmp_path / "at once")
    assert len(read_header(tmp_path / "three")["merged"]) == 3


def test_a_sample_in_both_must_be_the_same_but_for_its_times(tmp_path: Path) -> None:
    lines = made_by(Speller())
    slower = json.loads(json.dumps(lines))
    slower[0]["answer"]["seconds"] = slower[0]["answer"]["usage"]["seconds"] = 99.0
    one, two = make(tmp_path / "a", lines), make(tmp_path / "b", slower)
    merge([one, two], tmp_path / "c")
    assert lines_of(tmp_path / "c") == lines_of(one)
    slower[0]["answer"]["text"] = "another"
    three = make(tmp_path / "d", slower)
    with pytest.raises(UsageError, match="different answers to sums s0 by base") as caught:
        merge([one, three], tmp_path / "e")
    assert str(one) in str(caught.value)
    assert not (tmp_path / "e").exists()


def test_what_failed_on_one_machine_counts_as_the_other_has_it(tmp_path: Path) -> None:
    lines = made_by(Speller())
    down = Speller()
    down.down = {"ask 0", "ask 1"}
    one, two = make(tmp_path / "a", made_by(down)), make(tmp_path / "b", lines[:1])
    for order in ([one, two], [two, one]):
        out = tmp_path / "-".join(run.name for run in order)
        merge(order, out)
        failed = {line["id"] for line in read_samples(out) if line["error"]}
        assert failed == {"s1"}
        assert len(lines_of(out)) == 4


def test_runs_made_otherwise_are_not_merged(tmp_path: Path) -> None:
    one = make(tmp_path / "a", made_by(Speller()))
    others: list[tuple[str, dict[str, Any]]] = [
        ("seed was 0, is 1", {"seed": 1}),
        ("options.max_tokens was 32, is 33", {"options": {"max_tokens": 33}}),
        ("versions.nudging was", {"versions": {"nudging": "1.2.4"}}),
        ("models.base.sha256 was", {"models": {"base": {"spec": "", "sha256": "other"}}}),
        ("tasks.sums.sha256 was", {"tasks": {"sums": {"samples": 4, "sha256": "other"}}}),
    ]
    for number, (told, changed) in enumerate(others):
        two = make(tmp_path / f"b{number}", [], **changed)
        with pytest.raises(UsageError) as caught:
            merge([one, two], tmp_path / "c")
        assert f"{two} was made otherwise than {one}: {told}" in str(caught.value)
    with pytest.raises(InputError, match="is no run"):
        merge([one, tmp_path / "nowhere"], tmp_path / "c")


def test_of_several_runs_those_that_differ_are_named() -> None:
    def small(sha256: str) -> dict[str, Any]:
        return HEADER_DATA | {"models": {"nudge": {"spec": "", "options": {}, "sha256": sha256}}}

    with pytest.raises(UsageError, match=r"c was made otherwise than b: models\.nudge\.sha256 was"):
        merged("abc", [HEADER_DATA, small("x"), small("y")])


def test_a_header_is_merged_in_order() -> None:
    other = HEADER_DATA | {"methods": ["nudge", "base"]}
    assert merged("ab", [HEADER_DATA, other])["methods"] == ["base", "nudge"]
