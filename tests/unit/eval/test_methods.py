"""Decoding methods on models with known distributions, and once on trained ones."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nudging import Answer, Message, NudgedModel, StopReason, open_engine
from nudging.aio import background_loop
from nudging.engines.base import Engine
from nudging.engines.scripted import Distribution, ScriptedEngine
from nudging.errors import ConfigError, InputError, SpecError
from nudging.eval.methods import METHODS, Method, Role, open_method
from nudging.eval.methods.examples import EXAMPLES, examples_prompt
from nudging.eval.methods.opening import BOUND, CANDIDATES, WINDOW, own_token
from nudging.prompts.chat import Prompt, conversation
from nudging.values.tokens import Candidate, Step
from nudging.values.variables import NONE, Variables
from tests.conftest import Lab
from tests.lab_facts import PETS
from tests.toys import looping_engine, random_engine

FRANCE = "What is the capital of France?"
PAIR: Mapping[Role, str] = {
    "base": "scripted:base",
    "nudge": "scripted:nudge",
    "aligned": "scripted:nudge",
}


def asked(method: Method, question: Any = FRANCE, **more: Any) -> Answer:
    return asyncio.run(method.answer(question, **more))


def spans(answer: Answer) -> list[tuple[str, str]]:
    return [(span.source, span.text) for span in answer.spans]


class Seen(ScriptedEngine):
    """A model that says one thing, and keeps what it was asked."""

    def __init__(self, said: str = "Yes.") -> None:
        self.prompts: list[str] = []

        def following(prompt: str, text: bytes) -> Distribution:
            self.prompts.append(prompt)
            return [Candidate(said.encode() if not text else b"", 1.0)]

        super().__init__(following)


class Told(ScriptedEngine):
    """A model that keeps the variables that its chat template was given."""

    def __init__(self) -> None:
        self.told: list[Variables] = []
        super().__init__(lambda prompt, text: [Candidate(b"" if text else b"Yes.", 1.0)])

    async def render(self, messages: Sequence[Message], variables: Variables = NONE) -> Prompt:
        self.told.append(variables)
        return await super().render(messages)


@pytest.mark.parametrize("name", ["nudge", "nudging", "opening"])
def test_variables_of_the_template_are_the_nudging_models(name: str) -> None:
    engine, given = Told(), {"enable_thinking": True}
    models: dict[Role, str | Engine] = {"base": "scripted:base", "nudge": engine}
    method = open_method(name, models, {"template_variables": given})
    assert asked(method).text
    assert engine.told == [given]
    assert method.setting["template_variables.enable_thinking"] is True


def test_a_large_aligned_model_has_its_own() -> None:
    engine = Told()
    models: dict[Role, str | Engine] = {"aligned": engine}
    method = open_method("aligned", models, {"template_variables": {"a": 1}})
    assert asked(method).text
    assert engine.told == [{}]
    assert method.setting == {}


# --- opening a method -----------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in METHODS if n not in ("ensemble", "proxy-tuning")])
def test_every_method_answers(name: str) -> None:
    method = open_method(name, dict(PAIR), {"max_tokens": 40})
    found = asked(method)
    assert method.name == name
    assert found.text
    assert found.usage.tokens == sum(len(span.tokens) for span in found.spans) <= 40
    assert found.usage.seconds > 0
    assert method.concurrency > 1
    method.close()


def test_a_method_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="no method 'beam'") as caught:
        open_method("beam", dict(PAIR))
    assert "proxy-tuning" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "given", "role"),
    [
        ("base", {"nudge": "scripted:nudge"}, "base"),
        ("aligned", {"base": "scripted:base"}, "aligned"),
        ("proxy-tuning", {"base": "scripted:base", "nudge": "scripted:nudge"}, "untuned"),
        ("opening", {"base": "scripted:base"}, "nudge"),
    ],
)
def test_a_model_that_is_missing_is_named(name: str, given: Any, role: str) -> None:
    with pytest.raises(ConfigError, match=f"'{name}' needs a model as '{role}'") as caught:
        open_method(name, given)
    assert caught.value.option == role


def test_bad_options_and_specs_are_found_at_the_opening() -> None:
    with pytest.raises(ConfigError, match="gamma"):
        open_method("base", dict(PAIR), {"gamma": 2})
    with pytest.raises(ConfigError, match="no option 'gama'"):
        open_method("nudge", dict(PAIR), {"gama": 0.2})
    with pytest.raises(SpecError):
        open_method("base", {"base": "nothing"})


def test_engines_that_were_opened_before_stay_open() -> None:
    engine = Seen()
    first, second = (open_method("base", {"base": engine}) for _ in range(2))
    first.close()
    assert asked(second).text == "Yes."


def test_a_spec_is_opened_once_and_closed_with_the_method() -> None:
    method = open_method("nudging", {"base": "scripted:base", "nudge": "scripted:base"})
    (engine,) = method.opened
    method.close()
    method.close()
    with pytest.raises(Exception, match="closed"):
        asked(open_method("base", {"base": engine}))


def test_as_many_answers_at_once_as_the_engines_can_hold() -> None:
    few = ScriptedEngine(small_model, concurrency=6)
    many = ScriptedEngine(small_model, concurrency=50)
    assert open_method("nudging", {"base": many, "nudge": few}).concurrency == 6
    assert open_method("nudging", {"base": few, "nudge": few}).concurrency == 3
    one = ScriptedEngine(small_model, concurrency=1)
    assert open_method("opening", {"base": one, "nudge": one}).concurrency == 1


def test_a_setting_holds_the_options_that_matter() -> None:
    options = {"gamma": 0.2, "temperature": 0.5, "stop_strings": ["\n"], "max_tokens": 9}
    options["base_sampling"] = {"top_k": 3}
    mine = {"temperature": 0.5, "stop_strings": "['\\n']", "max_tokens": 9}
    drawn = {**mine, "base_sampling.top_k": 3}
    expected: dict[str, dict[str, Any]] = {
        "base": drawn,
        "icl": drawn,
        "nudge": mine,
        "nudging": {"preset": "default", "gamma": 0.2, **drawn},
        "opening": {"window": WINDOW, "bound": BOUND, **drawn},
    }
    for name, setting in expected.items():
        assert open_method(name, dict(PAIR), options).setting == setting, name
    paper = open_method("nudging", dict(PAIR), {"preset": "paper"})
    assert paper.setting == {"preset": "paper", "gamma": 0.4}


# --- one model alone, and nudging -----------------------------------------------------------


def test_the_base_model_reads_what_it_reads_where_it_is_nudged() -> None:
    alone, nudged = Seen(), Seen()
    asked(open_method("base", {"base": alone}), "Why?", system="Be brief.", prefix="Question: ")
    asked(
        open_method("nudging", {"base": nudged, "nudge": ScriptedEngine(_two)}),
        "Why?",
        system="Be brief.",
        prefix="Question: ",
    )
    assert alone.prompts[0] == nudged.prompts[0] == "Be brief.\nQuestion: Why?\n"


def _two(prompt: str, text: bytes) -> Distribution:
    return [Candidate(b"" if len(text) > 8 else b" so", 1.0)]


def test_the_base_model_is_done_where_it_makes_up_a_question() -> None:
    engine = Seen("Because.\nQuestion: Who?")
    found = asked(open_method("base", {"base": engine}), prefix="Question: ")
    assert (found.text, found.stop_reason) == ("Because.", StopReason.BASE)


def test_aligned_models_read_their_template() -> None:
    for name in ("nudge", "aligned"):
        engine = Seen()
        found = asked(open_method(name, {"nudge": engine, "aligned": engine}), "Why?", system="Hm.")
        assert engine.prompts[0] == "<system>Hm.\n<user>Why?\n<assistant>"
        assert (spans(found), found.stop_reason) == ([("nudge", "Yes.")], StopReason.NUDGE)
        assert found.usage.nudge.emitted == 1


def test_nudging_is_what_the_model_gives() -> None:
    options: dict[str, Any] = {"gamma": 0.95, "preset": "paper", "temperature": 0.8, "seed": 4}
    models: dict[Role, str | Engine] = {"base": random_engine(1), "nudge": random_engine(2)}
    found = asked(open_method("nudging", models, options), "q", max_tokens=30)
    model = NudgedModel(models["base"], models["nudge"], **options)
    expected = model.answer("q", max_tokens=30)
    assert found.spans == expected.spans
    assert found.stop_reason == expected.stop_reason


def test_conversations_and_bad_questions() -> None:
    talk = [Message("user", "a?"), Message("assistant", "b."), Message("user", "c?")]
    for name in ("base", "icl", "nudge"):
        engine = Seen()
        asked(open_method(name, {"base": engine, "nudge": engine}), talk)
        assert all(part in engine.prompts[0] for part in ("a?", "b.", "c?"))
        with pytest.raises(InputError):
            asked(open_method(name, {"base": engine, "nudge": engine}), "  ")


# --- examples -------------------------------------------------------------------------------


def test_examples_go_before_the_question_and_their_heading_ends_the_answer() -> None:
    prompt = examples_prompt(conversation("Why?", "Think."))
    assert prompt.text.startswith("Think.\n\nBelow are questions")
    assert prompt.text.endswith("\n\n# Question\nWhy?\n\n# Answer\n")
    assert prompt.text.count("# Question\n") == len(EXAMPLES) + 1 == 4
    engine = Seen("As it is.\n\n# Question\nAnd you?")
    found = asked(open_method("icl", {"base": engine}), "Why?")
    assert (found.text, found.stop_reason) == ("As it is.", StopReason.BASE)


def test_what_the_user_writes_is_only_text() -> None:
    prompt = examples_prompt(conversation("<|im_end|>", "<s>"))
    controls = [part for part in prompt.parts if "<" in part.text]
    assert len(controls) == 2
    assert all(part.literal for part in controls)


# --- the opening only -----------------------------------------------------------------------

DRAFT = "One two three four five six seven eight nine ten."


def words(text: str) -> list[str]:
    first, *rest = text.split(" ")
    return [first, *(f" {word}" for word in rest)]


def small_model(prompt: str, written: bytes) -> Distribution:
    """Says the draft word by word, and ends."""
    rest = words(DRAFT)[len(written.split()) :]
    return [Candidate(rest[0].encode() if rest else b"", 0.9)]


def reader(
    doubts: Mapping[str, float] | None = None, own: Mapping[str, str] | None = None
) -> ScriptedEngine:
    """A base model that would write the draft too, but gives only so much to some of its words;
    after a text of `own` it goes on by itself."""

    def following(prompt: str, written: bytes) -> Distribution:
        text = written.decode()
        for after, token in (own or {}).items():
            if text.endswith(after):
                return [Candidate(token.encode(), 1.0)]
        rest = words(DRAFT)[len(written.split()) :]
        if not rest:
            return [Candidate(b"", 1.0)]
        prob = (doubts or {}).get(rest[0].strip(), 0.9)
        other = Candidate(b" um", 1 - prob)
        return [Candidate(rest[0].encode(), prob), other] if prob else [other]

    return ScriptedEngine(following)


def opened(base: ScriptedEngine, prefix: str = "", **options: Any) -> Answer:
    models: dict[Role, str | Engine] = {"base": base, "nudge": ScriptedEngine(small_model)}
    return asked(open_method("opening", models, options), "q", prefix=prefix)


def test_the_base_model_takes_over_after_a_window_of_words_that_it_believes() -> None:
    found = opened(reader())
    first, second = spans(found)
    # Six of its own tokens, which here are words.
    assert first == ("nudge", "One two three four five six")
    assert second == ("base", " seven eight nine ten.")
    assert found.stop_reason is StopReason.BASE
    assert [d.note for d in found.decisions if d.kind in ("keep", "takeover")] == [
        *["in doubt"] * 5,
        "confident",
    ]
    assert found.spans[0].handover is not None
    assert found.usage.rounds == 1


@pytest.mark.parametrize(
    ("prob", "until"),
    [
        (0.45, "six"),  # 0.9^5 * 0.45 is 0.266, above 0.8^6
        (0.44, "nine"),  # and this is below: it must leave the window first
    ],
)
def test_one_word_in_doubt_counts_by_the_geometric_mean(prob: float, until: str) -> None:
    found = opened(reader({"three": prob}))
    assert spans(found)[0][1].split()[-1] == until


def test_a_draft_that_is_never_believed_is_the_answer() -> None:
    found = opened(reader(dict.fromkeys(DRAFT.replace(".", "").split(), 0.5)))
    assert (spans(found), found.stop_reason) == ([("nudge", DRAFT)], StopReason.NUDGE)
    assert opened(reader(), max_tokens=3).text == "One two three"


def test_the_window_is_of_the_base_models_own_tokens() -> None:
    """Here they are letters: two words fill it, and the third is begun by the small model."""

    def following(prompt: str, written: bytes) -> Distribution:
        return [Candidate(DRAFT.encode()[len(written) :][:1], 0.95)]

    found = opened(ScriptedEngine(following))
    assert spans(found) == [("nudge", "One tw"), ("base", DRAFT[6:])]


def test_the_longest_candidate_of_whole_characters_is_the_base_models_token() -> None:
    known = [Candidate(text, 0.2) for text in (b" ", b" Par", " é".encode()[:2], b"")]
    step = Step(b" ", (*known, Candidate(b" Paris", 0.2)))
    assert own_token(step, " Paris is") == known[1]
    assert own_token(step, " é") == known[0]
    assert own_token(step, "x") is None
    assert 1 / (CANDIDATES + 1) < BOUND**WINDOW  # why the fifth need not be known


def test_a_word_that_the_base_model_would_not_begin_so_is_not_believed() -> None:
    found = opened(reader({"three": 0.0}))
    assert spans(found)[0][1].split()[-1] == "nine"
    places = [decision for decision in found.decisions if decision.kind in ("keep", "takeover")]
    assert len(places) == 9  # once a word: it reads on at the next


def test_the_base_model_ends_at_a_question_that_it_makes_up_and_at_stop_strings() -> None:
    own = {" seven": "\nInstruction:", "Instruction:": " x"}
    found = opened(reader(own=own), prefix="Instruction: ")
    assert found.text == "One two three four five six seven"
    assert found.stop_reason is StopReason.BASE
    for stop, text in {"three": "One two ", "eight": "One two three four five six seven "}.items():
        found = opened(reader(), stop_strings=[stop])
        assert (found.text, found.stop_reason) == (text, StopReason.STOP)


def test_a_made_up_question_takes_nothing_from_the_small_model() -> None:
    def small(prompt: str, written: bytes) -> Distribution:
        return [Candidate(b"Well.\nThat is all." if not written else b"", 1.0)]

    def letters(prompt: str, written: bytes) -> Distribution:
        return [Candidate(b"Well.\nInstruction: x"[len(written) :][:1], 0.95)]

    models: dict[Role, str | Engine] = {"base": ScriptedEngine(letters)}
    models["nudge"] = ScriptedEngine(small)
    found = asked(open_method("opening", models), "q", prefix="Instruction: ")
    assert (spans(found), found.stop_reason) == ([("nudge", "Well.\n")], StopReason.BASE)


@given(st.integers(0, 10**6), st.integers(1, 50), st.sampled_from([0.0, 1.0]), st.booleans())
@settings(max_examples=60)
def test_there_is_one_opening_and_at_most_one_rest(
    seed: int, most: int, temperature: float, same: bool
) -> None:
    """Any models: with the same one on both sides the base model soon believes."""
    small = looping_engine(seed) if same else random_engine(seed)
    models: dict[Role, str | Engine] = {"base": small if same else random_engine(seed + 1)}
    models["nudge"] = small
    options = {"max_tokens": most, "temperature": temperature}
    found = asked(open_method("opening", models, options), "q")
    assert [source for source, _ in spans(found)] in ([], ["nudge"], ["nudge", "base"])
    assert found.usage.tokens <= most
    assert found.usage.tokens == most or found.stop_reason is not StopReason.LENGTH
    again = asked(open_method("opening", models, options), "q")
    assert again.spans == found.spans


# --- trained models -------------------------------------------------------------------------

ROLES: Mapping[Role, str] = {
    "base": "a-large-base",
    "nudge": "a-small",
    "aligned": "a-large",
    "tuned": "a-small",
    "untuned": "a-small-base",
}
WRITERS = {
    "nudging": {"base", "nudge"},
    "opening": {"base", "nudge"},
    "nudge": {"nudge"},
    "aligned": {"nudge"},
}
RIGHT = {"nudging": 6, "aligned": 6, "ensemble": 5, "proxy-tuning": 5}
"""Methods that get at what the large model knows and answer in form, and how often at least."""


@pytest.fixture(scope="module")
def trained(lab: Lab) -> Iterator[dict[Role, str | Engine]]:
    if find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed")
    names = set(ROLES.values())
    engines = {name: open_engine(f"llama:{lab(f'{name}.gguf')}") for name in names}
    yield {role: engines[name] for role, name in ROLES.items()}
    for engine in engines.values():
        background_loop.call(engine.aclose())


@pytest.mark.parametrize("name", METHODS)
def test_methods_on_trained_models(trained: dict[Role, str | Engine], name: str) -> None:
    method = open_method(name, trained, {"max_tokens": 48, "speculate": "off"})
    right = 0
    for question, pet in PETS.items():
        found = asked(method, question, prefix="Question: ")
        assert found.text.strip()
        assert {span.source for span in found.spans} <= WRITERS.get(name, {"base"})
        right += f"keeps a {pet}." in found.text
    assert right >= RIGHT.get(name, 0)
    assert spans(asked(method, question, prefix="Question: ")) == spans(found)
