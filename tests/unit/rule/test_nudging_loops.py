"""The rule in a loop, stepped by hand (`tests/played.py`)."""

from __future__ import annotations

import random
import time

import pytest

from nudging.rule.config import Config
from nudging.values.tokens import Step, StopReason
from tests.played import (
    DEFAULT,
    Exchange,
    Played,
    base,
    base_ends,
    drafts,
    imagined,
    nudge,
    nudge_ends,
    played,
    step,
)

# --- the loop guard -------------------------------------------------------------------------

LOOP = " ha" * 67  # over two hundred characters of one word


def looped(*more: Exchange) -> Played:
    return played(DEFAULT, *drafts("", "Go", " now"), base("Go", LOOP), *more)


def test_in_a_loop_the_nudging_model_is_asked_and_nothing_is_taken_back() -> None:
    found = looped(nudge_ends("Go" + LOOP))
    assert (found.text, found.stop) == ("Go" + LOOP, StopReason.NUDGE)
    assert found.notes("handover") == ["opening", "loop"]
    assert found.pieces == ["Go", LOOP]


def test_a_nudging_model_that_joins_in_is_the_loops_end() -> None:
    found = looped(nudge("Go" + LOOP, " ha"))
    assert (found.text, found.stop) == ("Go" + LOOP, StopReason.LOOP)


def test_a_nudging_model_that_would_end_after_one_more_copy_does_not_join_in() -> None:
    said = "Go" + LOOP
    found = looped(*drafts(said, " h"), nudge_ends(said + " h"))
    assert (found.text, found.stop) == (said + " h", StopReason.NUDGE)


def test_a_nudging_model_with_something_else_to_say_leads_out_of_a_loop() -> None:
    said = "Go" + LOOP
    found = looped(
        nudge(said, " so we left the old town"),
        base(said + " so", ","),
        base_ends(said + " so,"),
        nudge_ends(said + " so,"),
    )
    assert found.spans == [("nudge", "Go"), ("base", LOOP), ("nudge", " so"), ("base", ",")]
    assert found.reasons == ["opening", "loop"]


def test_without_the_guard_a_loop_goes_on() -> None:
    found = played(
        Config.of(guards="none"),
        *drafts("", "Go", " now"),
        base("Go", LOOP),
        base_ends("Go" + LOOP),
        nudge_ends("Go" + LOOP),
    )
    assert found.text == "Go" + LOOP


CHEESE = "The moon is made of nothing but green cheese."


@pytest.mark.parametrize(
    ("times", "end", "ends"),
    [(1, 0.19, False), (2, 0.02, True), (2, 0.019, False), (3, 0.007, True), (4, 0.0025, True)],
)
def test_where_nothing_new_is_said_the_nudging_model_ends_sooner(
    times: int, end: float, ends: bool
) -> None:
    copies = f"{CHEESE}\n" * (times - 1) + CHEESE
    found = played(
        DEFAULT,
        *drafts("", "So:", " now"),
        base("So:", copies),
        base("So:" + copies, "\n"),
        nudge("So:" + copies, "\n", end=end),
        *([] if ends else [base_ends("So:" + copies + "\n"), nudge_ends("So:" + copies + "\n")]),
    )
    assert found.text == "So:" + copies + ("" if ends else "\n")
    assert found.notes("consult") == ["would end" if ends else "goes on"]


@pytest.mark.parametrize(("times", "ends"), [(2, False), (4, False), (5, True)])
def test_so_it_does_after_a_refrain_only_if_it_is_not_sure_to_go_on(times: int, ends: bool) -> None:
    copies = f" {CHEESE}" * times
    found = played(
        DEFAULT,
        *drafts("", "So:", " now"),
        base("So:", copies),
        base("So:" + copies, "\n"),
        nudge("So:" + copies, "\n", 0.9, end=0.1),
        *([] if ends else [base_ends("So:" + copies + "\n"), nudge_ends("So:" + copies + "\n")]),
    )
    assert found.text == "So:" + copies + ("" if ends else "\n")


@pytest.mark.parametrize(("sure", "ends"), [(0.9, False), (0.89, True)])
def test_where_the_base_model_would_end_one_that_is_sure_to_go_on_does(
    sure: float, ends: bool
) -> None:
    found = played(
        DEFAULT,
        *drafts("", "So:", " now"),
        base_ends("So:"),
        nudge("So:", " yes", sure, end=0.1),
        *([] if ends else [nudge_ends("So: yes")]),
    )
    assert found.text == ("So:" if ends else "So: yes")


@pytest.mark.parametrize("unit", ["1.\n", "1. ", "ha ", "He said that it was so.\n", CHEESE * 4])
@pytest.mark.parametrize("sure", [0.9, 0.1])
@pytest.mark.parametrize("cut", [1, 3, 50])
def test_an_answer_that_repeats_itself_for_ever_ends(unit: str, sure: float, cut: int) -> None:
    """Written by the base model, or by the nudging model where the base is always in doubt."""

    def writes(text: str, p: float) -> Step:
        at = len(text) % len(unit)
        return step(unit[at : at + cut], p)

    config = Config.of(max_tokens=100_000, stop="either")
    found = imagined(config, lambda text: writes(text, sure), lambda text: writes(text, 0.9))
    assert found.stop is StopReason.LOOP
    assert len(found.text) <= max(300, 16 * len(unit), 2000) + len(unit) + 50


def test_the_guard_costs_the_same_at_every_length() -> None:
    """Twice the digits take about twice the time: the rule's own work a token is bounded."""

    def seconds(tokens: int) -> float:
        numbers = random.Random(1)
        digits = "".join(numbers.choice("01") for _ in range(tokens))
        begun = time.thread_time()
        found = imagined(
            Config.of(max_tokens=tokens),
            lambda text: step(digits[len(text)]),
            lambda text: step(digits[len(text)]),
            most=2 * tokens,
        )
        assert found.tokens == tokens
        return time.thread_time() - begun

    assert seconds(8000) < 8 * (seconds(2000) + 0.2)
