"""What servers are asked and what their answers mean, on bodies recorded from real ones.

Recorded from vLLM 0.32.0 and llama-server (xllamacpp 2026.10), SmolLM2-135M-Instruct; SGLang's and
plain OpenAI's are written by their sources.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

import pytest

from nudging.engines.remote.answer_reader import (
    BROKEN,
    UNNAMED,
    AnswerReader,
    ReadStep,
    share,
    to_bytes,
)
from nudging.engines.remote.dialect import (
    CompletionRequest,
    Dialect,
    read_prompt,
    read_tokens,
    request_seed,
)
from nudging.engines.remote.dialects import DIALECTS, LLAMA_SERVER, OPENAI, SGLANG, VLLM
from nudging.engines.remote.json_checks import probability
from nudging.engines.remote.llama_cpp import LlamaServerReader, read_n_ctx
from nudging.engines.remote.model_list import read_models
from nudging.engines.remote.openai import CompletionsReader
from nudging.engines.remote.sglang import SglangReader
from nudging.errors import (
    ServerFailed,
    ServerNonsense,
)
from nudging.prompts.chat import Message
from nudging.values.sampling import GREEDY, Sampling
from tests.recorded import recorded

UNICORN = "🦄".encode()


def read(reader: AnswerReader, events: Iterable[Any]) -> list[ReadStep]:
    return [found for event in events for found in reader.feed(event)]


# --- vLLM -----------------------------------------------------------------------------------


def test_vllm_stream() -> None:
    reader = CompletionsReader()
    steps = [f.step for f in read(reader, recorded("vllm_plain.sse"))]
    assert b"".join(s.text for s in steps) == b" Paris.\n"
    assert all(len(s.top) == 3 and s.prob == s.top1 and s.id is not None for s in steps)
    assert steps[0].prob == pytest.approx(0.7688, abs=1e-3)
    assert steps[0].top[1].text == b" the"
    assert reader.finished
    assert not reader.held


def test_a_log_probability_may_be_a_number_that_no_float_holds() -> None:
    assert probability(-(10**400)) == probability(-math.inf) == 0
    assert probability(10**400) == probability(0) == 1


def test_vllm_half_characters_go_with_the_one_they_begin() -> None:
    reader = CompletionsReader()
    steps = [f.step for f in read(reader, recorded("vllm_half.sse"))]
    assert [s.text for s in steps] == [UNICORN]
    # The first token's own probability, though its string shows another token's in the table.
    assert steps[0].prob == steps[0].top1 == pytest.approx(math.exp(-0.6933488845825195))
    assert [c.text for c in steps[0].top] == [UNICORN, BROKEN, b"\n"]
    assert steps[0].id is None
    assert reader.finished
    assert reader.held
    rest = reader.flush()
    assert rest is not None
    assert rest.step.text == BROKEN
    assert reader.flush() is None


def test_vllm_half_a_character_alone_gives_no_step() -> None:
    reader = CompletionsReader()
    assert read(reader, recorded("vllm_half_one.json")) == []
    assert reader.held


def test_vllm_several_tokens_at_once() -> None:
    reader = CompletionsReader()
    (found,) = read(reader, recorded("vllm_half_four.json"))
    assert found.step.text == UNICORN
    assert found.step.prob == pytest.approx(math.exp(-0.6933488845825195))
    assert reader.held


def test_vllm_end() -> None:
    controls: set[str] = set()
    (found,) = read(CompletionsReader(controls), recorded("vllm_end.sse"))
    assert found.step.is_end
    assert found.step.text == b""
    assert found.step.id == 2
    assert found.step.prob == pytest.approx(math.exp(-0.8263157606124878))
    assert [c.text for c in found.step.top] == [b"", b" What"]
    assert controls == {"<|im_end|>"}


def legacy(text: str, tokens: list[str], finish: str | None = None, **top: Any) -> Any:
    logprobs = {
        "tokens": tokens,
        "token_logprobs": [-1.0] * len(tokens),
        "top_logprobs": [{t: -1.0, **top} for t in tokens],
    }
    return {"choices": [{"text": text, "logprobs": logprobs, "finish_reason": finish}]}


def test_a_control_token_in_the_middle_is_an_end() -> None:
    (found,) = read(CompletionsReader(), [legacy("", ["<|im_start|>"])])
    assert found.step.is_end
    assert found.step.control == "<|im_start|>"


@pytest.mark.parametrize(
    ("token", "finish", "control"),
    [
        ("<|channel|>", None, "<|channel|>"),
        ("[THINK]", "length", "[THINK]"),
        ("<|im_end|>", "length", ""),  # one that ends a turn, whatever the server knows
        ("<|odd|>", "stop", ""),  # one that the server ends with
    ],
)
def test_a_control_token_that_ends_no_turn_is_told(token: str, finish: str, control: str) -> None:
    (found,) = read(CompletionsReader(), [legacy("", [token], finish)])
    assert found.step.is_end
    assert found.step.control == control


def test_known_control_tokens_show_as_ends_among_the_candidates() -> None:
    (found,) = read(CompletionsReader({"</s>"}), [legacy("a", ["a"], None, **{"</s>": -2.0})])
    assert [c.text for c in found.step.top] == [b"a", b""]


def test_older_servers_write_replacement_characters_for_parts() -> None:
    reader = CompletionsReader()
    events = [legacy("", ["\ufffd"]), legacy("", ["\ufffd"]), legacy("é", ["é"])]
    steps = [f.step for f in read(reader, events)]
    assert [s.text for s in steps] == ["é".encode()]


def test_broken_bytes_are_never_a_replacement_character() -> None:
    (found,) = read(CompletionsReader(), [legacy("\ufffda", ["\ufffda"])])
    assert found.step.text == BROKEN + b"a"
    assert to_bytes("a\ud800b") == b"a" + BROKEN + b"b"


def test_several_tokens_with_an_end_in_one_event() -> None:
    events = [legacy(" to day", [" to", " day", "</s>"], "stop")]
    steps = [f.step for f in read(CompletionsReader(), events)]
    assert [(s.text, s.is_end) for s in steps] == [(b" to", False), (b" day", False), (b"", True)]


def test_shares_that_can_not_be_told_apart_go_to_the_first() -> None:
    assert share("Hello", [" Hel", "lo"]) == ["Hello", None]
    assert share(" a b", [" a", " b"]) == [" a", " b"]
    assert share("", []) == []
    steps = [f.step for f in read(CompletionsReader(), [legacy("Hello", [" Hel", "lo"], "length")])]
    assert [s.text for s in steps] == [b"Hello"]


# --- plain OpenAI ---------------------------------------------------------------------------


def test_an_end_that_is_not_told_is_blind() -> None:
    reader = CompletionsReader()
    events = [
        legacy("a", ["a"]),
        {"choices": [{"text": "", "logprobs": None, "finish_reason": "stop"}]},
        {"choices": [], "usage": {}},
    ]
    first, last = read(reader, events)
    assert not first.blind
    assert last.blind
    assert last.step.is_end
    assert last.step.prob is None
    assert last.step.top1 == 0.0


def test_text_without_log_probabilities() -> None:
    with pytest.raises(ServerNonsense, match="no log-prob"):
        CompletionsReader().feed({"choices": [{"text": "a", "logprobs": None}]})


# --- llama-server ---------------------------------------------------------------------------


def test_llama_stream() -> None:
    reader = LlamaServerReader()
    found = read(reader, recorded("llama_plain.sse"))
    assert b"".join(f.step.text for f in found) == b" Paris.\n"
    assert not any(f.blind for f in found)
    assert all(f.step.prob == f.step.top1 and len(f.step.top) == 3 for f in found)
    assert reader.finished


def test_llama_passes_over_the_beginning_of_a_character() -> None:
    reader = LlamaServerReader()
    (found,) = read(reader, recorded("llama_half.sse"))
    assert found.blind
    assert found.step.text == UNICORN
    assert reader.finished
    assert reader.held


def test_llama_tells_nothing_of_half_a_character_but_can_look() -> None:
    reader = LlamaServerReader()
    assert read(reader, recorded("llama_half_one.json")) == []
    assert reader.held
    top = LLAMA_SERVER.read_look(recorded("llama_look.json")[0])
    assert [c.text for c in top] == [b"\xf0\x9f", b" \xf0\x9f", b"\n"]
    assert top[0].prob == pytest.approx(0.49, abs=0.01)


def test_llama_end() -> None:
    (found,) = read(LlamaServerReader(), recorded("llama_end.sse"))
    assert found.step.is_end
    assert not found.blind
    assert found.step.prob == pytest.approx(math.exp(-0.7915568947792053))


def llama(size: int, *, stop: str | None = None) -> dict[str, Any]:
    """One token of so many bytes."""
    told = {"id": 7, "bytes": [97] * size, "logprob": -1, "top_logprobs": []}
    ended = {"stop": stop is not None, "stop_type": stop}
    return {"content": "a" * size, "completion_probabilities": [told], **ended}


@pytest.mark.parametrize(
    ("then", "control"),
    [
        ([{"content": "", "stop": True, "stop_type": "eos", "tokens_predicted": 1}], ""),
        ([{"content": "", "stop": True, "stop_type": "limit", "tokens_predicted": 1}], UNNAMED),
        ([{**llama(1), "tokens_predicted": 2}], UNNAMED),
    ],
)
def test_llama_tells_by_what_follows_whether_a_control_token_is_an_end(
    then: list[Any], control: str
) -> None:
    reader = LlamaServerReader()
    assert read(reader, [{**llama(0), "tokens_predicted": 1}]) == []
    found = read(reader, then)[0].step
    assert (found.is_end, found.id, found.control) == (True, 7, control)


@pytest.mark.parametrize(("stop", "control"), [("eos", ""), ("limit", UNNAMED)])
def test_llama_tells_it_in_a_whole_answer(stop: str, control: str) -> None:
    (found,) = read(LlamaServerReader(), [{**llama(0, stop=stop), "tokens_predicted": 1}])
    assert (found.step.is_end, found.step.control) == (True, control)


def test_llama_end_without_probabilities_is_blind() -> None:
    event = {"content": "", "stop": True, "stop_type": "eos", "tokens_predicted": 0}
    (found,) = read(LlamaServerReader(), [event])
    assert found.blind
    assert found.step.is_end


# --- SGLang ---------------------------------------------------------------------------------


def sglang(text: str, ids: list[int], count: int, finish: Any = None) -> Any:
    words = {1: " a", 2: " b", 3: "</s>", 4: "\ufffd", 5: "\ufffd"}
    return {
        "text": text,
        "output_ids": ids,
        "meta_info": {
            "finish_reason": finish,
            "completion_tokens": count,
            "output_token_logprobs": [[-float(i), i, words[i]] for i in ids],
            "output_top_logprobs": [[[-float(i), i, words[i]], [-9.0, 9, "z"]] for i in ids],
        },
    }


END = {"type": "stop", "matched": 3}


def test_sglang_repeats_itself() -> None:
    reader = SglangReader()
    events = [
        sglang(" a", [1], 1),
        sglang(" a b", [1, 2], 2),
        sglang(" a b", [1, 2, 3], 3, END),
    ]
    steps = [f.step for f in read(reader, events)]
    assert [(s.text, s.id, s.is_end) for s in steps] == [
        (b" a", 1, False),
        (b" b", 2, False),
        (b"", 3, True),
    ]
    assert steps[1].prob == pytest.approx(math.exp(-2))
    assert [c.text for c in steps[1].top] == [b" b", b"z"]
    assert reader.finished


@pytest.mark.parametrize(
    ("token", "finish", "control"),
    [
        ("[THINK]", None, "[THINK]"),
        ("<|channel|>", {"type": "length"}, "<|channel|>"),
        ("<|im_end|>", None, ""),
        ("[THINK]", END, ""),
    ],
)
def test_sglang_tells_a_control_token_that_ends_no_turn(
    token: str, finish: Any, control: str
) -> None:
    event = sglang("", [3], 1, finish)
    event["meta_info"]["output_token_logprobs"] = [[-1.0, 3, token]]
    (found,) = read(SglangReader(), [event])
    assert (found.step.is_end, found.step.control) == (True, control)


def test_sglang_told_to_stream_what_is_new() -> None:
    events = [sglang(" a", [1], 1), sglang(" b", [2], 2), sglang("", [3], 3, END)]
    steps = [f.step for f in read(SglangReader(), events)]
    assert [s.text for s in steps] == [b" a", b" b", b""]
    assert steps[-1].is_end


def test_sglang_half_a_character() -> None:
    events = [sglang("", [4], 1), sglang("é", [4, 5], 2), sglang("é a", [4, 5, 1], 3)]
    steps = [f.step for f in read(SglangReader(), events)]
    assert [s.text for s in steps] == ["é".encode(), b" a"]
    assert steps[0].prob == pytest.approx(math.exp(-4))


def test_sglang_abort_is_a_failure() -> None:
    event = sglang("", [], 0, {"type": "abort", "message": "out of memory"})
    with pytest.raises(ServerFailed, match="out of memory"):
        SglangReader().feed(event)


# --- answers that are none ------------------------------------------------------------------


@pytest.mark.parametrize("reader", [CompletionsReader, LlamaServerReader, SglangReader])
@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        "text",
        {},
        {"choices": None},
        {"choices": ["x"]},
        {"choices": [{"text": 5}]},
        {"choices": [{"text": "a", "logprobs": []}]},
        {"choices": [{"text": "a", "logprobs": {"tokens": "a"}}]},
        {"choices": [{"text": "a", "logprobs": {"tokens": ["a"], "token_logprobs": [None]}}]},
        {
            "choices": [
                {
                    "text": "a",
                    "logprobs": {
                        "tokens": ["a"],
                        "token_logprobs": [None],
                        "top_logprobs": [{"a": "x"}],
                    },
                }
            ]
        },
        {"content": 5, "tokens_predicted": 1},
        {"content": "a", "tokens_predicted": "1"},
        {"content": "a", "tokens_predicted": True},
        {"tokens_predicted": 1, "completion_probabilities": {}},
        {"tokens_predicted": 1, "completion_probabilities": [None]},
        {"tokens_predicted": 1, "completion_probabilities": [{"id": 1, "bytes": [300]}]},
        {
            "tokens_predicted": 1,
            "completion_probabilities": [
                {"id": 1, "bytes": [65], "logprob": float("nan"), "top_logprobs": []}
            ],
        },
        {"meta_info": None},
        {"meta_info": {"completion_tokens": 1}, "output_ids": [1], "text": "a"},
        {
            "meta_info": {
                "completion_tokens": 1,
                "output_token_logprobs": [[1]],
                "output_top_logprobs": [None],
            },
            "output_ids": [1],
            "text": "a",
        },
    ],
)
def test_nonsense_is_said_to_be(reader: type[AnswerReader], answer: Any) -> None:
    with pytest.raises(ServerNonsense):
        reader().feed(answer)


@pytest.mark.parametrize("call", [read_models, read_tokens, read_prompt, read_n_ctx])
@pytest.mark.parametrize("answer", [None, [], "x", 5])
def test_nonsense_beside_the_streams(call: Any, answer: Any) -> None:
    with pytest.raises(ServerNonsense):
        call(answer)


# --- requests -------------------------------------------------------------------------------


def ask(**changes: Any) -> CompletionRequest:
    sampling = Sampling(temperature=0.7, top_p=0.9, top_k=40, min_p=0.05, seed=3)
    return CompletionRequest("m", "text", True, 8, 2, sampling, 11, True, "id")._replace(**changes)


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=lambda d: d.name)
def test_every_sampling_field_is_sent(dialect: Dialect) -> None:
    body = dialect.complete(ask()).body
    flat = {**body, **body.get("sampling_params", {})}
    assert (flat["temperature"], flat["top_p"]) == (0.7, 0.9)
    assert (flat["top_k"], flat["min_p"]) == (40, 0.05)
    assert 11 in (flat.get("seed"), flat.get("sampling_seed"))
    assert 8 in [flat.get(k) for k in ("max_tokens", "n_predict", "max_new_tokens")]
    assert 2 in [flat.get(k) for k in ("logprobs", "n_probs", "top_logprobs_num")]
    json.dumps(body)


def test_greedy_requests() -> None:
    assert VLLM.complete(ask(sampling=GREEDY)).body["temperature"] == 0.0
    assert SGLANG.complete(ask(sampling=GREEDY)).body["sampling_params"]["top_k"] == -1
    body = OPENAI.complete(ask(sampling=GREEDY)).body
    assert "top_k" not in body
    assert "min_p" not in body
    assert LLAMA_SERVER.complete(ask()).body["post_sampling_probs"] is False


def test_ids_are_sent_where_they_belong() -> None:
    assert VLLM.complete(ask(prompt=[1, 2])).body["prompt"] == [1, 2]
    assert SGLANG.complete(ask(prompt=[1, 2])).body["input_ids"] == [1, 2]
    assert SGLANG.complete(ask()).body["text"] == "text"
    assert VLLM.complete(ask(add_special=False)).body["add_special_tokens"] is False


def test_seeds_differ_by_place_and_fit_every_server() -> None:
    sampling = Sampling(temperature=1.0, seed=2**62)
    seeds = {request_seed(sampling, "base", at) for at in range(100)}
    assert len(seeds) == 100
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert request_seed(sampling, "base", 5) == request_seed(sampling, "base", 5)


def test_templates_are_asked_for() -> None:
    messages = [Message("user", "hi")]
    assert VLLM.render("m", messages, {}).body["messages"] == [{"role": "user", "content": "hi"}]
    assert LLAMA_SERVER.render("m", messages, {}).path == "{root}/apply-template"
    assert OPENAI.render("m", messages, {}) is None


def test_models_are_read() -> None:
    (vllm,) = read_models(recorded("vllm_models.json")[0])
    assert (vllm.name, vllm.owner, vllm.n_ctx) == ("smol", VLLM.owner, 2048)
    (llama,) = read_models(recorded("llama_models.json")[0])
    assert (llama.owner, llama.n_ctx) == (LLAMA_SERVER.owner, 1024)
    assert "smol.gguf" in llama.names
    assert read_tokens(recorded("vllm_tokens.json")[0])
    assert read_n_ctx({"default_generation_settings": {"n_ctx": 5}}) == 5
    assert read_n_ctx({"default_generation_settings": {"n_ctx": "x"}}) is None
