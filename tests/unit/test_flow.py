"""The rule, stepped by hand: each test plays both models in one small situation.

An exchange is what one model is asked for (the text after which it writes) and what it writes.
`played` checks every ask against the next exchange, so a rule that asked too much, too little or
after another text would fail.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nudging.rule import rule_of
from nudging.rule.config import Config
from nudging.rule.draft import Ask
from nudging.rule.rule import Rule
from nudging.rule.stop import CONSENT
from nudging.values.tokens import Candidate, Decision, Piece, Source, Step, StopReason

Text = str | bytes
Exchange = tuple[Source, Text, Step | None]


def as_bytes(text: Text) -> bytes:
    return text.encode() if isinstance(text, str) else text


def step(text: Text, p: float = 0.9, end: float = 0.0) -> Step:
    """A token that the model gives probability p; an empty one is its end."""
    data = as_bytes(text)
    return Step(data, (Candidate(data, p),), p, is_end=not data, end=end if data else p)


def base(after: Text, text: Text, p: float = 0.9) -> Exchange:
    return "base", after, step(text, p)


def nudge(after: Text, text: Text, p: float = 0.5, *, end: float = 0.0) -> Exchange:
    return "nudge", after, step(text, p, end)


def base_ends(after: Text, p: float = 0.9) -> Exchange:
    return base(after, "", p)


def nudge_ends(after: Text) -> Exchange:
    return nudge(after, "")


def full(source: Source, after: Text) -> Exchange:
    """The model's context is full."""
    return source, after, None


def drafts(after: str, *tokens: str) -> list[Exchange]:
    return [nudge(after + "".join(tokens[:i]), token) for i, token in enumerate(tokens)]


def writes(after: str, *tokens: str) -> list[Exchange]:
    return [base(after + "".join(tokens[:i]), token) for i, token in enumerate(tokens)]


@dataclass
class Played:
    text: str
    pieces: list[str]
    stop: StopReason
    spans: list[tuple[Source, str]]
    reasons: list[str | None]
    """Why each nudge span's turn began."""
    decisions: list[Decision]
    tokens: int
    rounds: int

    def notes(self, kind: str) -> list[str]:
        return [d.note for d in self.decisions if d.kind == kind]


def run(flow: Rule, answer: Callable[[Ask], Step | None]) -> Played:
    steps = flow.run()
    pieces: list[Piece] = []
    decisions: list[Decision] = []
    reply: Step | None = None
    while True:
        try:
            event = steps.send(reply)
        except StopIteration as stopped:
            stop = stopped.value
            break
        reply = None
        if isinstance(event, Ask):
            reply = answer(event)
        elif isinstance(event, Piece):
            pieces.append(event)
        else:
            decisions.append(event)
    spans = flow.transcript.spans()
    text = "".join(span.text for span in spans)
    assert isinstance(stop, StopReason)
    assert "".join(piece.text for piece in pieces) == text
    assert decisions[-1].kind == "end"
    return Played(
        text,
        [piece.text for piece in pieces],
        stop,
        [(span.source, span.text) for span in spans],
        [span.handover.reason for span in spans if span.handover],
        decisions,
        flow.transcript.tokens,
        flow.rounds,
    )


def played(config: Config, *exchanges: Exchange, ends: Sequence[str] = ()) -> Played:
    left: Iterator[Exchange] = iter(exchanges)

    def answer(ask: Ask) -> Step | None:
        source, after, reply = next(left, ("base", "(no more to ask)", None))
        assert (ask.source, ask.text) == (source, as_bytes(after))
        assert ask.text.startswith(ask.start)
        return reply

    found = run(rule_of(config, ends), answer)
    assert next(left, None) is None, "the rule ended before it had asked all"
    return found


def imagined(
    config: Config, base: Callable[[str], Step], nudge: Callable[[str], Step], most: int = 2000
) -> Played:
    """Both models as functions of the text, for longer answers."""
    asked = 0

    def answer(ask: Ask) -> Step:
        nonlocal asked
        asked += 1
        assert asked <= most, "the rule goes on without end"
        return (base if ask.source == "base" else nudge)(ask.text.decode())

    return run(rule_of(config), answer)


