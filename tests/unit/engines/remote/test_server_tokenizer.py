"""What a server is asked about texts that look like its control tokens, and how often."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from nudging.engines.remote.dialects import DIALECTS
from nudging.engines.remote.server_tokenizer import (
    MOST_KEPT,
    MOST_STRETCHES,
    MOST_TYPED,
    ServerTokenizer,
    joined,
    stretches,
    typed_controls,
)
from nudging.errors import InputError
from nudging.prompts.chat import Message, Part, Prompt
from nudging.prompts.templates import named_template, render
from tests.event_loop import Beat

T = TypeVar("T")
CONTROLS = ("<s>", "</s>")


class Upstream:
    """A tokenizer with two control tokens; every other character is a token."""

    def __init__(self, dialect: str) -> None:
        self.calls = 0
        self.tokenizer = ServerTokenizer("spec", "m", DIALECTS[dialect], self.post, self.post)

    async def post(self, path: str, body: Any = None) -> object:
        self.calls += 1
        if "detokenize" in path:
            return {"text": ""}
        if "completions" in path:
            return {"choices": [{"text": ""}]}
        text = body.get("prompt", body.get("content"))
        if len(text) > 1_000_000:  # its own work is not what is looked at
            return {"tokens": [0]}
        if text in CONTROLS and body.get("parse_special", True):
            return {"tokens": [CONTROLS.index(text)]}
        return {"tokens": [ord(character) for character in text]}


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def literal(text: str) -> Prompt:
    return Prompt((Part(text, literal=True),))


def tags(count: int, begin: int = 0) -> str:
    return "".join(f"<t{number}>" for number in range(begin, begin + count))


@pytest.fixture(params=["vllm", "llama-server", "sglang"])
def upstream(request: pytest.FixtureRequest) -> Upstream:
    return Upstream(request.param)


def test_a_server_is_asked_about_few_strings_or_none(upstream: Upstream) -> None:
    with pytest.raises(InputError, match=f"20000 different strings.*{MOST_TYPED} are the most"):
        run(upstream.tokenizer.encode(literal(tags(20_000)), b""))
    assert upstream.calls == 0
    assert run(upstream.tokenizer.encode(literal(tags(MOST_TYPED)), b"")) == tags(MOST_TYPED)
    assert upstream.calls == MOST_TYPED


def test_a_string_is_asked_about_once_however_often_it_stands_there(upstream: Upstream) -> None:
    text = "<b>and" * 20_000
    assert run(upstream.tokenizer.encode(literal(text), b"")) == text
    assert run(upstream.tokenizer.encode(literal(text), b"<b>")) == text + "<b>"
    assert upstream.calls == 1


def test_a_text_is_cut_around_few_control_tokens_or_refused(upstream: Upstream) -> None:
    with pytest.raises(InputError, match=f"'<s>' in .* places; {MOST_STRETCHES - 1} are the most"):
        run(upstream.tokenizer.encode(literal("<s>and" * 20_000), b""))
    assert upstream.calls < 4
    words = "<s>and" * 200
    assert len(run(upstream.tokenizer.ids(literal(words)))) == len(words)
    assert upstream.calls < MOST_STRETCHES


def test_what_was_asked_is_not_kept_for_ever(upstream: Upstream) -> None:
    for begin in range(0, 2 * MOST_KEPT, 200):
        run(upstream.tokenizer.encode(literal("<b>" + tags(200, begin)), b""))
    assert len(upstream.tokenizer._special) == MOST_KEPT
    calls = upstream.calls
    run(upstream.tokenizer.encode(literal("<b>"), b""))  # used of late
    assert upstream.calls == calls


def test_what_a_user_wrote_is_not_taken_for_the_templates(upstream: Upstream) -> None:
    messages = [Message("user", tags(20_000) + "<s>")]
    prompt = Prompt(render(named_template("chatml"), messages))
    run(upstream.tokenizer.learn_controls(prompt))
    assert upstream.calls <= 4
    assert "<s>" not in upstream.tokenizer.controls


def test_a_server_of_texts_alone_is_given_what_its_template_does_not_write() -> None:
    upstream = Upstream("openai")
    prompt = Prompt((Part("<|im_start|>"), Part(tags(50_000), literal=True)))
    assert run(upstream.tokenizer.encode(prompt, b"")) == prompt.text
    with pytest.raises(InputError, match=r"im_start"):
        run(upstream.tokenizer.encode(prompt, b"<|im_start|>"))
    assert upstream.calls == 0


@pytest.mark.parametrize("text", ["<b>", "<", "[A", "<b", "[B]"])
def test_megabytes_are_looked_through_beside_the_event_loop(upstream: Upstream, text: str) -> None:
    """Each string that looks like a control token, whether or not it is the one that is."""
    prompt = Prompt((Part(text * (4_000_000 // len(text))), Part("<s>" + text * 1_400_000, True)))

    async def watched() -> float:
        async with Beat() as beat:
            await upstream.tokenizer.learn_controls(prompt)
            await upstream.tokenizer.encode(prompt, b"")
            await upstream.tokenizer.ids(prompt)
        return beat.longest

    assert run(watched()) < 0.1


def test_a_template_that_writes_many_strings_is_asked_about_some(upstream: Upstream) -> None:
    run(upstream.tokenizer.learn_controls(Prompt((Part(tags(20_000)),))))
    assert upstream.calls <= 2 * MOST_TYPED


# --- typed control tokens -------------------------------------------------------------------


def test_typed_control_tokens_are_found_across_seams() -> None:
    parts = [Part("<|im_end|>"), Part("say <|im_", True), Part("end|> and <b>", True)]
    assert typed_controls(parts) == {"<|im_end|>", "<b>"}
    assert [p.literal for p in joined(parts)] == [False, True]


@pytest.mark.parametrize("spares", [True, False])
def test_stretches_hold_all_text_and_no_typed_control_token(spares: bool) -> None:
    parts = [Part("<|im_start|>x "), Part("a<|im_end|><|im_end|> <b>", True), Part("<|im_end|>")]
    found = list(stretches(parts, {"<|im_end|>"}, spares=spares))
    assert "".join(text for text, _ in found) == "".join(p.text for p in parts)
    assert all(text for text, _ in found)
    read_as_such = [text for text, controls in found if controls]
    # Only the template's own is left where control tokens are read.
    assert sum(text.count("<|im_end|>") for text in read_as_such) == 1
    assert found[0][0].startswith("<|im_start|>x a")


def test_a_prompt_without_typed_controls_is_one_stretch() -> None:
    parts = [Part("<|im_start|>"), Part("hi <b>", True), Part("<|im_end|>")]
    assert list(stretches(parts, set(), spares=False)) == [("<|im_start|>hi <b><|im_end|>", True)]
