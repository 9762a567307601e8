"""The laboratory's experiments on models that know nothing: asked, read, reported."""

from __future__ import annotations

import asyncio
import json
import random
import re
import shutil
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from lab.questions import KINDS, sheet
from lab.world import make_world

from nudging.eval.methods import METHODS
from nudging.settings import resolve_pair

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("xllamacpp")

from lab.experiments import agreement  # noqa: E402
from lab.experiments.altered import sharpened  # noqa: E402
from lab.experiments.ask import ask  # noqa: E402
from lab.experiments.cells import SHEETS, Bench, Cell  # noqa: E402
from lab.experiments.claims import FAILS, HOLDS, PARTLY, Finding, Statement  # noqa: E402
from lab.experiments.main_table import CELLS, NUDGED  # noqa: E402
from lab.experiments.read import Figure, Found, difference, mean, share  # noqa: E402
from lab.export import export  # noqa: E402
from lab.families import FAMILIES, make_tokenizer  # noqa: E402
from lab.plan import Shape, plans  # noqa: E402
from lab.results import EXPERIMENTS, asked, cells, findings, main, written  # noqa: E402
from lab.task import sheet_lines  # noqa: E402
from lab.train import new_model  # noqa: E402

from nudging.engines.llama.llama_runtime import open_llama  # noqa: E402
from nudging.engines.spec import parse_spec  # noqa: E402

pytestmark = pytest.mark.hf

WORLD = make_world()
DOC = Path(__file__).parents[3] / "docs" / "lab.md"
EVERY_CELL = cells(list(EXPERIMENTS))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The laboratory's models by name, tiny and never trained."""
    out = tmp_path_factory.mktemp("models")
    tokenizers = {
        name: make_tokenizer(family, WORLD, 0, texts=300) for name, family in FAMILIES.items()
    }
    for number, made in enumerate(plans().values()):
        tiny = replace(made, shape=Shape(hidden=32, inner=64, layers=1, heads=4))
        tokenizer = tokenizers[tiny.family]
        export(tiny, new_model(tiny, tokenizer, number), tokenizer, out)
    return out