DEFAULT = Config.of()
SHORT = Config.of(lookahead=4)
# Opens an answer: the nudging model's "Go" is taken, for the base model goes on with confidence.
GO = [*drafts("", "Go", " now"), base("Go", " on")]


# --- who opens ------------------------------------------------------------------------------


def test_the_nudging_model_opens_and_its_first_word_is_taken_unasked() -> None:
    found = played(DEFAULT, *GO, base("Go on", " x", 0.1), nudge_ends("Go on"))
    assert found.spans == [("nudge", "Go"), ("base", " on")]
    assert found.reasons == ["opening"]
    assert found.stop is StopReason.NUDGE


def test_the_base_model_opens_where_it_is_said_to() -> None:
    config = Config.of(opener="base")
    found = played(config, base("", "Hi"), base_ends("Hi"), nudge_ends("Hi"))
    assert found.spans == [("base", "Hi")]


def test_a_base_opener_in_doubt_leaves_the_opening_to_the_nudging_model() -> None:
    found = played(Config.of(opener="base"), base("", "Hi", 0.1), nudge_ends(""))
    assert found.text == ""
    assert found.decisions[0].note == "doubt"


# --- takeover -------------------------------------------------------------------------------


def test_at_gamma_the_base_model_takes_over() -> None:
    config = Config.of(gamma=0.4)
    found = played(
        config,
        *drafts("", "Go", " now"),
        base("Go", " on", 0.4),
        base_ends("Go on"),
        nudge_ends("Go on"),
    )
    assert found.spans == [("nudge", "Go"), ("base", " on")]
    assert found.notes("takeover") == ["confident"]


def test_below_gamma_the_next_word_is_taken_too() -> None:
    found = played(
        Config.of(gamma=0.4),
        *drafts("", "Go", " now"),
        base("Go", " on", 0.399),
        nudge("Go now", " and"),
        base("Go now", "!", 0.4),
        base_ends("Go now!"),
        nudge_ends("Go now!"),
    )
    assert found.spans == [("nudge", "Go now"), ("base", "!")]
    assert found.notes("keep") == ["in doubt"]


def test_agreement_takes_over_in_doubt_and_takes_the_doubted_token() -> None:
    found = played(
        DEFAULT,
        *drafts("", "Go", " there"),
        base("Go", " th", 0.1),  # the next word begins with it
        base("Go th", "us", 0.1),
        nudge_ends("Go th"),
    )
    assert found.spans == [("nudge", "Go"), ("base", " th")]
    assert found.notes("takeover") == ["agrees"]


def test_agreement_waits_for_as_much_of_the_word_as_the_token_has() -> None:
    found = played(
        DEFAULT,
        *drafts("", "Go", " th"),
        base("Go", " there", 0.1),
        nudge("Go th", "ere"),
        base_ends("Go there"),
        nudge_ends("Go there"),
    )
    assert found.spans == [("nudge", "Go"), ("base", " there")]


def test_a_token_that_goes_past_the_word_does_not_agree() -> None:
    found = played(
        SHORT,
        *drafts("", "Go", " a"),
        base("Go", " an", 0.1),
        nudge("Go a", " b"),  # so the word is " a"
        base("Go a", " x", 0.1),
        nudge("Go a b", " c"),
        base("Go a b", " x", 0.1),
        nudge_ends("Go a b"),
    )
    assert found.spans == [("nudge", "Go a b")]
    assert found.notes("takeover") == []


def test_takeover_confident_does_not_look_at_agreement() -> None:
    found = played(
        Config.of(takeover="confident"),
        *drafts("", "Go", " there"),
        base("Go", " there", 0.1),
        nudge("Go there", " now"),
        base("Go there", "!", 0.9),
        base_ends("Go there!"),
        nudge_ends("Go there!"),
    )
    assert found.spans == [("nudge", "Go there"), ("base", "!")]


def test_takeover_word_gives_back_after_one_word_unasked() -> None:
    found = played(
        Config.of(takeover="word"),
        *drafts("", "Go", " now"),
        base("Go", " on", 0.1),  # the base turn's own first token: in doubt
        nudge_ends("Go"),
    )
    assert found.spans == [("nudge", "Go")]
    assert found.notes("takeover") == []
    assert found.notes("handover") == ["opening", "doubt"]


