"""The rule, stepped by hand (`tests/played.py`): turns, ends, stops and length."""

from __future__ import annotations

from contextlib import suppress

import pytest

from nudging.rule import rule_of
from nudging.rule.config import Config
from nudging.rule.draft import Ask
from nudging.rule.stop import CONSENT
from nudging.values.tokens import Piece, Step, StopReason
from tests.played import (
    DEFAULT,
    GO,
    SHORT,
    Played,
    base,
    base_ends,
    drafts,
    full,
    imagined,
    nudge,
    nudge_ends,
    played,
    run,
    step,
)

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
    found = played(config, *drafts("", "un", "der", "stand", " me"))
    assert (found.text, found.stop) == ("under", StopReason.LENGTH)


def test_a_word_is_shown_before_the_base_model_is_asked_about_the_next() -> None:
    shown: list[str] = []
    seen: list[tuple[str, list[str]]] = []
    words = iter([step(" one"), step(" tw"), step("o"), step(" three"), step("")])
    run = rule_of(Config.of(), ()).run()
    event = next(run)
    with suppress(StopIteration):
        while True:
            reply: Step | None = None
            if isinstance(event, Piece):
                shown.append(event.text)
            elif isinstance(event, Ask) and event.source == "base":
                seen.append((event.text.decode(), [*shown]))
                reply = step(" x", 0.1)
            elif isinstance(event, Ask):
                reply = next(words)
            event = run.send(reply)
    assert seen == [(" one", [" one"]), (" one two", [" one", " tw", "o"])]
    assert "".join(shown) == " one two three"


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