@pytest.fixture(scope="module")
def bench(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The main table's cells, asked."""
    made = Bench(models, tmp_path_factory.mktemp("results"), WORLD, 2)
    ask(made, CELLS)
    return made


def test_cells_are_asked_once(bench: Bench) -> None:
    kept = {cell: (bench.folder(cell) / "samples.jsonl").read_bytes() for cell in CELLS}
    (finding,) = findings(asked(bench, ["main"]), ["main"])
    assert finding.table.count("\n") == 1 + len(CELLS)
    for cell, before in kept.items():
        assert (bench.folder(cell) / "samples.jsonl").read_bytes() == before


def test_a_cell_holds_all_questions_of_its_sheet(bench: Bench) -> None:
    records = Found(bench).records(NUDGED)
    assert len(records) == 2 * 7
    assert all(0 <= record.nudged <= record.words for record in records.values())
    assert any(record.other_passes for record in records.values())


def test_places_are_asked_once(bench: Bench) -> None:
    asyncio.run(agreement.ask(bench))
    before = bench.agreement.stat().st_mtime_ns
    asyncio.run(agreement.ask(bench))
    assert bench.agreement.stat().st_mtime_ns == before
    assert json.loads(bench.agreement.read_text())["places"]


def test_the_document_gets_what_was_found(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doc, keep = tmp_path / "lab.md", tmp_path / "kept.json"
    doc.write_text("Before.\n<!-- lab main -->\n<!-- end of lab main -->\nAfter.\n")
    beside = tmp_path / "beside.json"
    beside.write_text('{"main": "holds in part"}')
    monkeypatch.setattr("lab.results.FULL", bench.count)
    reports = ("--so-far", "--doc", doc, "--keep", keep, "--beside", beside)
    command(monkeypatch, "main", "--out", bench.out, *reports)
    text = doc.read_text()
    assert text.startswith("Before.")
    assert text.endswith("After.\n")
    assert "another seed: holds in part." in text
    assert "(lab-main.svg)" in text
    assert (tmp_path / "lab-main.svg").exists()
    held = json.loads(keep.read_text())
    assert {*KINDS, "all right"} <= held.keys()
    assert held["all right"]["n"] == len(KINDS)
    assert json.loads((bench.out / "verdicts.json").read_text()).keys() == {"main"}


def test_a_small_try_is_not_for_the_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in ("--doc", "--keep"):
        with pytest.raises(SystemExit, match=r"^2$"):
            command(monkeypatch, "main", "--count", 2, "--out", tmp_path, option, tmp_path / "new")
        assert "for a small try" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_keeps_its_count(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def files() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in bench.out.rglob("*")}

    before = files()
    for more in ((), ("--so-far",)):
        with pytest.raises(SystemExit, match=r"other questions than those of --count 3\nhint: "):
            command(monkeypatch, "main", "assumptions", "--count", 3, "--out", bench.out, *more)
    assert files() == before


@pytest.mark.parametrize("count", ["0", "-3", "many"])
def test_a_count_is_a_number_of_questions(
    count: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        command(monkeypatch, "--so-far", "--out", tmp_path, "--count", count)


def test_so_far_is_what_has_all_its_answers(
    bench: Bench,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for path in (*map(bench.folder, CELLS), *map(bench.sheet, SHEETS)):
        (shutil.copytree if path.is_dir() else shutil.copy)(path, tmp_path / path.name)
    given = ("--so-far", "--count", bench.count, "--out", tmp_path)
    command(monkeypatch, *given)
    assert json.loads((tmp_path / "verdicts.json").read_text()).keys() == {"main"}
    assert "pairs is left out: nudged-by-b has no answers" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="has no answers"):
        command(monkeypatch, "pairs", *given)
    samples = tmp_path / NUDGED.name / "samples.jsonl"
    samples.write_text("".join(samples.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(SystemExit, match=r"no experiment in .* has all its answers"):
        command(monkeypatch, *given)
    assert "nudged has 13 of 14 answers" in capsys.readouterr().err


def command(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    """`python -m lab.results`."""
    monkeypatch.setattr("sys.argv", ["lab.results", *map(str, words)])
    main()


def test_a_model_can_be_made_surer(models: Path, tmp_path: Path) -> None:
    path = sharpened(models, "a-small", 4.0, tmp_path)
    ids = [5, 17, 99, 3]
    plain, sure = (
        open_llama(parse_spec(f"llama:{file}"))._runtime.forward(ids, len(ids))
        for file in (models / "a-small.gguf", path)
    )
    assert (plain.argmax(-1) == sure.argmax(-1)).all()
    assert sure.std() == pytest.approx(4 * plain.std(), rel=0.02)


# --- all experiments, on answers that were made up --------------------------------------------


@pytest.fixture(scope="module")
def made_up(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Every cell with lines that a generator of random numbers wrote."""
    bench = Bench(models, tmp_path_factory.mktemp("made"), WORLD, 13)
    bench.write_sheets()
    rng = random.Random(0)
    for cell in EVERY_CELL:
        bench.folder(cell).mkdir()
        rows = [json.loads(row) for row in bench.sheet(cell.sheet).read_text().splitlines()]
        lines = "".join(json.dumps(line(cell, row["id"], rng)) + "\n" for row in rows)
        (bench.folder(cell) / "samples.jsonl").write_text(lines)
    places = [[rng.random(), rng.choice([1, 2, 9, None]), rng.choice([1, None])] for _ in range(99)]
    bench.agreement.write_text(json.dumps({"about": {}, "places": places}))
    return Found(bench)


def line(cell: Cell, key: str, rng: random.Random) -> dict[str, object]:
    spans = [{"source": source, "text": "one two "} for source in ("nudge", "base")]
    part = {"emitted": 2, "forwards": rng.randint(3, 9)}
    return {
        "task": "lab",
        "method": cell.method,
        "setting": {},
        "id": key,
        "answer": {
            "text": "one two one two ",
            "spans": spans,
            "stop_reason": rng.choice(["nudge", "length"]),
            "usage": {"tokens": 4, "base": part, "nudge": part},
            "seconds": rng.random(),
        },
        "score": {"correct": rng.random() < 0.5, "measures": {}},
        "error": None,
    }


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_comes_to_a_finding(made_up: Found, name: str) -> None:
    finding: Finding = EXPERIMENTS[name].finding(made_up)
    assert finding.name == name
    assert finding.statements
    rows = [row for row in finding.table.splitlines() if row.startswith("|")]
    assert len({row.count("|") for row in rows}) == 1
    for plot in finding.plots:
        assert ElementTree.fromstring(plot).tag == "{http://www.w3.org/2000/svg}svg"
    text = written(finding, "plot.svg")
    assert finding.verdict in text.lower()
    assert "nan" not in text


def test_what_a_test_is_held_to_comes_from_the_main_table(
    made_up: Found, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.results.FULL", made_up.bench.count)
    keep = tmp_path / "kept.json"
    command(monkeypatch, "speculation", "--so-far", "--out", made_up.bench.out, "--keep", keep)
    assert not keep.exists()


def test_the_document_has_a_place_for_every_experiment() -> None:
    text = DOC.read_text(encoding="utf-8")
    for name in EXPERIMENTS:
        assert f"<!-- lab {name} -->" in text
        assert f"<!-- end of lab {name} -->" in text


def test_cells_have_names_of_their_own() -> None:
    names = [cell.name for cell in EVERY_CELL]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9.-]+", name) for name in names)


@pytest.mark.parametrize("cell", EVERY_CELL, ids=lambda cell: str(cell.name))
def test_every_cell_can_be_asked(cell: Cell) -> None:
    assert cell.method in METHODS
    options = resolve_pair("demo:base", "demo:nudge", sets=[*cell.sets])
    assert options.config.max_tokens
    assert cell.base.partition("*")[0] in plans()


# --- what is read -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHEETS)
def test_a_sheet_is_a_part_of_a_longer_one(name: str) -> None:
    split, _ = SHEETS[name]  # type: ignore[index]
    short, whole = ([*sheet_lines(WORLD, split, count)] for count in (3, 6))
    assert set(short) < set(whole)


def test_right_before_more_was_said(bench: Bench) -> None:
    found = Found(bench)
    (question,) = sheet(WORLD, "test", "recall", 1)
    right = question.steps[0]
    assert found._was_right(question, f"Sure! {right} Question: Who is it? Nobody.")
    assert not found._was_right(question, "I would like to know that too. So would I.")


def test_ways_are_compared_question_by_question(made_up: Found) -> None:
    one, other = (made_up.records(cell) for cell in CELLS[:2])
    gain = difference(one, other)
    assert gain.value == pytest.approx(share(one).value - share(other).value)
    assert gain.low < gain.value < gain.high
    assert difference(one, one)[:3] == (0, 0, 0)


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict"),
    [(0.5, 0.4, 0.6, HOLDS), (0.5, 0.2, 0.6, PARTLY), (0.2, 0.1, 0.6, FAILS)],
)
def test_a_statement_holds_with_its_whole_interval(
    value: float, low: float, high: float, verdict: str
) -> None:
    assert Statement("", Figure(value, low, high, 9), least=0.3).verdict == verdict
    assert Statement("", Figure(-value, -high, -low, 9), most=-0.3).verdict == verdict


@pytest.mark.parametrize(
    ("bounds", "verdict"),
    [((0, 0), HOLDS), ((0, 1), PARTLY), ((1, 1), FAILS), ((0.5, 0.5), PARTLY), ((0.5, 1), PARTLY)],
)
def test_a_claim_holds_with_all_its_statements(bounds: tuple[float, ...], verdict: str) -> None:
    figure = Figure(0.5, 0.4, 0.6, 9)
    statements = [Statement("", figure, least=bound) for bound in bounds]
    assert Finding("", "", statements, "", []).verdict == verdict


def test_a_mean_has_an_interval() -> None:
    figure = mean([0.0, 1.0] * 50)
    assert (figure.value, figure.n) == (0.5, 100)
    assert 0.35 < figure.low < 0.45 < 0.55 < figure.high < 0.65