def test_the_bases_end_takes_over_but_only_hands_back() -> None:
    found = played(DEFAULT, *drafts("", "Go", " now"), base_ends("Go"), nudge_ends("Go"))
    assert found.text == "Go"
    assert found.stop is StopReason.NUDGE
    assert found.notes("handover") == ["opening", "end"]


def test_the_bases_end_in_doubt_is_no_agreement() -> None:
    found = played(
        DEFAULT,
        *drafts("", "Go", " now"),
        base_ends("Go", 0.1),
        nudge_ends("Go now"),  # the draft ends, so all of it is taken
    )
    assert found.text == "Go now"


def test_without_takeover_all_but_the_last_word_is_taken() -> None:
    found = played(
        SHORT,
        *drafts("", "a", " b"),
        base("a", " x", 0.1),
        nudge("a b", " c"),
        base("a b", " x", 0.1),
        nudge("a b c", " d"),  # the fourth and last token of the draft: " d" may be cut
        base("a b c", " x", 0.1),
        nudge_ends("a b c"),
    )
    assert found.spans == [("nudge", "a b c")]
    assert found.notes("handover") == ["opening", "more"]
    assert found.rounds == 2


def test_a_single_word_is_taken_whole() -> None:
    found = played(SHORT, *drafts("", "un", "der", "stand", "ing"), nudge_ends("understanding"))
    assert found.text == "understanding"
    assert found.notes("handover") == ["opening", "more"]


# --- handover -------------------------------------------------------------------------------


def test_a_base_in_doubt_hands_over_and_the_token_is_not_taken() -> None:
    found = played(
        DEFAULT,
        *GO,
        base("Go on", " bad", 0.399),
        *drafts("Go on", " then", " we"),
        base("Go on then", ","),
        base_ends("Go on then,"),
        nudge_ends("Go on then,"),
    )
    assert found.spans == [("nudge", "Go"), ("base", " on"), ("nudge", " then"), ("base", ",")]
    assert found.reasons == ["opening", "doubt"]
    handover = [d for d in found.decisions if d.kind == "handover"][1]
    assert handover.step == step(" bad", 0.399)
    assert handover.at == len("Go on")


def test_a_trigger_of_ones_own_decides() -> None:
    config = Config.of(trigger=lambda step: step.text == b" bad")
    found = played(
        config,
        *drafts("", "Go", " now"),
        base("Go", " on", 0.01),
        base("Go on", " bad", 0.99),
        nudge_ends("Go on"),
    )
    assert found.text == "Go on"


def test_a_bet_asks_the_nudging_model_at_each_token_of_the_base_model() -> None:
    found = played(
        Config.of(trigger="bet>0.3"),
        *drafts("", "Go", " now"),
        base("Go", " on", 0.3),  # the draft gives its own 0.5 there
        base("Go on", ",", 0.3),
        nudge("Go on", " then"),
        base("Go on,", " x", 0.1),
        nudge("Go on,", " dear"),
        *drafts("Go on,", " dear", " me"),
        base("Go on, dear", " you", 0.3),
        base_ends("Go on, dear you"),
        nudge_ends("Go on, dear you"),
    )
    assert found.spans == [
        ("nudge", "Go"),
        ("base", " on,"),
        ("nudge", " dear"),
        ("base", " you"),
    ]


def test_a_handover_may_be_inside_a_word_and_the_next_word_is_what_is_left_of_it() -> None:
    found = played(
        DEFAULT,
        *drafts("", "Go", " now"),
        base("Go", " under"),
        base("Go under", "x", 0.1),
        *drafts("Go under", "stand", "ing", " it"),
        base("Go understanding", " me"),
        base_ends("Go understanding me"),
        nudge_ends("Go understanding me"),
    )
    assert found.spans == [
        ("nudge", "Go"),
        ("base", " under"),
        ("nudge", "standing"),
        ("base", " me"),
    ]


def test_the_bases_end_hands_over_and_the_nudging_model_may_go_on() -> None:
    found = played(
        DEFAULT,
        *GO,
        base_ends("Go on"),
        *drafts("Go on", " then", " we"),
        base("Go on then", ","),
        base_ends("Go on then,"),
        nudge_ends("Go on then,"),
    )
    assert found.text == "Go on then,"
    assert found.reasons == ["opening", "end"]


