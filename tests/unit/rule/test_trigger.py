"""Single decisions: triggers and their grammar, and agreement."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nudging.errors import ConfigError
from nudging.rule.trigger import (
    Bound,
    Either,
    Needs,
    Trigger,
    agrees,
    fires,
    needs,
    parse_trigger,
    rating,
)
from nudging.values.tokens import Candidate, Step


def step(
    *probs: float, text: bytes = b" x", entropy: float | None = None, is_end: bool = False
) -> Step:
    top = tuple(Candidate(b" x", p) for p in probs or (0.9,))
    return Step(text, top, top[0].prob, is_end, entropy=entropy)


# --- triggers -------------------------------------------------------------------------------


@pytest.mark.parametrize(("top1", "doubt"), [(0.39, True), (0.4, False), (0.41, False)])
def test_top1_at_the_bound_is_confident(top1: float, doubt: bool) -> None:
    assert Bound("top1", 0.4)(step(top1)) is doubt


@pytest.mark.parametrize(
    ("probs", "doubt"),
    [((0.5, 0.375), True), ((0.5, 0.25), False), ((0.2,), True), ((1.0,), False)],
)
def test_margin_is_first_less_second_candidate(probs: tuple[float, ...], doubt: bool) -> None:
    assert Bound("margin", 0.25)(step(*probs)) is doubt


@pytest.mark.parametrize(("entropy", "doubt"), [(2.0, False), (2.01, True), (0.0, False)])
def test_entropy_must_pass_the_bound(entropy: float, doubt: bool) -> None:
    assert Bound("entropy", 2.0)(step(entropy=entropy)) is doubt


def test_gamma_zero_never_doubts_and_one_doubts_all_but_certainty() -> None:
    assert not Bound("top1", 0.0)(step(0.0))
    assert Bound("top1", 1.0)(step(0.999))
    assert not Bound("top1", 1.0)(step(1.0))


def test_an_entropy_trigger_without_entropy_names_the_option() -> None:
    with pytest.raises(ConfigError) as caught:
        Bound("entropy", 1.0)(step())
    assert caught.value.option == "trigger"


@pytest.mark.parametrize(
    ("measure", "bound"),
    [("top1", 1.1), ("top1", -0.1), ("margin", 2.0), ("entropy", -1.0), ("top1", float("nan"))],
)
def test_a_bound_out_of_range_names_the_option(measure: str, bound: float) -> None:
    with pytest.raises(ConfigError) as caught:
        Bound(measure, bound)
    assert caught.value.option == "trigger"


def test_an_unknown_measure_is_refused() -> None:
    with pytest.raises(ConfigError, match="perplexity"):
        Bound("perplexity", 0.5)


# --- their grammar --------------------------------------------------------------------------

LOW, NARROW, WIDE = Bound("top1", 0.4), Bound("margin", 0.1), Bound("entropy", 2.5)


@pytest.mark.parametrize(
    ("text", "trigger"),
    [
        ("top1<0.4", LOW),
        ("  top1 < .4 ", LOW),
        ("margin<0.1", NARROW),
        ("entropy>2.5", WIDE),
        ("entropy>30", Bound("entropy", 30.0)),
        ("bet>0.2", Bound("bet", 0.2)),
        ("top1<0.4 or veto > .5", Either(LOW, Bound("veto", 0.5), any_of=True)),
        ("top1<0.4 or margin<0.1", Either(LOW, NARROW, any_of=True)),
        ("top1<0.4 and margin<0.1", Either(LOW, NARROW, any_of=False)),
        (
            "top1<0.4 or margin<0.1 and entropy>2.5",
            Either(LOW, Either(NARROW, WIDE, any_of=False), any_of=True),
        ),
        (
            "top1<0.4 and margin<0.1 or entropy>2.5",
            Either(Either(LOW, NARROW, any_of=False), WIDE, any_of=True),
        ),
    ],
)
def test_parse_trigger(text: str, trigger: Trigger) -> None:
    assert parse_trigger(text) == trigger


def test_and_binds_closer_than_or() -> None:
    trigger = parse_trigger("top1<0.4 or margin<0.1 and entropy>2.5")
    assert trigger(step(0.3, 0.0, entropy=0.0))  # the first alone
    assert trigger(step(0.5, 0.45, entropy=3.0))  # the others together
    assert not trigger(step(0.5, 0.45, entropy=0.0))  # one of them is not enough
    assert not trigger(step(0.5, 0.0, entropy=3.0))


bounds = st.sampled_from(["top1<0.4", "margin<0.1", "entropy>2.5"])


@given(
    st.lists(st.lists(bounds, min_size=1, max_size=3), min_size=1, max_size=3),
    st.tuples(st.sampled_from([0.3, 0.5]), st.sampled_from([0.1, 0.29])),
    st.sampled_from([1.0, 3.0]),
)
def test_a_trigger_means_any_group_of_which_all_fire(
    groups: list[list[str]], probs: tuple[float, float], entropy: float
) -> None:
    fires = {
        "top1<0.4": probs[0] < 0.4,
        "margin<0.1": probs[0] - probs[1] < 0.1,
        "entropy>2.5": entropy > 2.5,
    }
    trigger = parse_trigger(" or ".join(" and ".join(group) for group in groups))
    wanted = any(all(fires[bound] for bound in group) for group in groups)
    assert trigger(step(*probs, entropy=entropy)) is wanted


@pytest.mark.parametrize("text", ["top1<0.4", "margin<0.1", "entropy>2.5", "bet>0.2", "veto>0"])
def test_a_bound_prints_as_it_is_read(text: str) -> None:
    assert str(parse_trigger(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "top1",
        "top1<",
        "top1>0.4",
        "margin>0.4",
        "entropy<2",
        "bet<0.2",
        "veto<0.2",
        "bet>1.5",
        "top2<0.4",
        "top1<=0.4",
        "top1<-0.4",
        "top1<0.4 or",
        "or top1<0.4",
        "top1<0.4 xor margin<0.1",
        "top1<0.4, margin<0.1",
        "top1<.",
        "top1<0.4.1",
        "top1<1.5",
        "(top1<0.4)",
    ],
)
def test_what_is_no_trigger_names_the_option(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_trigger(text)
    assert caught.value.option == "trigger"


def test_a_bound_out_of_range_in_text_is_said_to_be_so() -> None:
    with pytest.raises(ConfigError, match="out of range"):
        parse_trigger("top1<1.5")


def own(step: Step, /) -> bool:
    return step.is_end


def test_an_error_in_a_trigger_of_ones_own_is_its_own() -> None:
    """It is taken for a want of entropy only where there is none."""

    def fails(step: Step) -> bool:
        return bool(step.top + 1)  # type: ignore[operator]

    def compares(step: Step) -> bool:
        return step.entropy > 2  # type: ignore[operator]

    known = Step(b"x", (Candidate(b"x", 0.5),), entropy=1.0)
    for step in (known, Step(b"x", known.top)):
        with pytest.raises(TypeError):
            fires(fails, step, None)
    assert not fires(compares, known, None)
    with pytest.raises(ConfigError, match="fails without entropy"):
        fires(compares, Step(b"x", known.top), None)


@pytest.mark.parametrize(
    ("trigger", "wanted"),
    [
        (LOW, Needs(False)),
        (NARROW, Needs(False)),
        (WIDE, Needs(True)),
        (Bound("bet", 0.2), Needs(False, opinion=True)),
        (Either(LOW, NARROW, any_of=True), Needs(False)),
        (Either(NARROW, WIDE, any_of=False), Needs(True)),
        (Either(NARROW, Bound("veto", 0.2), any_of=False), Needs(False, opinion=True)),
        (Either(LOW, Either(NARROW, WIDE, any_of=True), any_of=True), Needs(True)),
        (own, Needs(False, own=True)),
        (Either(LOW, own, any_of=True), Needs(False, own=True)),
        (Either(WIDE, own, any_of=True), Needs(True, own=True)),
    ],
)
def test_needs_is_the_most_that_any_part_needs(trigger: Trigger, wanted: Needs) -> None:
    assert needs(trigger) == wanted


# --- triggers that look at both models --------------------------------------------------------


def said(text: bytes, *others: tuple[bytes, float], prob: float = 0.5, end: float = 0.0) -> Step:
    """What a model would write, and its other candidates."""
    top = tuple(Candidate(*other) for other in ((text, prob), *others))
    return Step(text, top, prob, is_end=not text, end=end)


OPINION = said(b" Sacramento", (b" Sac", 0.25), (b" Paris", 0.125), (b"", 0.0625), end=0.0625)


@pytest.mark.parametrize(
    ("token", "rated"),
    [
        (b" Sac", 0.75),  # begins one candidate, and is another
        (b" Sacramento", 0.75),
        (b" Sacramentos", 0.75),
        (b" Par", 0.125),
        (b" London", 0.0),
        (b"", 0.0625),
    ],
)
def test_a_token_is_rated_by_what_begins_it_or_goes_on_from_it(token: bytes, rated: float) -> None:
    assert rating(OPINION, said(token)) == rated


@pytest.mark.parametrize(("own", "doubt"), [(0.24, True), (0.25, False), (0.9, False)])
def test_a_bet_is_on_the_model_that_is_surer_of_its_own(own: float, doubt: bool) -> None:
    trigger = parse_trigger("bet>0.25")
    assert fires(trigger, said(b" x", prob=own), OPINION) is doubt
    assert not fires(trigger, said(b" x", prob=own), None)


def test_a_bet_goes_by_the_token_that_was_drawn() -> None:
    drawn = Step(b" y", (Candidate(b" x", 0.9), Candidate(b" y", 0.1)), 0.1)
    assert fires(Bound("bet", 0.25), drawn, OPINION)


@pytest.mark.parametrize(
    ("token", "doubt"), [(b" London", True), (b" Par", True), (b" Sac", False)]
)
def test_a_veto_is_of_a_token_that_the_nudging_model_would_not_write(
    token: bytes, doubt: bool
) -> None:
    assert fires(Bound("veto", 0.25), said(token, prob=0.99), OPINION) is doubt


def test_triggers_of_both_kinds_go_together() -> None:
    either = Either(parse_trigger("bet>0.25"), lambda step: step.text == b" bad", any_of=True)
    assert fires(either, said(b" bad", prob=0.9), OPINION)
    assert fires(either, said(b" x", prob=0.1), OPINION)
    assert not fires(either, said(b" x", prob=0.9), OPINION)


# --- agreement ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "word", "agreed"),
    [
        (b" th", " there", True),
        (b" there", " there", True),
        (b" ", " there", True),
        (b" there is", " there", False),  # the token goes past the word
        (b" The", " there", False),
        (b"there", " there", False),
        (" é".encode()[:2], " été", True),  # half a character
        (b"\n\n", "\n\nThen", True),
    ],
)
def test_agreement_is_a_word_that_begins_with_the_token(
    token: bytes, word: str, agreed: bool
) -> None:
    assert agrees(step(0.1, text=token), word) is agreed


def test_the_end_agrees_with_no_word() -> None:
    assert not agrees(step(0.9, text=b"", is_end=True), " there")
