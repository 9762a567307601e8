"""Answers of several models together, several at once."""

from __future__ import annotations

import asyncio

import pytest

from nudging.engines.local.local_engine import LocalEngine
from nudging.eval.methods import Role, open_method
from nudging.values.tokens import Answer
from tests.toys import EchoRuntime

QUESTIONS = [f"why {number}?" for number in range(8)]
MOST = 24
OPTIONS = {"base_form": "{{ question }}\n", "max_tokens": MOST}
WORDS = [f" w{number}" for number in range(15)]


def engines(slots: int) -> dict[Role, str | LocalEngine]:
    """Three models, the first with a vocabulary of its own."""
    return {
        "base": LocalEngine("toy:base", EchoRuntime(1, 1, slots=slots, words=WORDS)),
        "nudge": LocalEngine("toy:nudge", EchoRuntime(2, 1, slots=slots, agreement=0.5)),
        "untuned": LocalEngine("toy:untuned", EchoRuntime(3, 2, slots=slots)),
    }


def answers(name: str, models: dict[Role, str | LocalEngine], at_once: int) -> list[Answer]:
    method = open_method(name, models, OPTIONS)

    async def ask() -> list[Answer]:
        permits = asyncio.Semaphore(at_once)

        async def one(question: str) -> Answer:
            async with permits:
                return await method.answer(question, system="")

        return await asyncio.gather(*map(one, QUESTIONS))

    return asyncio.run(ask())


@pytest.mark.parametrize("name", ["ensemble", "proxy-tuning"])
def test_answers_at_once_are_what_each_is_alone_and_share_passes(name: str) -> None:
    shared, alone = engines(8), engines(8)
    found = answers(name, shared, at_once=8)
    assert [each.spans for each in found] == [each.spans for each in answers(name, alone, 1)]
    assert max(each.usage.tokens for each in found) == MOST
    for role in ("base", "nudge"):
        together, apart = (models[role].costs for models in (shared, alone))  # type: ignore[union-attr]
        assert apart.answers == apart.passes
        assert together.answers > 1.5 * together.passes


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_models_that_have_fewer_slots_than_there_are_answers_take_turns(slots: int) -> None:
    expected = answers("ensemble", engines(8), 1)
    found = answers("ensemble", engines(slots), 8)
    assert [each.spans for each in found] == [each.spans for each in expected]


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_a_model_in_two_parts_of_an_answer_has_two_texts(slots: int) -> None:
    """On two slots, or in turn on one."""

    def models(slots: int) -> dict[Role, str | LocalEngine]:
        toy = engines(slots)["nudge"]
        return {"base": toy, "nudge": toy}

    expected = answers("ensemble", models(8), 1)
    assert [each.spans for each in answers("ensemble", models(slots), 4)] == [
        each.spans for each in expected
    ]


def test_who_leaves_gives_all_slots_back() -> None:
    models = engines(1)
    method = open_method("ensemble", models, OPTIONS)

    async def ask() -> Answer:
        leaving = asyncio.create_task(method.answer("why?", system=""))
        await asyncio.sleep(0.02)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        return await method.answer(QUESTIONS[0], system="")

    found = asyncio.run(asyncio.wait_for(ask(), 60))
    assert found.spans == answers("ensemble", engines(1), 1)[0].spans