# --- the end --------------------------------------------------------------------------------


def test_consult_asks_at_a_sentences_end_and_the_following_token_is_not_taken() -> None:
    found = played(DEFAULT, *GO, base("Go on", "."), base("Go on.", " And"), nudge_ends("Go on."))
    assert found.text == "Go on."
    assert found.stop is StopReason.NUDGE
    assert found.notes("consult") == ["would end"]


def test_consult_goes_on_below_consent() -> None:
    found = played(
        Config.of(consent=0.2),
        *GO,
        base("Go on", "."),
        base("Go on.", " And"),
        nudge("Go on.", " Then", end=0.19),
        base("Go on. And", "!"),
        base("Go on. And!", "\n"),
        nudge("Go on. And!", " Then", end=0.2),  # enough
    )
    assert found.text == "Go on. And!"
    assert found.notes("consult") == ["goes on", "would end"]


def test_consult_asks_at_a_paragraphs_end_but_not_elsewhere() -> None:
    found = played(
        DEFAULT,
        *GO,
        base("Go on", ","),
        base("Go on,", " man"),
        base("Go on, man", "\n\nNow"),
        nudge_ends("Go on, man"),
    )
    assert found.text == "Go on, man"


def test_consult_asks_before_the_break_that_a_token_brings_with_the_sentences_end() -> None:
    # Vocabularies of Qwen and Llama 3 have such tokens; after the break no aligned model ends.
    found = played(
        Config.of(consent=0.2),
        *GO,
        base("Go on", " man.\n\n"),
        nudge("Go on man.", " Then", end=0.1),
        base("Go on man.\n\n", "Yes"),
        base("Go on man.\n\nYes", "!\n"),
        nudge_ends("Go on man.\n\nYes!"),
    )
    assert found.text == "Go on man.\n\nYes!"
    assert found.notes("consult") == ["goes on", "would end"]


def test_a_sentence_that_ends_in_the_token_of_a_takeover_is_consulted_about() -> None:
    found = played(DEFAULT, *drafts("", "Go", " now"), base("Go", ".\n"), nudge_ends("Go."))
    assert found.text == "Go."


def test_a_stop_string_counts_in_the_last_sentence_too() -> None:
    config = Config.of(stop_strings=("man",))
    found = played(config, *GO, base("Go on", " man.\n"), nudge_ends("Go on man."))
    assert (found.text, found.stop) == ("Go on ", StopReason.STOP)


def test_the_token_of_a_takeover_is_not_consulted_about() -> None:
    # The nudging model has just gone on from there.
    found = played(
        DEFAULT,
        *drafts("", "Go.", " now"),
        base("Go.", " And"),
        base_ends("Go. And"),
        nudge_ends("Go. And"),
    )
    assert found.notes("consult") == []


def test_where_the_base_is_done_a_small_share_of_the_nudges_end_will_do() -> None:
    enough = CONSENT["end"]
    ended = played(DEFAULT, *GO, base_ends("Go on"), nudge("Go on", " so", end=enough))
    assert (ended.text, ended.stop) == ("Go on", StopReason.NUDGE)
    went_on = played(
        DEFAULT,
        *GO,
        base_ends("Go on"),
        nudge("Go on", " so", end=enough / 2),
        nudge_ends("Go on so"),
    )
    assert went_on.text == "Go on so"


def test_in_doubt_it_takes_consent() -> None:
    config = Config.of(consent=0.2)
    doubt = [*GO, base("Go on", " x", 0.1)]
    assert played(config, *doubt, nudge("Go on", " so", end=0.2)).text == "Go on"
    went_on = played(config, *doubt, nudge("Go on", " so", end=0.19), nudge_ends("Go on so"))
    assert went_on.text == "Go on so"


def test_an_end_within_the_draft_takes_what_is_before_it() -> None:
    found = played(DEFAULT, *drafts("", "Go", " now"), base("Go", " x", 0.1), nudge_ends("Go now"))
    assert (found.text, found.stop) == ("Go now", StopReason.NUDGE)


