"""The contract suite finds what is wrong with an engine."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import pytest

from nudging.engines.local.local_engine import LocalEngine
from nudging.engines.local.logits import Logits
from tests.toys import ToyRuntime

from . import test_engines as suite
from .engine_cases import Case


class Sound(ToyRuntime):
    def __init__(self) -> None:
        super().__init__(3, n_ctx=256)


class Reversed(Sound):
    """It has the logits of several positions in the wrong order."""

    def forward(self, ids: Sequence[int], rows: int, slot: int = 0) -> Logits:
        return super().forward(ids, rows)[::-1]


async def _opened() -> LocalEngine:
    raise AssertionError("it is open")


def guess(engine: LocalEngine, right: bool) -> None:
    case = Case(_opened, "toy", exact=True)
    reference = functools.cache(lambda prompt: suite.run(engine, prompt))
    suite.test_a_guess_changes_no_step(case, engine, reference, right)


@pytest.mark.parametrize("right", [True, False])
def test_rows_in_reverse_order_are_found(right: bool) -> None:
    guess(LocalEngine("toy", Sound()), right)
    with pytest.raises(AssertionError):
        guess(LocalEngine("toy", Reversed()), right)
