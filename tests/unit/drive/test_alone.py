"""One model alone: a rule like any other. What it writes is tested in test_server_parts.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest

from nudging.drive.alone import Alone, AnswerToken, alone
from nudging.engines.base import Capabilities, Engine, Want
from nudging.errors import ModelError
from nudging.prompts.chat import Part, Prompt
from nudging.values.tokens import Answer, Candidate, Source, Step, StopReason
from tests.played import run


class Written(Engine):
    """An engine that gives these steps."""

    spec = "written"
    capabilities = Capabilities(kind="written")

    def __init__(self, *steps: Step) -> None:
        self.counted, self._steps = 0, steps

    async def count(self, prompt: Prompt) -> int:
        self.counted += 1
        return 1

    async def stream(
        self, prompt: Prompt, start: bytes, n: int, want: Want
    ) -> AsyncGenerator[Step, None]:
        for step in self._steps[:n]:
            yield step


def step(text: bytes, *, control: str = "") -> Step:
    top = (Candidate(text, 0.5), Candidate(b"x", 0.25))
    return Step(text, top, 0.5, is_end=not text, control=control)


def written(
    engine: Engine, source: Source = "base", most: int = 9, *, must_write: bool = True
) -> tuple[list[AnswerToken], Answer]:
    async def main() -> list[AnswerToken | Answer]:
        prompt = Prompt((Part("q"),))
        run = alone(engine, prompt, Want(source), most, (), must_write=must_write)
        return [event async for event in run]

    *said, answer = asyncio.run(main())
    assert isinstance(answer, Answer)
    return [each for each in said if isinstance(each, AnswerToken)], answer


@pytest.mark.parametrize("source", ["base", "nudge"])
@pytest.mark.parametrize("before", [(), (step(b" "),)])
def test_a_control_token_in_place_of_the_first_word_is_an_error(
    source: Source, before: Sequence[Step]
) -> None:
    engine = Written(*before, step(b"", control="<tool_call>"))
    with pytest.raises(ModelError, match="written opens its answer with <tool_call>"):
        written(engine, source)
    _, answer = written(engine, source, must_write=False)
    assert answer.text.strip() == ""


def test_after_a_word_it_is_an_end() -> None:
    said, answer = written(Written(step(b"Yes"), step(b"", control="<tool_call>")), "nudge")
    assert (answer.text, answer.stop_reason) == ("Yes", StopReason.NUDGE)
    assert [(each.prob, each.top[1].prob) for each in said] == [(0.5, 0.25)]


def test_tokens_that_share_a_character_are_one_and_are_all_paid() -> None:
    parts = [bytes([byte]) for byte in "é!".encode()]
    said, answer = written(Written(*map(step, parts)))
    assert [each.text for each in said] == ["é", "!"]
    assert (answer.usage.base.emitted, answer.usage.base.drafted) == (2, 3)
    assert (answer.usage.base.calls, answer.usage.nudge.calls) == (1, 0)


@pytest.mark.parametrize(
    ("ends", "stops", "text", "reason"),
    [
        (["\nUser:"], ["so"], "Yes", StopReason.BASE),
        (["\nUser:"], ["\nUser:"], "Yes", StopReason.STOP),
        (["\nUser:"], ["es"], "Y", StopReason.STOP),
        ([], [], "Yes\nUser: so", StopReason.LENGTH),
    ],
)
def test_the_first_text_that_ends_it_says_why(
    ends: Sequence[str], stops: Sequence[str], text: str, reason: StopReason
) -> None:
    steps = iter([step(b"Yes\nUs"), step(b"er:"), step(b" so")])
    found = run(Alone("base", ends, 3, stops), lambda _: next(steps))
    assert (found.text, found.stop) == (text, reason)


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ([b"a", b"\xc3", b"."], "a"),  # half a character, as at any other end
        ([b"a", b"\xc3."], "a"),
        ([b"a", b"\xff."], "a\ufffd"),  # no character at all
        ([b"a", b"\xc3", b"b."], "a\ufffdb"),
    ],
)
def test_half_a_character_before_a_stop_is_dropped(steps: Sequence[bytes], text: str) -> None:
    coming = map(step, steps)
    found = run(Alone("base", (), 9, ["."]), lambda _: next(coming))
    assert (found.text, found.stop) == (text, StopReason.STOP)