def test_lookahead_takes_the_whole_draft_unasked() -> None:
    config = Config.of(stop="lookahead", lookahead=4)
    found = played(config, *drafts("", "Go", " on", " now"), nudge_ends("Go on now"))
    assert found.spans == [("nudge", "Go on now")]
    assert found.stop is StopReason.NUDGE


def test_lookahead_does_not_see_an_end_past_it_and_does_not_consult() -> None:
    config = Config.of(stop="lookahead", lookahead=4)
    found = played(
        config,
        *drafts("", "Go", " on", " now", " and"),  # four; the end would be the fifth
        base("Go", " up"),
        base("Go up", "."),
        base("Go up.", " Or"),  # no question at the sentence's end
        base_ends("Go up. Or"),
        nudge_ends("Go up. Or"),
    )
    assert found.text == "Go up. Or"
    assert found.notes("consult") == []


def test_either_ends_with_the_base_where_it_is_confident() -> None:
    found = played(Config.of(stop="either"), *GO, base_ends("Go on", 0.4))
    assert (found.text, found.stop) == ("Go on", StopReason.BASE)


def test_either_hands_over_where_the_bases_end_is_in_doubt() -> None:
    found = played(Config.of(stop="either"), *GO, base_ends("Go on", 0.3), nudge_ends("Go on"))
    assert found.stop is StopReason.NUDGE


def test_either_ends_with_the_base_at_a_takeover_too() -> None:
    found = played(Config.of(stop="either"), *drafts("", "Go", " now"), base_ends("Go"))
    assert (found.text, found.stop) == ("Go", StopReason.BASE)


@pytest.mark.parametrize("stop", ["consult", "either", "lookahead"])
def test_an_answer_may_be_empty(stop: str) -> None:
    found = played(Config.of(stop=stop), nudge_ends(""))
    assert (found.text, found.pieces, found.stop) == ("", [], StopReason.NUDGE)


def test_a_full_context_ends_by_length() -> None:
    assert played(DEFAULT, full("nudge", "")).stop is StopReason.LENGTH
    assert played(DEFAULT, *drafts("", "Go", " on"), full("base", "Go")).stop is StopReason.LENGTH
    found = played(DEFAULT, *GO, full("base", "Go on"))
    assert (found.text, found.stop) == ("Go on", StopReason.LENGTH)


# --- stop strings and the base's markers ----------------------------------------------------


def test_a_stop_string_across_tokens_is_never_shown() -> None:
    found = played(
        Config.of(stop_strings=["END"]),
        *GO,
        base("Go on", " E"),
        base("Go on E", "N"),
        base("Go on EN", "D!"),
    )
    assert (found.text, found.stop) == ("Go on ", StopReason.STOP)
    assert not any("E" in piece or "N" in piece for piece in found.pieces)


def test_what_might_have_been_a_stop_string_is_shown_when_it_is_none() -> None:
    found = played(
        Config.of(stop_strings=["END"]),
        *GO,
        base("Go on", "EN"),
        base("Go onEN", "G"),
        base_ends("Go onENG"),
        nudge_ends("Go onENG"),
    )
    assert found.pieces == ["Go", " on", "EN", "G"]


def test_a_stop_string_may_be_of_both_models() -> None:
    found = played(Config.of(stop_strings=["o o"]), *drafts("", "Go", " now"), base("Go", " on"))
    assert (found.text, found.stop) == ("G", StopReason.STOP)
    assert found.pieces == ["G"]


def test_a_stop_string_in_the_nudging_models_words_stops() -> None:
    config = Config.of(stop_strings=["END"], stop="lookahead")
    found = played(config, *drafts("", "Go", " E", "ND now"), nudge_ends("Go END now"))
    assert (found.text, found.stop) == ("Go ", StopReason.STOP)


def test_of_two_stop_strings_the_earlier_counts() -> None:
    config = Config.of(stop_strings=["zz", "y"])
    assert played(config, *GO, base("Go on", "xyzz")).text == "Go onx"


def test_a_next_turn_of_the_bases_own_making_is_its_end() -> None:
    found = played(
        DEFAULT,
        *GO,
        base("Go on", "\nUser"),
        nudge("Go on", " so"),  # a line ends: asked, and would not
        base("Go on\nUser", ": x"),
        nudge_ends("Go on"),
        ends=["\nUser:"],
    )
    assert (found.text, found.stop) == ("Go on", StopReason.NUDGE)
    assert found.notes("handover") == ["opening", "end"]
    assert found.pieces == ["Go", " on"]


