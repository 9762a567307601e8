"""What servers say instead of an answer, and the errors that it becomes."""

from __future__ import annotations

import pytest

from nudging.engines.remote.dialects import DIALECTS
from nudging.engines.remote.llama_cpp import LlamaServerReader
from nudging.engines.remote.openai import CompletionsReader
from nudging.engines.remote.refusals import read_error
from nudging.engines.remote.sglang import SglangReader
from nudging.errors import (
    ContextOverflow,
    NudgingError,
    ServerBusy,
    ServerFailed,
    ServerNonsense,
    ServerRefused,
)
from tests.recorded import recorded

# --- errors ---------------------------------------------------------------------------------


def error(status: int | None, body: object) -> NudgingError:
    return read_error(status, body)


def test_overflow_of_vllm() -> None:
    found = error(400, recorded("vllm_too_long.json")[0])
    assert isinstance(found, ContextOverflow)
    assert (found.tokens, found.limit) == (2049, 2048)


def test_overflow_of_llama_server() -> None:
    found = error(400, recorded("llama_too_long.json")[0])
    assert isinstance(found, ContextOverflow)
    assert (found.tokens, found.limit) == (3001, 1024)


@pytest.mark.parametrize(
    "message",
    [
        "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
        "This model's maximum context length is 4096 tokens, however you requested 5000 tokens "
        "(4984 in your prompt; 16 for the completion). Please reduce your prompt.",
        "Requested token count exceeds the model's maximum context length of 4096 tokens. You "
        "requested a total of 5000 tokens: 4984 tokens from the input messages and 16 tokens",
    ],
)
def test_overflow_in_other_words(message: str) -> None:
    for body in (
        {"object": "error", "message": message, "type": "BadRequestError", "code": 400},
        {"error": {"message": message}},
    ):
        found = error(400, body)
        assert isinstance(found, ContextOverflow)
        assert (found.tokens, found.limit) == (5000, 4096)


def test_overflow_without_numbers() -> None:
    found = error(400, {"error": {"message": "no", "code": "context_length_exceeded"}})
    assert isinstance(found, ContextOverflow)


def test_what_is_known_of_the_probabilities() -> None:
    assert {name: dialect.raw for name, dialect in DIALECTS.items()} == {
        "vllm": True,
        "llama-server": True,
        "sglang": True,
        "openai": None,
    }
    assert "greedy" in DIALECTS["sglang"].notes[0]


def test_unknown_model() -> None:
    found = error(404, recorded("vllm_no_model.json")[0])
    assert isinstance(found, ServerRefused)
    assert found.code == 404
    assert "Valid aliases: smol" in str(found)


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (401, ServerRefused, False),
        (403, ServerRefused, False),
        (400, ServerRefused, False),
        (422, ServerRefused, False),
        (429, ServerBusy, True),
        (408, ServerFailed, True),
        (500, ServerFailed, True),
        (503, ServerFailed, True),
        (302, ServerNonsense, False),
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        None,
        "text",
        [],
        {"error": "text"},
        {"error": None},
        {"error": {"message": "no", "code": "x"}},
        {"object": "error", "message": "no", "code": 418},
        {"detail": [{"loc": 1}]},
    ],
)
def test_errors_of_any_shape(
    status: int, kind: type[NudgingError], retryable: bool, body: object
) -> None:
    found = error(status, body)
    assert isinstance(found, kind)
    assert found.retryable is retryable


def test_errors_inside_a_stream() -> None:
    with pytest.raises(ServerRefused):
        CompletionsReader().feed({"error": {"message": "no", "code": 400}})
    with pytest.raises(ServerBusy):
        LlamaServerReader().feed({"error": {"message": "no", "code": 429}})
    with pytest.raises(ServerFailed):
        SglangReader().feed({"object": "error", "message": "no", "code": None})
