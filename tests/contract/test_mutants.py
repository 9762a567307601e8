"""The contract suite finds what is wrong with an engine, and nothing where nothing is."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
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


class Blunt(Sound):
    """It sees the last token only, and ends soon."""

    def _logits(self, length: int) -> Logits:
        logits = np.full(self.size, -9.0, np.float32)
        last = chr(self.cache[length - 1])
        following = ord(last) + 1 if last.islower() else ord("x")
        logits[self._first_control if last == "y" else following] = 0
        return logits


async def _opened() -> LocalEngine:
    raise AssertionError("it is open")


CASE = Case(_opened, "toy", exact=True)


def opened(runtime: Sound) -> tuple[LocalEngine, suite.Reference]:
    engine = LocalEngine("toy", runtime)
    return engine, functools.cache(lambda prompt: suite.run(engine, prompt))


@pytest.mark.parametrize("right", [True, False])
def test_rows_in_reverse_order_are_found(right: bool) -> None:
    suite.test_a_guess_changes_no_step(CASE, *opened(Sound()), right)
    with pytest.raises(AssertionError):
        suite.test_a_guess_changes_no_step(CASE, *opened(Reversed()), right)


def test_a_model_that_ends_soon_and_sees_little_is_sound() -> None:
    suite.test_two_streams_in_turn(CASE, *opened(Blunt()))
    suite.test_a_text_goes_on_where_it_was_left(CASE, *opened(Blunt()), suite.FRANCE, 1)
    with pytest.raises(pytest.skip.Exception):
        suite.test_a_text_goes_on_where_it_was_left(CASE, *opened(Blunt()), suite.FRANCE, 5)