def test_the_authors_know_no_markers_of_the_next_turn() -> None:
    config = Config.of(stop="lookahead", lookahead=4)
    found = played(
        config,
        *drafts("", "Go", " on", " a", " b"),
        base("Go", "\nUser: x"),
        base_ends("Go\nUser: x"),
        nudge_ends("Go\nUser: x"),
        ends=["\nUser:"],
    )
    assert found.text == "Go\nUser: x"


def test_words_of_the_nudging_model_that_begin_a_next_turn_are_not_taken_back_for_ever() -> None:
    def nudge(text: str) -> Step:
        return step({"": "Hi", "Hi": "\nUser", "Hi\nUser": " name"}.get(text, " x"), 0.5)

    def base(text: str) -> Step:
        return step(":") if text == "Hi\nUser" else step(" x", 0.1)

    asked = 0

    def answer(ask: Ask) -> Step:
        nonlocal asked
        asked += 1
        assert asked < 2000
        return (base if ask.source == "base" else nudge)(ask.text.decode())

    run(rule_of(Config.of(max_tokens=20), ["\nUser:"]), answer)


# --- length ---------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", ["consult", "lookahead", "either"])
@pytest.mark.parametrize("takeover", ["agreement", "confident", "word"])
@pytest.mark.parametrize("most", [1, 2, 3, 7, 30])
def test_max_tokens_is_exact(most: int, takeover: str, stop: str) -> None:
    # Every third token is the base's in doubt; words of the nudging model have two tokens.
    def base(text: str) -> Step:
        return step(f" {'abc'[len(text) % 3]}", 0.9 if len(text) % 5 else 0.1)

    def nudge(text: str) -> Step:
        return step("y" if text.endswith("x") else " x", 0.5)

    config = Config.of(max_tokens=most, takeover=takeover, stop=stop, guards="none")
    found = imagined(config, base, nudge)
    assert (found.tokens, found.stop) == (most, StopReason.LENGTH)


def test_a_word_that_does_not_fit_is_cut_at_its_token() -> None:
    config = Config.of(max_tokens=2)
    found = played(config, *drafts("", "un", "der", "stand", " me"), base("understand", " x", 0.9))
    assert (found.text, found.stop) == ("under", StopReason.LENGTH)


def test_an_end_that_just_fits_is_an_end() -> None:
    config = Config.of(max_tokens=2, stop="lookahead")
    found = played(config, *drafts("", "Go", " on"), nudge_ends("Go on"))
    assert (found.text, found.stop) == ("Go on", StopReason.NUDGE)


def three_rounds(config: Config) -> Played:
    """Each round is a word of the nudging model and one of the base model."""

    def base(text: str) -> Step:
        return step(" b", 0.9 if text.endswith("n") else 0.1)

    return imagined(config, base, lambda text: step(" n", 0.5))


def test_rounds_are_limited() -> None:
    found = three_rounds(Config(preset="official", max_rounds=3, lookahead=4))
    assert (found.rounds, found.stop) == (3, StopReason.ROUNDS)
    assert found.text == "n b n b n b"


def test_rounds_are_limited_with_other_guards_too() -> None:
    found = three_rounds(Config.of(max_rounds=3, guards="none"))
    assert (found.rounds, found.stop) == (3, StopReason.ROUNDS)
    assert found.text == " n b n b n b"


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


# --- preset official ------------------------------------------------------------------------

OFFICIAL = Config(preset="official", stop="lookahead", words="space", lookahead=4)
START = [*drafts("", "So", " a", " b", " c"), base("So", " it")]  # "So" is taken, " it" comes next


def test_the_same_nudging_words_for_the_fourth_time_end_the_answer() -> None:
    def nudge(text: str) -> Step:
        return step({"so": " a", " a": " b", " b": " c"}.get(text[-2:], " so"), 0.5)

    def base(text: str) -> Step:
        return step(f" w{text.count('w')}", 0.9 if text.endswith(" so") else 0.1)

    found = imagined(OFFICIAL, base, nudge)
    assert found.text == "so w0 so w1 so w2"  # without the space in front, and the fourth "so"
    assert found.stop is StopReason.REPEATED
    assert found.rounds == 4


