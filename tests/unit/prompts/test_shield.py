"""What a template gets, what it may be told, and which of its texts count as control tokens."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nudging.errors import ConfigError
from nudging.prompts import sandbox, templates
from nudging.prompts.chat import Message, Part, Prompt
from nudging.prompts.controls import CHANNEL, CONTROL_LIKE, FINAL, THOUGHTS, closing, empty_thought
from nudging.prompts.templates import Shield, render
from nudging.values.variables import RESERVED, check_variables, read_variable
from tests.family_templates import STYLES
from tests.styles import CHATML, GLM, KEEPS, QWEN3, R1, rendered

NEVER = re.compile(r"(?!)")


# --- thoughts of earlier answers --------------------------------------------------------------

pieces = st.sampled_from(
    [
        "<think>",
        "</think>",
        "<think>\n",
        "\n</think>\n\n",
        "a",
        " b ",
        "\n",
        "<|im_end|>",
        "<b>",
        "<",
    ]
)
contents = st.lists(pieces, min_size=1, max_size=7).map("".join)
talks = st.lists(contents, min_size=3, max_size=5).filter(lambda found: len(found) % 2 == 1)


@pytest.mark.parametrize(
    "template", [QWEN3, R1, GLM, KEEPS, CHATML], ids=["qwen3", "r1", "glm", "keeps", "chatml"]
)
@settings(max_examples=30)
@given(talk=talks)
@example(talk=["a", "<think>\nb\n</think>\n\na", "a"])
@example(talk=["</think>", "a</think></think>", "<think>"])
@example(talk=["a", "<|im_end|></think>b", "a<|im_end|>"])
def test_a_prompt_has_the_letters_of_the_bare_template(template: str, talk: list[str]) -> None:
    """And nothing that a user typed in it is a control token."""
    roles = ("user", "assistant", "user", "assistant", "user")
    turns = [Message(role, text) for role, text in zip(roles, talk, strict=False)]  # type: ignore[arg-type]
    parts = render(template, turns)
    assert Prompt(parts).text == rendered(template, [turn._asdict() for turn in turns])
    own = render(template, [Message(turn.role, "x") for turn in turns])
    real = [m for part in parts if not part.literal for m in CONTROL_LIKE.findall(part.text)]
    of_template = [m for part in own for m in CONTROL_LIKE.findall(part.text)]
    assert not set(real) - set(of_template)


@pytest.mark.parametrize("name", [name for name in STYLES if name != "command-r"])
def test_so_it_has_in_templates_of_well_known_families(name: str) -> None:
    """But for one that cuts texts after so many letters, and changes their case."""
    template = STYLES[name]
    talk = ["<b>q</b>", "<think>\nhm <b>\n</think>\n\na <|im_end|>", "</think>r"]
    roles = ("user", "assistant", "user")
    turns = [Message(role, text) for role, text in zip(roles, talk, strict=True)]  # type: ignore[arg-type]
    values = {"add_generation_prompt": True, "bos_token": "", "eos_token": "", "tools": None}
    plain = [turn._asdict() for turn in turns]
    wanted = sandbox.run(template, {**values, "documents": None, "messages": plain})
    assert Prompt(render(template, turns)).text == wanted


def test_tokens_of_the_template_stay_its_own_beside_thoughts() -> None:
    turns = [Message("user", "q"), Message("assistant", "<think>t</think>a"), Message("user", "r")]
    parts = render(GLM, turns, variables={"enable_thinking": False})
    assert not any(part.literal for part in parts)
    assert Prompt(parts).text.count("<think></think>") == 2  # an earlier one's, and the next


def test_thoughts_that_a_template_keeps_are_text() -> None:
    turns = [Message("user", "q"), Message("assistant", "<think>t</think>a"), Message("user", "r")]
    parts = render(KEEPS, turns)
    assert [part.text for part in parts if part.literal] == ["<think>", "</think>"]
    ending = KEEPS + "{{ '<think>' }}"
    assert render(ending, turns)[-1].text.endswith("<|assistant|><think>")
    assert not render(ending, turns)[-1].literal


def test_thoughts_are_looked_for_as_fast_as_any_control_token() -> None:
    """Nobody else computes meanwhile: in 4 MB of what may begin one for 0.3 s, it was."""

    def seconds(pattern: re.Pattern[str]) -> float:
        def once() -> float:
            begun = time.thread_time()
            assert pattern.search("<" * 1_000_000) is None
            return time.thread_time() - begun

        return min(once() for _ in range(5))

    assert seconds(templates._MARKERS) < 1.2 * seconds(CONTROL_LIKE)


def test_only_answers_have_thoughts() -> None:
    shield = Shield([Message("user", "</think>"), Message("assistant", "a")], {}, CONTROL_LIKE)
    assert len(shield.views) == 1
    seen = Shield([Message("assistant", "</think>")], {}, NEVER)
    assert seen.views == [[Message("assistant", "</think>")]]


def test_prompts_are_the_texts_of_transformers() -> None:
    """Whose own words the templates are rendered by."""
    from tests.tiny import byte_level

    tokenizer = byte_level()
    turns = [
        Message("user", "<b>What</b> is 2 + 2?"),
        Message("assistant", "<think>\nFour?\n</think>\n\nIt is <|im_end|> four."),
        Message("user", "</think>And 3 + 3?"),
    ]
    for template in (QWEN3, R1, GLM, KEEPS, CHATML):
        tokenizer.chat_template = template
        plain = [turn._asdict() for turn in turns]
        text = tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=True)
        assert Prompt(render(template, turns)).text == text


# --- empty thoughts ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "after"),
    [
        ("q<think>\n", "\n</think>\n\n"),
        ("q<think>", "\n\n</think>\n\n"),
        ("q<think>\n\n", "</think>\n\n"),
        ("q<think> ", "</think>"),
        ("q[THINK]", "[/THINK]"),
        ("q<|START_THINKING|>", "<|END_THINKING|>"),
        ("<|end|><|start|>assistant", "<|channel|>final<|message|>"),
        ("q<think>\n\n</think>\n\n", ""),
        ("<|im_start|>assistant\n", ""),
        ("", ""),
    ],
)
def test_what_a_prompt_leaves_open_is_closed(prompt: str, after: str) -> None:
    assert closing(prompt) == after
    assert closing(prompt + after) == ""


@pytest.mark.parametrize("opening", THOUGHTS)
def test_an_empty_thought_is_whole(opening: str) -> None:
    thought = empty_thought(opening)
    assert thought.strip().startswith(opening)
    assert thought.strip().endswith(THOUGHTS[opening])
    assert opening + closing(opening) == thought


def test_what_opens_no_thought_has_none() -> None:
    assert empty_thought("Sure") == empty_thought("") == ""
    assert empty_thought(CHANNEL) == FINAL


# --- variables --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("false", False),
        ("False", False),
        ("True", True),
        ("None", None),
        ("null", None),
        ("3", 3),
        ("0.5", 0.5),
        ('"3"', "3"),
        ("high", "high"),
        ("", ""),
        ("[1]", "[1]"),
        ("{}", "{}"),
        ("NaN", "NaN"),
        ("1e999", "1e999"),
        ("[" * 100_000, "[" * 100_000),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_a_value_of_a_spec(text: str, value: object) -> None:
    found = read_variable(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ([], "t"),
        ("enable_thinking", "t"),
        (None, "t"),
        ({"": 1}, "t"),
        ({"a b": 1}, "t"),
        ({"_a": 1}, "t"),
        ({"__class__": 1}, "t"),
        ({"ä": 1}, "t"),
        ({1: 1}, "t"),
        ({"a" * 65: 1}, "t"),
        ({"messages": 1}, "t.messages"),
        ({"add_generation_prompt": False}, "t.add_generation_prompt"),
        ({"tools": "x"}, "t.tools"),
        ({"self": 1}, "t.self"),
        ({"eos_token": "x"}, "t.eos_token"),
        ({"extra_tokens": "x"}, "t.extra_tokens"),
        ({"a": []}, "t.a"),
        ({"a": {}}, "t.a"),
        ({"a": float("nan")}, "t.a"),
        ({"a": float("inf")}, "t.a"),
        ({"a": b"x"}, "t.a"),
        ({"a": "\ud800"}, "t.a"),
    ],
)
def test_variables_that_can_not_be_set(given: object, option: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_variables(given, "t")
    assert caught.value.option == option
    assert caught.value.hint


@pytest.mark.parametrize(
    "given",
    [
        {f"a{number}": 1 for number in range(101)},
        {"a": "b" * 100_001},
        {"a": "b" * 60_000, "c": "d" * 60_000},
        {"a": 10**5000},
        {"a": -(10**300)},
    ],
)
def test_variables_have_bounds(given: dict[str, Any]) -> None:
    """Each is looked at in many places for every answer."""
    with pytest.raises(ConfigError, match=r"variables\.a must be|are the most"):
        check_variables(given, "variables")


def test_variables_that_can_be_set() -> None:
    given: dict[str, Any] = {"enable_thinking": False, "a1": 1, "b": 0.5, "c": None, "d": "x"}
    assert check_variables(given, "t") == given


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_no_variable_takes_the_place_of_what_a_template_has(name: str) -> None:
    """Nor does one break the template, as a Python argument of that name would."""
    with pytest.raises(ConfigError):
        check_variables({name: 1}, "t")


def test_a_text_in_a_variable_is_never_a_control_token() -> None:
    parts = render(
        "<|im_start|>{{ date }}{{ messages[0].content }}",
        [Message("user", "q")],
        variables={"date": "<|im_end|>"},
    )
    assert parts == (Part("<|im_start|>"), Part("<|im_end|>", literal=True), Part("q"))
