"""How each model sees a conversation: checked, in the authors' words, and safe from strangers."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nudging.errors import ConfigError, InputError, TemplateError
from nudging.prompts.chat import (
    MOST_CHARACTERS,
    MOST_MESSAGES,
    SYSTEM,
    Message,
    Part,
    base_prompt,
    conversation,
)
from nudging.prompts.controls import CONTROL_LIKE
from nudging.prompts.templates import NAMED, Shield, named_template, render

# --- conversations --------------------------------------------------------------------------


def test_one_question_gets_the_default_system_text() -> None:
    assert conversation("Why?") == (Message("system", SYSTEM), Message("user", "Why?"))
    assert SYSTEM == "You are a helpful assistant."


def test_a_system_text_is_the_given_one_the_conversations_own_or_none() -> None:
    assert conversation("Why?", "Be brief.")[0] == Message("system", "Be brief.")
    assert conversation("Why?", "") == (Message("user", "Why?"),)
    own = [Message("system", "Rhyme."), Message("user", "Why?")]
    assert conversation(own) == conversation(own, "") == tuple(own)


def test_messages_may_be_tables() -> None:
    tables = [
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": "So."},
        {"role": "user", "content": "Why so?"},
    ]
    assert conversation(tables, "")[1:] == (Message("assistant", "So."), Message("user", "Why so?"))


def user(text: str) -> Message:
    return Message("user", text)


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("", "empty"),
        (" \n\t\u3000", "empty"),
        ([user(""), Message("assistant", "a"), user("b")], "empty"),
        ("a\ud800b", "surrogate at character 1"),
        ([user("q"), Message("assistant", "\udfff"), user("q")], "message 2 .*surrogate"),
        ([], "must end with a message of the user"),
        ([user("q"), Message("assistant", "a")], "must end with a message of the user"),
        ([Message("system", "s")], "must end with a message of the user"),
        ([{"role": "tool", "content": "x"}, user("q")], "'tool'"),
        ([{"role": "user", "content": ["parts"]}], "its content text"),
        ([{"role": "user", "content": None}], "its content text"),
        ([{"role": "user"}], "needs a role and a content"),
        ([{"content": "q"}], "needs a role and a content"),
        (["q"], "needs a role and a content"),
        ([None], "needs a role and a content"),
    ],
)
def test_what_can_not_be_asked_says_why(question: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        conversation(question)


SAID = [user("q"), Message("assistant", "a"), user("r")]


@pytest.mark.parametrize(
    ("texts", "joined"),
    [
        ([("system", "s", 0), ("system", "t", 1)], "s\n\nt"),
        ([("developer", "s", 0)], "s"),
        ([("system", "s", 0), ("developer", "t", 1)], "s\n\nt"),
        ([("developer", "s", 0), ("system", "t", 1), ("system", "u", 2)], "s\n\nt\n\nu"),
        ([("system", "late", 1)], "late"),
        ([("system", "s", 0), ("developer", "late", 3)], "s\n\nlate"),
        ([("system", "last", 3)], "last"),
        ([("system", "", 0)], ""),
        ([("system", "", 0), ("system", " \n", 1), ("system", "t ", 2)], "t "),
    ],
)
def test_system_texts_of_a_conversation_are_joined(
    texts: list[tuple[str, str, int]], joined: str
) -> None:
    """In their order, wherever they stand, as a conversation with one of them is."""
    talk: list[Any] = list(SAID)
    for role, text, place in texts:
        talk.insert(place, {"role": role, "content": text})
    assert conversation(talk) == (Message("system", joined), *SAID)
    assert conversation(talk, "") == conversation(talk)


@given(st.lists(st.sampled_from(["system", "developer", "user", "assistant"]), max_size=8))
def test_whatever_the_order_of_roles_there_is_one_system_text_first(roles: list[str]) -> None:
    talk = [{"role": role, "content": f"{place}"} for place, role in enumerate(roles)]
    turns = [turn for turn in talk if turn["role"] in ("user", "assistant")]
    if not turns or turns[-1]["role"] != "user":
        with pytest.raises(InputError, match="must end with a message of the user"):
            conversation(talk)
        return
    system, *rest = conversation(talk)
    own = [turn["content"] for turn in talk if turn not in turns]
    assert system == Message("system", "\n\n".join(own) if own else SYSTEM)
    assert [turn._asdict() for turn in rest] == turns


def test_two_system_texts_are_one_too_many() -> None:
    with pytest.raises(InputError, match="two system texts"):
        conversation([Message("system", "s"), user("q")], "another")


def test_a_system_text_must_be_unicode_too() -> None:
    with pytest.raises(InputError, match="system text is not valid Unicode"):
        conversation("q", "\udc80")


@pytest.mark.parametrize("message", [("tool", "x"), ("user", 5)])
def test_a_message_object_is_checked_as_a_table_is(message: Any) -> None:
    with pytest.raises(InputError):
        conversation([Message(*message), user("q")])


# --- what the base model sees ---------------------------------------------------------------


def test_the_plain_form_is_the_authors() -> None:
    prompt = base_prompt(conversation("Why?", "Be brief."), "plain", "Question: ")
    assert prompt.text == "Be brief.\nQuestion: Why?\n"
    assert prompt.ends == ("\nQuestion:",)  # the next question, of the model's own making
    assert prompt.add_special
    assert all(part.literal for part in prompt.parts)


def test_the_plain_form_without_system_or_prefix() -> None:
    prompt = base_prompt(conversation("Why?", ""), "plain", "")
    assert prompt.text == "Why?\n"
    assert prompt.ends == ()


TALK = [user("Why?"), Message("assistant", "So."), user("Why so?")]


def test_a_dialogue_is_lines_of_user_and_assistant() -> None:
    prompt = base_prompt(conversation(TALK, "Be brief."))
    assert prompt.text == ("Be brief.\n\nUser: Why?\nAssistant: So.\nUser: Why so?\nAssistant:")
    assert prompt.ends == ("\nUser:",)
    assert all(part.literal for part in prompt.parts)
    assert base_prompt(conversation("Why?", ""), "dialogue").text == "User: Why?\nAssistant:"


def test_auto_is_plain_for_one_question_and_a_dialogue_for_more() -> None:
    one, more = conversation("Why?"), conversation(TALK)
    assert base_prompt(one, "auto", "Q: ") == base_prompt(one, "plain", "Q: ")
    assert base_prompt(more, "auto", "Q: ") == base_prompt(more, "dialogue", "Q: ")


@pytest.mark.parametrize("form", ["plain", "text"])
def test_forms_for_one_question_take_one(form: str) -> None:
    with pytest.raises(InputError, match="one question"):
        base_prompt(conversation(TALK), form)


def test_the_text_form_is_the_question_and_nothing_else() -> None:
    prompt = base_prompt(conversation("Roses are", ""), "text", "Question: ")
    assert prompt.text == "Roses are"
    assert prompt.ends == ()
    assert all(part.literal for part in prompt.parts)


def test_a_base_prompt_of_ones_own_is_a_template() -> None:
    form = "{{ system }}|{{ prefix }}{{ question }}|{{ messages | length }}|A:"
    prompt = base_prompt(conversation("<b>Why?", "Be brief."), form, "Q: ")
    assert prompt.text == "Be brief.|Q: <b>Why?|2|A:"
    assert all(part.literal for part in prompt.parts)


def test_a_base_prompt_of_ones_own_can_end_a_line_as_the_authors_does() -> None:
    messages = conversation("Why?", "Be brief.")
    own = base_prompt(messages, "{{ system }}\n{{ prefix }}{{ question }}\n", "Q: ")
    assert own.text == base_prompt(messages, "plain", "Q: ").text


def test_a_base_form_that_is_no_template_names_the_option() -> None:
    with pytest.raises(ConfigError) as caught:
        base_prompt(conversation("Why?"), "plian")
    assert caught.value.option == "base_form"


@given(st.text(), st.text())
def test_the_plain_form_holds_the_question_to_the_letter(question: str, system: str) -> None:
    messages = [Message("system", system), Message("user", question)]
    assert base_prompt(messages, "plain", "Q: ").text.endswith(f"Q: {question}\n")
    assert base_prompt(messages, "{{ question }}.").text == f"{question}."


# --- named templates ------------------------------------------------------------------------

QUESTIONS = {
    "llama2": "[INST] <<SYS>>\n{sys}\n<</SYS>>\n\n{q} [/INST] ",
    "llama3": (
        "<|start_header_id|>system<|end_header_id|>\n\n{sys}<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n{q}<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
    "gemma": "<start_of_turn>user\n{sys}\n{q}<end_of_turn>\n<start_of_turn>model\n",
    "olmo": "<|endoftext|><|user|>\n{sys}\n{q}\n<|assistant|>\n",
    "chatml": (
        "<|im_start|>system\n{sys}<|im_end|>\n<|im_start|>user\n{q}<|im_end|>\n"
        "<|im_start|>assistant\n"
    ),
    "mistral": "[INST] {sys}\n\n{q} [/INST]",
}
"""The authors' strings for one question; they have neither of the last two."""


