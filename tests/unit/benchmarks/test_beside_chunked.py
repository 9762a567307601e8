"""Preset `official` beside the authors' way of calling: rows, and how near a tie answers were."""

from __future__ import annotations

import pytest
from benchmarks import beside_chunked
from benchmarks.beside_chunked import tie_gap
from benchmarks.chunked import Tally

from nudging.bench.recording import TokenChoice
from nudging.engines.spec import Spec
from nudging.errors import ServerDown
from nudging.values.tokens import Candidate, Step
from tests.bench_servers import gathered, servers


def choice(source: str, at: int, *probs: float) -> TokenChoice:
    top = tuple(Candidate(b"x", prob) for prob in probs)
    return TokenChoice("base" if source == "base" else "nudge", b"a" * at, Step(b"x", top))


def test_the_nearest_choice_at_or_just_before_the_difference_counts() -> None:
    choices = [
        choice("base", 0, 0.41, 0.0),  # too far before
        choice("base", 90, 0.9, 0.05),
        choice("base", 98, 0.6, 0.58),
        choice("base", 100, 0.45, 0.1),
        choice("base", 101, 0.4, 0.4),  # after it
    ]
    assert tie_gap("a" * 100 + "b", "a" * 100 + "c", choices, 0.4) == pytest.approx(0.02)
    assert tie_gap("a" * 100 + "b", "a" * 100, choices[3:], 0.4) == pytest.approx(0.05)


def test_gamma_is_the_base_models_alone() -> None:
    near = [choice("nudge", 0, 0.41, 0.1)]
    assert tie_gap("a", "b", near, 0.4) == pytest.approx(0.31)


def test_equal_answers_part_nowhere() -> None:
    assert tie_gap("a", "a", [choice("base", 0, 0.4, 0.4)], 0.4) is None
    assert tie_gap("a", "b", [], 0.4) is None


class Client:
    """In place of the authors' client: gives these answers."""

    def __init__(self, base: Spec, nudge: Spec, gamma: float, max_tokens: int) -> None:
        assert (base.model, nudge.model, gamma) == ("base", "nudge", 0.4)
        self.tally = {"base": Tally(3, 40), "nudge": Tally(3, 30)}

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def answer(self, base: str, nudge: str) -> str:
        assert "France" in base
        assert "<assistant>" in nudge
        return "The capital of France is" + (" Paris." if "What" in base else " where?")


def test_servers_are_compared_at_each_concurrency(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("bpe_openai")
    monkeypatch.setattr(beside_chunked, "Chunked", Client)
    rows = gathered(beside_chunked.beside_chunked(servers(monkeypatch, "vllm")))
    ways = ("base", "nudge", "auto", "official", "chunked")
    assert [(row.at_once, row.way) for row in rows] == [(n, way) for n in (1, 2) for way in ways]
    assert all(row.ms_per_token for row in rows)
    assert [row.identical for row in rows[:5]] == [None, None, None, None, False]
    assert rows[4].tie_gap is not None


def test_a_server_that_fails_is_told_as_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def failing(*_: object) -> str:
        raise ServerDown("no connection")

    pytest.importorskip("bpe_openai")
    monkeypatch.setattr(beside_chunked, "Chunked", Client)
    monkeypatch.setattr(Client, "answer", failing)
    with pytest.raises(ServerDown, match="no connection"):
        gathered(beside_chunked.beside_chunked(servers(monkeypatch, "vllm")))
