"""Conversations in the chat templates of real models, asked of each engine that renders them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

pytest.importorskip("torch")
pytest.importorskip("xllamacpp")
transformers = pytest.importorskip("transformers")

from nudging import NudgedModel  # noqa: E402
from nudging.engines import open_engine_async  # noqa: E402
from nudging.engines.base import Engine  # noqa: E402
from nudging.engines.llama.llama_server import open_llama_server  # noqa: E402
from nudging.engines.spec import parse_spec  # noqa: E402
from nudging.errors import InputError, ModelError  # noqa: E402
from nudging.prompts.chat import Message, Prompt, conversation  # noqa: E402
from nudging.prompts.chat_renderer import CLOSED, FOLDED  # noqa: E402
from tests.conftest import Lab  # noqa: E402
from tests.styles import CHATML, GEMMA2, HARMONY, QWEN3, R1, SILENT, SMOLLM3, rendered  # noqa: E402
from tests.variants import folder_like, gguf_like  # noqa: E402

pytestmark = [pytest.mark.hf, pytest.mark.usefixtures("one_thread")]
T = TypeVar("T")
Ask = Callable[..., T]
OFF = "Thinking is switched off (enable_thinking=false)."
OPTIONS = "n_ctx=512"


@pytest.fixture(params=["hf", "llama", "llama-server"])
def ask(request: pytest.FixtureRequest, lab: Lab, tmp_path: Path) -> Ask[T]:
    """Opens a model with a template in one of the engines, and uses it."""

    async def opened(template: str, opens: str, options: str) -> Engine:
        if request.param == "hf":
            path = folder_like(lab("a-small"), tmp_path / "model", template, opens)
            return await open_engine_async(f"hf:{path}?{OPTIONS}&dtype=float32{options}")
        path = gguf_like(lab("a-small.gguf"), tmp_path / "model.gguf", template, opens)
        spec = f"llama:{path}?{OPTIONS}{options}"
        if request.param == "llama":
            return await open_engine_async(spec)
        return await open_llama_server(parse_spec(spec))

    def use(
        template: str, job: Callable[[Engine], Awaitable[T]], opens: str = "", options: str = ""
    ) -> T:
        async def run() -> T:
            engine = await opened(template, opens, options)
            try:
                return await job(engine)
            finally:
                await engine.aclose()

        return asyncio.run(run())

    return use


async def asked(engine: Engine) -> tuple[Prompt, str]:
    """The prompt of a question, and a nudged answer to it."""
    prompt = await engine.render(conversation("Where is it?", "Be brief."))
    model = NudgedModel("scripted:base", engine, gamma=1.0, max_tokens=8)
    answer = await model.answer_async("Where is it?", system="Be brief.")
    return prompt, answer.text


STYLES = {
    "gemma2": (GEMMA2, FOLDED, {}, ""),
    "silent": (SILENT, FOLDED, {}, ""),
    "qwen3": (QWEN3, OFF, {"enable_thinking": False}, ""),
    "smollm3": (SMOLLM3, OFF, {"enable_thinking": False}, ""),
    "deepseek-r1": (R1, CLOSED, {}, "\n</think>\n\n"),
    "gpt-oss": (HARMONY, CLOSED, {}, "<|channel|>final<|message|>"),
}


@pytest.mark.parametrize("name", STYLES)
def test_a_template_is_used_as_its_model_wants_it(
    ask: Ask[tuple[Prompt, str]], request: pytest.FixtureRequest, name: str
) -> None:
    template, note, variables, after = STYLES[name]
    prompt, text = ask(template, asked)
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Where is it?"},
    ]
    if note == FOLDED:
        turns = [{"role": "user", "content": "Be brief.\n\nWhere is it?"}]
    if note == FOLDED and "llama-server" in request.node.name:
        # It knows of such templates, and puts the text there by itself.
        assert prompt.text in (
            rendered(template, turns),
            rendered(template, [{"role": "user", "content": "Be brief.\nWhere is it?"}]),
        )
    else:
        assert prompt.text == rendered(template, turns, **variables) + after
        assert prompt.notes == (note,)
    assert text.strip()


def test_a_conversation_that_is_only_strange_is_refused(ask: Ask[None]) -> None:
    async def job(engine: Engine) -> None:
        with pytest.raises(InputError, match="must alternate"):
            await engine.render(conversation([Message("user", "a"), Message("user", "b")]))

    ask(GEMMA2, job)


def test_variables_of_a_spec_are_those_of_the_template(ask: Ask[Prompt]) -> None:
    async def job(engine: Engine) -> Prompt:
        return await engine.render(conversation("Hi", ""), {"reasoning_effort": "low"})

    prompt = ask(HARMONY, job, "", "&template.reasoning_effort=high&template.enable_thinking=true")
    assert "Reasoning: low" in prompt.text
    assert prompt.text.endswith("<|start|>assistant")


@pytest.mark.parametrize("opens", ["", "<think>"], ids=["text", "control token"])
def test_earlier_thoughts_are_dropped(ask: Ask[Prompt], opens: str) -> None:
    """Whether their marks are ordinary text to the vocabulary, or not."""
    turns = [
        Message("user", "Hi"),
        Message("assistant", "<think>\nWho?\n</think>\n\nHello."),
        Message("user", "Where is it?"),
    ]

    async def job(engine: Engine) -> Prompt:
        return await engine.render(turns)

    prompt = ask(QWEN3, job, opens)
    plain = [turn._asdict() for turn in turns]
    assert prompt.text == rendered(QWEN3, plain, enable_thinking=False)
    assert "Who?" not in prompt.text


def test_a_model_that_opens_a_thought_by_itself_finds_one_closed(ask: Ask[Prompt]) -> None:
    async def job(engine: Engine) -> Prompt:
        prompt = await engine.render(conversation("Where is it?"))
        (*_, marked) = [part for part in prompt.parts if "<think>" in part.text]
        assert not marked.literal
        return prompt

    prompt = ask(CHATML, job, "<think>")
    assert prompt.notes == (CLOSED,)
    assert prompt.text.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")


def test_a_control_token_that_opens_an_answer_is_named(ask: Ask[None]) -> None:
    async def job(engine: Engine) -> None:
        model = NudgedModel("scripted:base", engine)
        with pytest.raises(ModelError, match=r"opens its answer with <tool_call>") as caught:
            await model.answer_async("Where is it?")
        assert "?template." in caught.value.hint

    ask(CHATML, job, "<tool_call>")


def test_prompts_are_those_of_transformers(lab: Lab, tmp_path: Path) -> None:
    """By their ids too, and alike in both engines."""
    folder = folder_like(lab("a-small"), tmp_path / "model", QWEN3)
    file = gguf_like(lab("a-small.gguf"), tmp_path / "model.gguf", QWEN3)
    talk = conversation(
        [
            Message("user", "Hi"),
            Message("assistant", "<think>\nWho?\n</think>\n\nHello."),
            Message("user", "Where is it?"),
        ]
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    turns = [turn._asdict() for turn in talk]
    wanted = tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, tokenize=True, return_dict=False, enable_thinking=False
    )

    async def ids(spec: str) -> list[int]:
        engine = await open_engine_async(spec)
        try:
            return await engine.ids(await engine.render(talk))
        finally:
            await engine.aclose()

    for spec in (f"hf:{folder}?dtype=float32", f"llama:{file}?n_ctx=256"):
        assert asyncio.run(ids(spec)) == wanted