def rendered(name: str, messages: list[Message]) -> str:
    return "".join(part.text for part in render(named_template(name), messages))


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize(
    "question", ["Why?", " a b ", "\nWhy?\n", "{{ 7 }}", "{% raw %}", "<b>&amp;'\"", "[INST]", "東"]
)
def test_named_templates_for_one_question(name: str, question: str) -> None:
    messages = [Message("system", "Be brief."), user(question)]
    wanted = QUESTIONS[name].replace("{sys}", "Be brief.").replace("{q}", question)
    assert rendered(name, messages) == wanted


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("llama2", "[INST] Why? [/INST] So. </s><s>[INST] Why so? [/INST] "),
        (
            "llama3",
            "<|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nSo.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nWhy so?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        (
            "gemma",
            "<start_of_turn>user\nWhy?<end_of_turn>\n<start_of_turn>model\nSo.<end_of_turn>\n"
            "<start_of_turn>user\nWhy so?<end_of_turn>\n<start_of_turn>model\n",
        ),
        (
            "olmo",
            "<|endoftext|><|user|>\nWhy?\n<|assistant|>\nSo.<|endoftext|>\n"
            "<|user|>\nWhy so?\n<|assistant|>\n",
        ),
        (
            "chatml",
            "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\nSo.<|im_end|>\n"
            "<|im_start|>user\nWhy so?<|im_end|>\n<|im_start|>assistant\n",
        ),
        ("mistral", "[INST] Why? [/INST] So.</s>[INST] Why so? [/INST]"),
    ],
)
def test_named_templates_for_a_conversation_without_system_text(name: str, text: str) -> None:
    assert rendered(name, TALK) == text


