"""What chat templates can't do is done for them: in this process, and where a server renders."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeVar

import pytest

from nudging import NudgedModel
from nudging.engines.base import Engine, Want
from nudging.engines.llama.llama_options import llama_options
from nudging.engines.local.local_engine import LocalEngine
from nudging.engines.remote.remote_engine import open_remote
from nudging.engines.spec import parse_spec
from nudging.errors import InputError, ModelError, SpecError, TemplateError
from nudging.prompts.chat import Message, Prompt, conversation
from nudging.prompts.chat_renderer import CLOSED, FOLDED
from nudging.values.tokens import Answer, StopReason
from tests.fake_server import FakeServer, answer
from tests.styles import (
    ANSWER,
    CHATML,
    GEMMA2,
    GLM,
    HARMONY,
    KEEPS,
    MAGISTRAL,
    MISTRAL,
    QWEN3,
    R1,
    SILENT,
    SMOLLM3,
    SpeakingRuntime,
    rendered,
    serve_vllm,
    speaker,
)

T = TypeVar("T")
Use = Callable[[Engine], Awaitable[T]]
Asks = Callable[..., Any]
"""Opens an engine for a template (and what its model opens with), and uses it."""


def user(text: str) -> Message:
    return Message("user", text)


def said(text: str) -> Message:
    return Message("assistant", text)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as found:
        yield found


@pytest.fixture(params=["local", "vllm"])
def asks(request: pytest.FixtureRequest, server: FakeServer) -> Asks:
    def local(template: str, options: str) -> Engine:
        variables = llama_options(parse_spec(f"llama:x.gguf?{options}")).variables
        return LocalEngine(
            "toy:nudge", SpeakingRuntime(template, speaker(opening[0])), variables=variables
        )

    opening = [""]

    def ask(template: str, use: Use[T], opens: str = "", options: str = "") -> T:
        opening[0] = opens

        async def run() -> T:
            if request.param == "local":
                engine = local(template, options)
            else:
                serve_vllm(server, template, speaker(opens))
                spec = parse_spec(f"{server.url}#m?retries=0&{options}".rstrip("&"))
                engine = await open_remote(spec)
            try:
                return await use(engine)
            finally:
                await engine.aclose()

        return asyncio.run(run())

    return ask


def renders(*conversations: Sequence[Message], **variables: Any) -> Use[list[Prompt]]:
    async def use(engine: Engine) -> list[Prompt]:
        return [await engine.render(each, variables) for each in conversations]

    return use


async def whole(engine: Engine, prompt: Prompt, n: int = 40) -> str:
    text = b""
    async for step in engine.stream(prompt, b"", n, Want("nudge")):
        text += step.text
    return text.decode()


# --- system texts -----------------------------------------------------------------------------


@pytest.mark.parametrize("template", [GEMMA2, MISTRAL, SILENT], ids=["gemma2", "mistral", "silent"])
def test_a_system_text_that_a_template_does_not_take_goes_before_the_first_question(
    asks: Asks, template: str
) -> None:
    talk = [user("Why?"), said("So."), user("Why so?")]
    alone, none, more = asks(
        template,
        renders(
            conversation("Why?", "Be brief."),
            conversation("Why?", ""),
            conversation(talk, "Be <b> brief."),
        ),
    )
    for prompt, turns in (
        (alone, [user("Be brief.\n\nWhy?")]),
        (none, [user("Why?")]),
        (more, [user("Be <b> brief.\n\nWhy?"), *talk[1:]]),
    ):
        assert prompt.text == rendered(template, [turn._asdict() for turn in turns])
    assert alone.notes == more.notes == (FOLDED,)
    assert none.notes == ()


def test_an_empty_system_text_is_not_put_there(asks: Asks) -> None:
    (prompt,) = asks(GEMMA2, renders([Message("system", ""), user("Why?")]))
    assert prompt.text == rendered(GEMMA2, [user("Why?")._asdict()])


@pytest.mark.parametrize("template", [CHATML, R1, HARMONY, SMOLLM3])
def test_a_system_text_that_a_template_takes_stays_its_own(asks: Asks, template: str) -> None:
    (prompt,) = asks(template, renders(conversation("Why?", "Be brief.")))
    assert FOLDED not in prompt.notes
    assert "Be brief.\n\nWhy?" not in prompt.text
    assert "Be brief." in prompt.text


@pytest.mark.parametrize("template", [GEMMA2, MISTRAL])
def test_a_conversation_that_no_template_takes_is_refused_in_its_words(
    asks: Asks, template: str
) -> None:
    async def use(engine: Engine) -> None:
        for turns in ([user("a"), user("b")], [said("a"), user("b")]):
            with pytest.raises(InputError, match="must alternate"):
                await engine.render(conversation(turns))
        assert (await engine.render(conversation("a"))).notes == (FOLDED,)

    asks(template, use)


def test_a_template_that_takes_no_conversation_at_all_is_told(asks: Asks) -> None:
    async def use(engine: Engine) -> None:
        with pytest.raises(TemplateError, match=r"renders no conversation: .*never"):
            await engine.render(conversation("a"))

    asks("{{ raise_exception('never') }}", use)


def test_a_template_is_tried_once(server: FakeServer) -> None:
    async def use() -> int:
        engine = await open_remote(parse_spec(f"{server.url}#m"))
        await engine.render(conversation("a"))
        before = len([body for body in server.asked("/tokenize") if "messages" in body])
        for _ in range(3):
            await engine.render(conversation("b"))
        await engine.aclose()
        return len([body for body in server.asked("/tokenize") if "messages" in body]) - before

    serve_vllm(server, GEMMA2, speaker())
    assert asyncio.run(use()) == 3


def test_a_server_that_fails_where_a_template_refuses(server: FakeServer) -> None:
    async def use() -> Prompt:
        engine = await open_remote(parse_spec(f"{server.url}#m?retries=0"))
        try:
            return await engine.render(conversation("a", "Be brief."))
        finally:
            await engine.aclose()

    serve_vllm(server, GEMMA2, speaker(), refusal=500)
    prompt = asyncio.run(use())
    assert prompt.notes == (FOLDED,)
    assert "Be brief.\n\na" in prompt.text


def test_a_server_that_is_away_is_tried_again(server: FakeServer) -> None:
    """What it can do is found out when it is there."""

    async def use() -> Prompt:
        serve_vllm(server, GEMMA2, speaker())
        engine = await open_remote(parse_spec(f"{server.url}#m?retries=0"))
        works = server.replies["/tokenize"]
        server.on("/tokenize", answer({"error": {"message": "loading"}}, 503))
        with pytest.raises(Exception, match="loading"):
            await engine.render(conversation("a"))
        server.replies["/tokenize"] = works
        try:
            return await engine.render(conversation("a"))
        finally:
            await engine.aclose()

    assert asyncio.run(use()).notes == (FOLDED,)


# --- thoughts ---------------------------------------------------------------------------------

OFF = "Thinking is switched off (enable_thinking=false)."
THINKERS = {
    "qwen3": (QWEN3, "<think>", OFF, "assistant\n<think>\n\n</think>\n\n"),
    "smollm3": (SMOLLM3, "<think>", OFF, "assistant\n<think>\n\n</think>\n"),
    "glm": (GLM, "<think>", OFF, "/nothink<|assistant|>\n<think></think>"),
    "deepseek-r1": (R1, "<think>", CLOSED, "<｜Assistant｜><think>\n\n</think>\n\n"),
    "gpt-oss": (HARMONY, "<|channel|>", CLOSED, "<|start|>assistant<|channel|>final<|message|>"),
    "magistral": (MAGISTRAL, "[THINK]", CLOSED, "[/INST][THINK][/THINK]"),
    "opens by itself": (CHATML, "<think>", CLOSED, "assistant\n<think>\n\n</think>\n\n"),
}


@pytest.mark.parametrize("style", THINKERS.values(), ids=THINKERS)
def test_a_nudging_model_does_not_think(asks: Asks, style: tuple[str, str, str, str]) -> None:
    template, opening, note, ending = style

    async def use(engine: Engine) -> tuple[Prompt, str]:
        prompt = await engine.render(conversation("What is 2 + 2?"))
        return prompt, await whole(engine, prompt)

    prompt, text = asks(template, use, opening)
    assert prompt.notes == (note,)
    assert prompt.text.endswith(ending)
    assert not any(part.literal for part in prompt.parts)
    assert text.strip() == ANSWER


@pytest.mark.parametrize("style", THINKERS.values(), ids=THINKERS)
def test_a_nudged_answer_has_no_thought(asks: Asks, style: tuple[str, str, str, str]) -> None:
    template, opening, _, _ = style

    async def use(engine: Engine) -> Answer:
        model = NudgedModel("scripted:base", engine, gamma=1.0, max_tokens=40)
        try:
            return await model.answer_async("What is 2 + 2?")
        finally:
            await asyncio.to_thread(model.close)

    found = asks(template, use, opening)
    assert "m" not in found.text.replace(ANSWER, "")
    assert found.text.strip().startswith("It is four")


@pytest.mark.parametrize("name", ["qwen3", "smollm3", "deepseek-r1", "gpt-oss", "magistral"])
def test_who_wants_thoughts_gets_them(asks: Asks, name: str) -> None:
    template, opening, _, _ = THINKERS[name]
    (prompt,) = asks(
        template, renders(conversation("Why?", "Be brief.")), opening, "template.enable_thinking=1"
    )
    turns = [m._asdict() for m in conversation("Why?", "Be brief.")]
    assert prompt.text == rendered(template, turns, enable_thinking=1)
    assert prompt.notes == ()


def test_a_model_that_does_not_think_gets_no_thought(asks: Asks) -> None:
    (prompt,) = asks(CHATML, renders(conversation("Why?", "Be brief.")))
    assert prompt.text.endswith("<|im_start|>assistant\n")
    assert prompt.notes == ()


# --- variables --------------------------------------------------------------------------------


def test_variables_of_the_spec_and_of_the_request(asks: Asks) -> None:
    async def use(engine: Engine) -> list[str]:
        told: list[dict[str, str]] = [
            {},
            {"reasoning_effort": "low"},
            {"reasoning_effort": "<|end|>"},
        ]
        prompts = [await engine.render(conversation("Why?"), each) for each in told]
        assert [part.text for part in prompts[2].parts if part.literal] == ["<|end|>"]
        return [prompt.text.partition("Reasoning: ")[2][:5] for prompt in prompts]

    found = asks(HARMONY, use, "<|channel|>", "template.reasoning_effort=high")
    assert found == ["high<", "low<|", "<|end"]


def test_variables_of_a_model_and_of_one_answer(server: FakeServer) -> None:
    serve_vllm(server, HARMONY, speaker("<|channel|>"))

    def effort() -> object:
        (*_, body) = [body for body in server.asked("/tokenize") if "messages" in body]
        return body["chat_template_kwargs"]

    with NudgedModel(
        "scripted:base",
        f"{server.url}#m?template.other=1",
        template_variables={"reasoning_effort": "high"},
    ) as model:
        model.answer("Why?", max_tokens=4)
        assert effort() == {"other": 1, "reasoning_effort": "high"}
        model.answer("Why?", max_tokens=4, template_variables={"reasoning_effort": "low"})
        assert effort() == {"other": 1, "reasoning_effort": "low"}
        for _ in model.map(["Why?"], max_tokens=4, template_variables={"other": 2}):
            assert effort() == {"other": 2, "reasoning_effort": "high"}


def test_a_variable_may_be_any_scalar(asks: Asks) -> None:
    shown = "{{ messages[0].content }}{{ [a, b, c, d, e, f] }}"
    options = "template.a=true&template.b=1.5&template.c=null&template.d=%22a%22&template.e=high"
    (prompt,) = asks(shown, renders([user("q")]), "", options + "&template.f=[1]")
    assert prompt.text == "q[True, 1.5, None, 'a', 'high', '[1]']"


@pytest.mark.parametrize(
    "option", ["template.messages=1", "template.bos_token=x", "template.a-b=1", "template.=1"]
)
def test_a_variable_that_can_not_be_set_is_refused(option: str) -> None:
    with pytest.raises(SpecError, match="template"):
        llama_options(parse_spec(f"llama:x.gguf?{option}"))


# --- opening control tokens -------------------------------------------------------------------


def test_an_opening_control_token_is_told(asks: Asks) -> None:
    """It stands for no text, and the model has not ended its turn."""

    async def use(engine: Engine) -> None:
        model = NudgedModel("scripted:base", engine)
        with pytest.raises(ModelError, match="<tool_call>") as caught:
            await model.answer_async("What is 2 + 2?")
        assert "?template." in caught.value.hint

    asks(CHATML, use, "<tool_call>")


def test_a_real_end_is_an_end(asks: Asks) -> None:
    async def use(engine: Engine) -> list[Any]:
        prompt = await engine.render(conversation("What is 2 + 2?"))
        return [step async for step in engine.stream(prompt, ANSWER.encode(), 9, Want("nudge"))]

    (step,) = asks(CHATML, use)
    assert (step.is_end, step.control) == (True, "")


def test_a_control_token_within_an_answer_ends_it(server: FakeServer) -> None:
    def following(text: str) -> str:
        return "<tool_call>" if text.endswith("It") else ANSWER[len(text.rpartition("\n")[2])]

    async def use(engine: Engine) -> Answer:
        model = NudgedModel("scripted:base", engine, gamma=1.0)
        return await model.answer_async("What is 2 + 2?")

    found = asyncio.run(use(LocalEngine("toy:nudge", SpeakingRuntime(CHATML, following))))
    assert found.text == "It"
    assert found.stop_reason is StopReason.NUDGE


# --- thoughts of earlier answers --------------------------------------------------------------

THOUGHT = "<think>\nFour, I think.\n</think>\n\nIt is four."


@pytest.mark.parametrize(
    "template", [QWEN3, R1, GLM, KEEPS, CHATML], ids=["qwen3", "r1", "glm", "keeps", "chatml"]
)
def test_earlier_thoughts_are_what_the_template_makes_of_them(asks: Asks, template: str) -> None:
    turns = [user("What is 2 + 2?"), said(THOUGHT), user("And 3 + 3?")]
    (prompt,) = asks(template, renders(turns), "", "template.enable_thinking=true")
    assert prompt.text == rendered(template, [t._asdict() for t in turns], enable_thinking=True)


def test_tokens_of_thoughts_that_somebody_typed_stay_text(asks: Asks) -> None:
    turns = [user("a</think>b<think>"), said("c</think>d"), user("e</think>")]
    for template in (QWEN3, KEEPS, CHATML):
        (prompt,) = asks(template, renders(turns), "", "template.enable_thinking=true")
        assert prompt.text == rendered(template, [t._asdict() for t in turns], enable_thinking=True)
        real = "".join(part.text for part in prompt.parts if not part.literal)
        assert "think>" not in real
