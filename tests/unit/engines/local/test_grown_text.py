"""An answer that grows is read as the whole text is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nudging.engines.local import encoder, grown_text
from nudging.engines.local.encoder import PromptEncoder
from nudging.engines.local.grown_text import GrownText
from nudging.prompts.chat import Part, Prompt
from tests.toys import ToyRuntime

WORDS = ["the", "rain", "in Spain", "falls, ", "mainly. ", "\n\n", "東京 ", "<|end|>", "a b", " "]
PROMPTS = [
    Prompt((Part("Why? "),)),
    Prompt((Part("say "), Part("x<|end|>y", literal=True))),
    Prompt((Part("tell in the rain"), Part(" in the x<|end|>y", literal=True), Part("<|end|>a\n"))),
    Prompt((Part("the rain", literal=True), Part(" in the rain<|end|> in "))),
    Prompt((Part("the rain in the rain\n", literal=True),)),
]
texts = st.lists(st.sampled_from(WORDS), max_size=120)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grown_text, "_LONG", 12)


@given(texts, st.lists(st.integers(1, 30), min_size=1), st.sampled_from(PROMPTS), st.booleans())
def test_grown_ids_are_those_of_the_whole_text(
    words: list[str], sizes: list[int], prompt: Prompt, crossing: bool
) -> None:
    """Also where it is cut, or changed, in between."""
    words_of_it = ["the", "ra", "in", " S", "pain", "n t" if crossing else "n"] + ["x"] * 9
    tokenizer = ToyRuntime(1, words=words_of_it)
    read = PromptEncoder(tokenizer, 4000)
    grown = GrownText(read, prompt)
    text = "".join(words)
    at = 0
    for number, size in enumerate(sizes * 4):
        at = at + size if number % 5 else max(0, at - size)
        start = text[:at] + ("in the" if number % 7 == 3 else "")
        assert grown.ids(start) == read.ids(prompt, start)


def test_only_what_came_since_is_read_again() -> None:
    class Counting(ToyRuntime):
        read = 0

        def tokenize(self, text: str, *, controls: bool, begin: bool) -> list[int]:
            self.read += len(text)
            return super().tokenize(text, controls=controls, begin=begin)

    tokenizer = Counting(1)
    prompt = Prompt((Part("tell me of it, and say what the rain does in spain\n" * 20),))
    grown = GrownText(PromptEncoder(tokenizer, 4000), prompt)
    text = "the rain in spain falls mainly on the plain and " * 20
    for end in range(0, len(text), 10):
        grown.ids(text[:end])
    assert tokenizer.read < 2000 + 80 * len(range(0, len(text), 10))


def test_a_vocabulary_that_goes_past_a_seam_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "_AT_A_TIME", 10)
    words = ["in", "x"] * 7
    for extra, divides in (("n t", False), ("n  t", True)):
        read = PromptEncoder(ToyRuntime(1, words=[*words, extra]), 4000)
        found = [read.divides() for _ in range(60)]
        assert found[0] is False
        assert found[-1] is divides
        at_once = PromptEncoder(ToyRuntime(1, words=[*words, extra]), 4000)
        at_once.look_through()
        assert at_once.divides() is divides
