"""An engine over a runtime that a stranger wrote: what it makes of a mistake in one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from nudging import NudgedModel
from nudging.engines.base import Want
from nudging.engines.local.local_engine import LocalEngine
from nudging.engines.local.logits import Logits
from nudging.engines.local.runtime import Rows, SlotInput
from nudging.errors import InputError, ModelError
from nudging.prompts.chat import Part, Prompt
from nudging.values.tokens import Step
from tests.toys import ToyRuntime

ASKED = Prompt((Part("why?"),))
WANT = Want()


def steps(engine: LocalEngine, prompt: Prompt = ASKED, want: Want = WANT) -> list[Step]:
    async def read() -> list[Step]:
        return [step async for step in engine.stream(prompt, b"", 4, want)]

    return asyncio.run(asyncio.wait_for(read(), 20))


# --- rows that were not asked for -----------------------------------------------------------


class FewRows(ToyRuntime):
    def forward(self, ids: Sequence[int], rows: int, slot: int = 0) -> Logits:
        return super().forward(ids, rows)[:0]


class OneRow(ToyRuntime):
    def forward(self, ids: Sequence[int], rows: int, slot: int = 0) -> Logits:
        return super().forward(ids, rows)[-1:]


class FlatRow(ToyRuntime):
    def forward(self, ids: Sequence[int], rows: int, slot: int = 0) -> Rows:
        return super().forward(ids, rows)[0]


class ShortRows(ToyRuntime):
    def forward(self, ids: Sequence[int], rows: int, slot: int = 0) -> Logits:
        return super().forward(ids, rows)[:, :250]


@pytest.mark.parametrize(
    ("runtime", "says"),
    [
        (FewRows, "returned 0 rows of logits, not 1"),
        (OneRow, "returned 1 rows of logits, not 4"),
        (FlatRow, r"returned \d{3} rows of logits, not"),
        (ShortRows, r"returned 250 logits for \d{3} tokens"),
    ],
)
def test_rows_that_were_not_asked_for_are_an_error(runtime: type[ToyRuntime], says: str) -> None:
    want = Want(follows=b"abc" if runtime is OneRow else b"")
    engine = LocalEngine("own:toy", runtime(1))
    for _ in range(2):  # nor is anything kept of them
        with pytest.raises(ModelError, match=f"own:toy {says}"):
            steps(engine, want=want)


def test_a_pass_that_lacks_an_answer_is_an_error() -> None:
    class Fewer(ToyRuntime):
        def forward_many(self, works: Sequence[SlotInput]) -> list[Rows]:
            return super().forward_many(works)[:-1]

    with pytest.raises(ValueError, match="shorter"):
        steps(LocalEngine("own:toy", Fewer(1)))


# --- a prompt of nothing --------------------------------------------------------------------


def test_a_prompt_without_tokens_is_refused() -> None:
    engine, nothing = LocalEngine("own:toy", ToyRuntime(1)), Prompt((Part(""),))
    with pytest.raises(InputError, match="the prompt has no tokens") as caught:
        steps(engine, nothing)
    assert "base_form" in caught.value.hint
    with pytest.raises(InputError, match="the prompt has no tokens"):
        asyncio.run(engine.logits(nothing, []))


def test_a_base_form_that_writes_nothing_is_refused() -> None:
    base = LocalEngine("own:toy", ToyRuntime(1))
    with (
        NudgedModel(base, "scripted:nudge", base_form="{# #}", preset="paper") as model,
        pytest.raises(InputError, match="the prompt has no tokens"),
    ):
        model.answer("Why?")
