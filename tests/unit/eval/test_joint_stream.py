"""Answers of several models together, several at once."""

from __future__ import annotations

import asyncio
import threading

import pytest

from nudging.drive.alone import alone
from nudging.engines.base import Want
from nudging.engines.local.local_engine import LocalEngine
from nudging.engines.local.pass_thread import PASSES
from nudging.eval.methods import Role, open_method
from nudging.eval.methods.combination import Mean
from nudging.eval.methods.joint_stream import JointEngine, TokenReader
from nudging.eval.methods.method import answer_of
from nudging.prompts.chat import base_prompt, conversation
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
def test_answers_at_once_are_what_each_is_alone(name: str) -> None:
    found, alone = (answers(name, engines(8), at_once) for at_once in (8, 1))
    assert [each.spans for each in found] == [each.spans for each in alone]
    assert max(each.usage.tokens for each in found) == MOST


def _wait(gate: threading.Event) -> None:
    gate.wait(60)


def test_answers_that_begin_together_share_all_passes() -> None:
    toys = [EchoRuntime(seed, 1, slots=8) for seed in (1, 2)]
    models = [LocalEngine("toy", toy).model for toy in toys]
    mean = Mean(*(toy.vocabulary() for toy in toys))
    prompt = base_prompt(conversation("why?", ""), "text")

    async def ask() -> None:
        gate = threading.Event()
        PASSES.call(lambda: _wait(gate))  # until all are there
        asked = [
            asyncio.create_task(
                answer_of(
                    alone(
                        JointEngine([TokenReader(model, prompt) for model in models], mean),
                        prompt,
                        Want("base"),
                        MOST,
                        (),
                    )
                )
            )
            for _ in range(8)
        ]
        for _ in range(20):
            await asyncio.sleep(0)
        gate.set()
        found = await asyncio.gather(*asked)
        assert {each.usage.tokens for each in found} == {MOST}

    asyncio.run(ask())
    for model in models:
        assert model.costs.answers == 8 * MOST
        assert model.costs.passes <= MOST + 1


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