def test_other_words_in_between_begin_the_count_anew() -> None:
    def nudge(text: str) -> Step:
        first = " or" if text.endswith("w2") else " so"
        return step({"so": " a", "or": " a", " a": " b", " b": " c"}.get(text[-2:], first), 0.5)

    def base(text: str) -> Step:
        return step(f" w{text.count('w')}", 0.9 if text[-3:] in (" so", " or") else 0.1)

    found = imagined(OFFICIAL, base, nudge)
    assert found.text == "so w0 so w1 so w2 or w3 so w4 so w5 so w6"
    assert found.stop is StopReason.REPEATED


NUMBERS = (" one", " two", " three", " four", " five", " six")
SAID = "So it one two three four five six"


def test_a_chunk_that_is_there_already_is_dropped() -> None:
    found = played(
        OFFICIAL,
        *START,
        *writes("So it", *NUMBERS),
        base(SAID, " x", 0.1),
        *drafts(SAID, " And", " a", " b", " c"),
        base(SAID + " And", " well"),
        *writes(SAID + " And well", *NUMBERS),  # over five words, and all said before
        base(SAID + " And well one two three four five six", " x", 0.1),
        nudge_ends(SAID + " And well"),
    )
    assert found.text == SAID + " And well"
    assert found.notes("handover") == ["opening", "doubt", "loop"]


def test_five_words_that_are_there_already_are_no_repetition() -> None:
    four = NUMBERS[:4]  # five by the split: the space in front makes an empty one
    said = "So it one two three four five six And well one two three four"
    found = played(
        OFFICIAL,
        *START,
        *writes("So it", *NUMBERS),
        base(SAID, " x", 0.1),
        *drafts(SAID, " And", " a", " b", " c"),
        base(SAID + " And", " well"),
        *writes(SAID + " And well", *four),
        base(said, " x", 0.1),
        nudge_ends(said),
    )
    assert found.text == said


def test_a_call_whose_whole_text_is_in_this_turn_already_ends_the_turn() -> None:
    found = played(
        OFFICIAL,
        *START,
        base("So it", " it"),
        base_ends("So it it"),  # the call's text is " it", as the turn's
        nudge_ends("So it"),
    )
    assert found.text == "So it"
    assert found.notes("handover") == ["opening", "loop"]


def test_the_bases_end_in_the_call_of_the_takeover_is_not_seen() -> None:
    # paper.md 1.2, point 7: the base model is called once more.
    found = played(
        OFFICIAL,
        *START,
        base("So it", " is"),
        base_ends("So it is"),
        base("So it is", " not"),
        base_ends("So it is not"),
        nudge_ends("So it is not"),
    )
    assert found.text == "So it is not"
    assert found.notes("handover") == ["opening", "end"]


def test_a_call_has_sixteen_tokens() -> None:
    asked: list[Ask] = []

    def answer(ask: Ask) -> Step:
        asked.append(ask)
        text = ask.text.decode()
        if ask.source == "nudge":
            return step("" if len(text) > 20 else {0: "So"}.get(len(text), " n"), 0.5)
        return step(f" {len(text)}", 0.9 if len(text) < 100 else 0.1)

    run(rule_of(OFFICIAL), answer)
    starts = [ask.start for ask in asked if ask.source == "base"]
    assert starts.count(b"So") == 16  # one of the takeover, fifteen more of its call
    assert all(ask.n == 16 for ask in asked if ask.source == "base")


def test_the_answer_is_trimmed_and_shown_only_then() -> None:
    unit = "abcdefghijklmnopqrstuvwxyzABCD"  # thirty: as short as a repeated tail may be
    config = OFFICIAL
    found = played(config, nudge("", f"  {unit}{unit} \n"), nudge_ends(f"  {unit}{unit} \n"))
    assert found.text == unit
    assert found.pieces == [unit]
    assert found.stop is StopReason.NUDGE


