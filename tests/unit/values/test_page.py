"""The page of an answer: complete, and harmless whatever the texts in it hold."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from nudging.page import ENDED, answer_page, summary
from nudging.values.tokens import (
    Answer,
    Candidate,
    Handover,
    ModelUsage,
    Span,
    Step,
    StopReason,
    Token,
    Usage,
)

HOSTILE = [
    "<script>alert(1)</script>",
    "</style><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)" x=\'',
    "</title></div></mark>&lt;b&gt;<!-- ",
    "javascript:alert(1) \x00 \u202e",
]


class Page(HTMLParser):
    """What a browser would see: tags with attributes, and the text outside of them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def answer(text: str = "is") -> Answer:
    doubt = Step(text.encode(), (Candidate(text.encode(), 0.31), Candidate(b"", 0.2)), prob=0.31)
    return Answer(
        (
            Span("nudge", (Token(text.encode(), 0.9),), Handover("opening")),
            Span("base", (Token("€".encode()[:1], 0.8), Token("€".encode()[1:], 0.75))),
            Span("nudge", (Token(text.encode(), 0.6),), Handover("doubt", doubt)),
        ),
        StopReason.NUDGE,
        Usage(ModelUsage(2, 3, 1, 3, seconds=0.5), ModelUsage(2, 8, 2, 8, seconds=0.25), 2, 2.0),
    )


def test_the_page_tells_who_wrote_what_and_why() -> None:
    page = Page(answer_page(answer(), "Why?", {"gamma": "0.4"}))
    assert page.open == []
    for word in ("Why?", "gamma", "0.4", "€", "base was in doubt", "0.31", "(the end)"):
        assert word in page.text
    assert [tag for tag, _ in page.tags].count("mark") == 3  # two nudges and the legend
    tips = [attrs["data-tip"] for _, attrs in page.tags if "data-tip" in attrs]
    assert "base: its top-1 here was 0.75" in tips
    links = {attrs["href"] for tag, attrs in page.tags if tag == "a"}
    assert links == {f"#{attrs['id']}" for _, attrs in page.tags if "id" in attrs}


def two_words() -> Answer:
    doubt = Step(b" um", (Candidate(b" um", 0.31),), prob=0.31)
    tokens = (Token(b" Par", 0.6), Token(b"is", 0.7), Token(b" now", 0.5))
    return Answer((Span("nudge", tokens, Handover("doubt", doubt)),), StopReason.NUDGE)


def test_the_space_before_a_word_is_neither_marked_nor_underlined() -> None:
    html = answer_page(two_words(), "Why?", {})
    shown = html.split('<div class="answer said" dir="auto">')[1].split("</div>")[0]
    bare = re.sub(r"<(/?)(mark|span)[^>]*>", r"<\1\2>", shown)
    assert bare == " <mark><span>Par</span><span>is</span> <span>now</span></mark>"


def test_what_was_in_doubt_is_told_where_it_was() -> None:
    """At the first token of a nudge: it is what the base model would have written there."""
    tags = Page(answer_page(two_words(), "Why?", {})).tags
    tips = [attrs["data-tip"] for tag, attrs in tags if tag == "span" and "data-tip" in attrs]
    assert tips == [
        'nudge: its top-1 here was 0.60\nbase was in doubt: " um" 0.31',
        "nudge: its top-1 here was 0.70",
        "nudge: its top-1 here was 0.50",
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text: str) -> None:
    html = answer_page(answer(text), text, {text: text})
    page, plain = Page(html), Page(answer_page(answer(), "Why?", {"gamma": "0.4"}))
    assert page.open == []
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    assert [set(attrs) for _, attrs in page.tags] == [set(attrs) for _, attrs in plain.tags]
    assert page.text.count(text) >= 5


def test_nothing_is_loaded_or_run() -> None:
    html = answer_page(answer(), "Why?", {})
    assert "default-src 'none'; style-src 'unsafe-inline'" in html
    assert not re.search(r"<script|<link|<img|url\(|@import|https?://| on\w+=", html)


def test_a_conversation_is_shown_whole() -> None:
    turns = [
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "First."},
        {"role": "user", "content": "Two?"},
    ]
    page = Page(answer_page(answer(), turns, {}))
    for word in ("One?", "assistant", "First.", "Two?"):
        assert word in page.text


def test_an_answer_without_nudges() -> None:
    page = Page(answer_page(Answer((), StopReason.LENGTH), "Why?", {}))
    assert "the base model wrote all of it" in page.text


def test_the_summary_is_one_line() -> None:
    told = "4 tokens, 67% of the words nudged, 2.0 tokens/s, the nudging model ended it"
    assert summary(answer()) == told
    assert set(ENDED) == set(StopReason)
