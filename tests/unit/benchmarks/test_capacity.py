"""The servers of known speed that the capacity model is checked with, asked by the real driver."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from benchmarks.capacity.measure import hop, measure, servers
from benchmarks.capacity.server import script
from benchmarks.capacity.setting import SETTING, Setting

from nudging.plan.speed import Speed

FAST = SETTING._replace(base=Speed(4, 0.1, 1), nudge=Speed(1, 0.05, 0.5), output=30)


def test_a_setting_survives_its_file(tmp_path: Path) -> None:
    FAST.write(tmp_path / "setting")
    assert Setting.read(tmp_path / "setting") == FAST


@pytest.mark.parametrize("number", range(5))
def test_a_script_has_the_tokens_of_its_turns(number: int) -> None:
    tokens = script(SETTING, number)
    assert len(tokens) == SETTING.output
    assert len({token.text.strip(" .") for token in tokens}) == SETTING.output
    assert tokens == script(SETTING, number)
    assert tokens != script(SETTING, number + random.Random(0).randint(1, 9))


def test_answers_through_the_driver_are_what_they_must_be() -> None:
    with servers("base", 2, FAST) as bases, servers("nudge", 1, FAST) as nudges:
        assert hop(bases[0], FAST) > 0
        found = measure(bases, nudges, 6, FAST, settle=0.5, watch=2.0)
    assert found.wrong == 0
    assert found.answers >= 6
    assert found.tokens > 30