def test_official_rounds_are_150() -> None:
    pytest.importorskip("bpe_openai")

    def nudge(text: str) -> Step:
        return step(f" {chr(97 + len(text) % 25)}", 0.5)

    found = imagined(
        Config.of("official", max_tokens=10**6),
        lambda text: step(" b", 0.9 if len(text) % 4 == 2 else 0.1),
        nudge,
        most=10**5,
    )
    assert (found.rounds, found.stop) == (150, StopReason.ROUNDS)


# --- characters in parts --------------------------------------------------------------------


def test_half_a_character_at_a_handover_is_given_back() -> None:
    found = played(
        DEFAULT,
        *GO,
        base("Go on", b"\xc3"),  # half of an é
        base(b"Go on\xc3", b"\xa9", 0.1),
        *drafts("Go on", " so", " we"),
        base("Go on so", ","),
        base_ends("Go on so,"),
        nudge_ends("Go on so,"),
    )
    assert found.spans == [("nudge", "Go"), ("base", " on"), ("nudge", " so"), ("base", ",")]


def test_half_a_character_before_the_end_is_given_back() -> None:
    found = played(
        DEFAULT, *GO, base("Go on", b"\xc3"), base_ends(b"Go on\xc3"), nudge_ends("Go on")
    )
    assert found.text == "Go on"


def test_a_character_in_parts_is_shown_whole() -> None:
    found = played(
        DEFAULT,
        *GO,
        base("Go on", b" \xe6"),
        base(b"Go on \xe6", b"\x9d"),
        base(b"Go on \xe6\x9d", b"\xb1!"),
        base_ends("Go on 東!"),
        nudge_ends("Go on 東!"),
    )
    assert found.pieces == ["Go", " on", " ", "東!"]


@pytest.mark.parametrize("held", [b"", b"\xc3"])
def test_bytes_that_are_no_character_count_as_doubt(held: bytes) -> None:
    before = [base("Go on", held)] if held else []
    found = played(DEFAULT, *GO, *before, base(b"Go on" + held, b"\xff"), nudge_ends("Go on"))
    assert found.text == "Go on"
    assert found.notes("handover") == ["opening", "doubt"]


def test_a_draft_ends_before_bytes_that_are_no_character() -> None:
    found = played(DEFAULT, *drafts("", "Go"), nudge("Go", b"\xff"))
    assert (found.text, found.stop) == ("Go", StopReason.NUDGE)


def test_the_second_half_of_a_character_is_doubt_where_nothing_is_before_it() -> None:
    found = played(Config.of(opener="base"), base("", b"\x80"), nudge_ends(""))
    assert found.text == ""


def test_a_length_in_the_authors_tokens_is_reached_by_characters_of_several_tokens() -> None:
    pytest.importorskip("bpe_openai")
    config = Config.of(preset="paper", max_tokens=1)
    parts = "👩".encode() * 9

    def base(text: bytes) -> Step:
        return step(parts[len(text) : len(text) + 1], 0.9)

    found = run(rule_of(config), lambda ask: base(ask.text) if ask.source == "base" else step(" a"))
    assert found.stop is StopReason.LENGTH


def test_a_context_that_is_full_in_mid_character_ends_by_length() -> None:
    found = played(DEFAULT, nudge("", b"\xc3"), full("nudge", b"\xc3"))
    assert (found.text, found.stop) == ("", StopReason.LENGTH)


PARTS = [*(bytes([b]) for b in " é東a\n.👩".encode()), b" the", " é".encode()[:2], b"\xff", b". "]


@given(
    st.integers(0, 10**6),
    st.fixed_dictionaries(
        {
            "stop": st.sampled_from(["consult", "lookahead", "either"]),
            "preset": st.sampled_from(["default", "official"]),
            "guards": st.sampled_from(["loop", "none"]),
            "opener": st.sampled_from(["base", "nudge"]),
            "max_rounds": st.sampled_from([None, 3]),
        }
    ),
)
@settings(max_examples=400)
def test_whatever_bytes_models_write_what_is_shown_is_the_answer(
    seed: int, options: dict[str, Any]
) -> None:
    chance = random.Random(seed)

    def answer(ask: Ask) -> Step:
        text = chance.choice(PARTS) if chance.random() > 0.1 else b""
        return step(text, chance.random())

    config = Config(max_tokens=20, lookahead=4, **options)
    run(rule_of(config, ["\n."]), answer)  # which holds the pieces against the spans