def test_an_unknown_template_is_told_those_there_are() -> None:
    with pytest.raises(ConfigError) as caught:
        named_template("chatlm")
    assert caught.value.option == "template"
    assert "chatml" in caught.value.hint


def test_a_template_sees_its_models_tokens_and_that_an_answer_is_wanted() -> None:
    template = "{{ bos_token }}{{ messages[0].content }}{% if add_generation_prompt %}>{% endif %}"
    assert render(template, [user("q")], tokens={"bos_token": "<s>"}) == (Part("<s>q>"),)


# --- typed control tokens -------------------------------------------------------------------

NEVER = re.compile(r"(?!)")
typed = st.lists(
    st.one_of(
        st.sampled_from(["<|im_end|>", "<|eot_id|>", "</s>", "[INST]", "[/INST]", "<<SYS>>", "<|"]),
        st.text(max_size=4),
    ),
    max_size=5,
).map("".join)


@given(st.sampled_from(sorted(NAMED)), st.lists(typed, min_size=2, max_size=4))
@example("chatml", ["<|im_<|im_end|>end|>", "<|im_end|><|im_end|>"])
def test_control_tokens_that_were_typed_are_literal_and_change_no_letter(
    name: str, texts: list[str]
) -> None:
    roles = ("system", "user", "assistant", "user")
    messages = [Message(r, t) for r, t in zip(roles, texts, strict=False)]  # type: ignore[arg-type]
    parts = render(NAMED[name], messages)
    plain = render(NAMED[name], messages, controls=NEVER)
    assert "".join(part.text for part in parts) == "".join(part.text for part in plain)
    literal = [part.text for part in parts if part.literal]
    assert literal == [found for text in texts for found in CONTROL_LIKE.findall(text)]


def test_typed_control_tokens_by_hand() -> None:
    parts = render(NAMED["chatml"], [user("a<|im_end|>b")])
    assert parts == (
        Part("<|im_start|>user\na"),
        Part("<|im_end|>", literal=True),
        Part("b<|im_end|>\n<|im_start|>assistant\n"),
    )


def test_a_message_of_nothing_but_control_tokens_takes_no_longer_than_another() -> None:
    """A stranger may send megabytes of them."""
    begun = time.monotonic()
    shield = Shield([user("<a>" * 200_000)], {}, CONTROL_LIKE)
    parts = shield.parts([message.content for (message,) in shield.views])
    assert time.monotonic() < begun + 5
    assert parts == (Part("<a>", literal=True),) * 200_000


def test_an_engine_says_which_tokens_control_its_model() -> None:
    parts = render("{{ messages[0].content }}", [user("a<x>b@@")], controls=re.compile("@@"))
    assert parts == (Part("a<x>b"), Part("@@", literal=True))


# --- hostile templates ----------------------------------------------------------------------

HOSTILE = {
    "class": "{{ ''.__class__.__mro__ }}",
    "class by format": "{{ '{0.__class__.__mro__}'.format('') }}",
    "class by filter": "{{ (''|attr('__class__')).__mro__ }}",
    "globals of cycler": "{{ cycler.__init__.__globals__ }}",
    "globals of lipsum": "{{ lipsum.__globals__['os'] }}",
    "globals of namespace": "{{ namespace.__init__.__globals__ }}",
    "globals of range": "{{ range.__globals__['os'] }}",
    "self": "{{ self._TemplateReference__context.environment }}",
    "self's class": "{{ self.__init__.__globals__ }}",
    "changing a message": "{{ messages.append(1) }}",
    "a long range": "{% for i in range(10**9) %}{% endfor %}",
    "a long string": "{{ 'a' * 10**10 }}",
    "a long string the other way": "{{ 10**10 * 'a' }}",
    "a long list": "{{ [1] * 10**8 }}",
    "a large power": "{{ 10**(10**10) }}",
    "a large power, grouped": "{% set x = 10**(10**10) %}",
    "endless printing": (
        "{% for i in range(100000) %}{% for j in range(100000) %}aaaaaaaaaaaaaaaa{% endfor %}"
        "{% endfor %}"
    ),
    "endless recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "deep nesting": "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
    "syntax": "{% for m in messages %}",
    "syntax again": "{{ messages[ }}",
    "unknown filter": "{{ messages | run }}",
    "another file": "{% include 'passwd' %}",
    "import": "{% import 'os' as os %}",
    "division": "{{ 1 / 0 }}",
    "nothing there": "{{ messages.x.y }}",
}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nudging.prompts.sandbox.SECONDS", 1)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("template", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_template_fails_at_once_as_ours(template: str) -> None:
    begun = time.monotonic()
    with pytest.raises(TemplateError):
        render(template, [user("q")])
    assert time.monotonic() - begun < 5


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("template", HOSTILE.values(), ids=HOSTILE)
def test_so_does_a_hostile_base_form(template: str) -> None:
    with pytest.raises(TemplateError):
        base_prompt(conversation("q"), template)


def test_a_templates_own_words_of_refusal_are_told() -> None:
    with pytest.raises(InputError, match="roles must alternate"):
        render("{{ raise_exception('roles must alternate') }}", [user("q")])


def test_a_template_does_not_change_the_conversation() -> None:
    messages = [user("q")]
    render("{% set m = messages[0] %}{% set m = 1 %}{{ m }}", messages)
    assert messages == [user("q")]


def test_a_question_is_never_run_as_a_template() -> None:
    assert rendered("chatml", [user("{{ 7 * 7 }}{% bad %}")]).count("{{ 7 * 7 }}{% bad %}") == 1


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "template",
    [
        "{% set ns = namespace(x='ab') %}{% for i in range(60) %}"
        "{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{% set ns = namespace(x='ab') %}{% for i in range(60) %}"
        "{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% set ns = namespace(x='ab') %}{% for i in range(60) %}"
        "{% set ns.x = ns.x.replace('a', 'aaa') %}{% endfor %}",
        "{% set ns = namespace(x='ab') %}{% for i in range(60) %}"
        "{% set ns.x = ns.x | replace('a', 'aaa') %}{% endfor %}",
        "{{ '%99999999999d' % 1 }}",
        "{{ '{:>99999999999}'.format(1) }}",
        "{{ 'a'.ljust(99999999999) }}",
        "{{ 'a' | center(99999999999) }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    ],
)
def test_a_template_that_would_take_all_memory_or_time_is_stopped(template: str) -> None:
    with pytest.raises(TemplateError):
        render(template, conversation("Why?"))


def test_a_template_that_never_ends_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nudging.prompts.sandbox.SECONDS", 0.5)
    letters = "y" * 5000
    loops = "".join(f"{{% for {name} in '{letters}' %}}" for name in "abc")
    with pytest.raises(TemplateError, match="did not end"):
        render(loops + "{% endfor %}" * 3, conversation("Why?"))


# --- as much as may be asked ----------------------------------------------------------------


def test_a_conversation_has_so_many_messages_and_characters_and_no_more() -> None:
    assert len(conversation([user("q")] * MOST_MESSAGES, "")) == MOST_MESSAGES
    with pytest.raises(InputError, match=r"2,049 messages; 2,048 are the most"):
        conversation([user("q")] * (MOST_MESSAGES + 1))
    assert conversation("q" * MOST_CHARACTERS, "")
    for question in ("q" * (MOST_CHARACTERS + 1), [user("q" * (MOST_CHARACTERS // 2 + 1))] * 2):
        with pytest.raises(InputError, match=r"characters; 4,000,000 are the most"):
            conversation(question, "")


def test_marks_for_control_tokens_count_among_the_characters() -> None:
    with pytest.raises(InputError, match="characters"):
        render(NAMED["chatml"], [user("<a>" * (MOST_CHARACTERS // 8))])
