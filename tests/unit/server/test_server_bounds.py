"""What requests may set, where the operator says so."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from nudging.engines import open_engine
from nudging.errors import UsageError
from nudging.rule.config import Config
from nudging.server.answer_queue import AnswerQueue, Limits
from nudging.server.api_keys import ApiKeys
from nudging.server.asgi_app import make_app
from nudging.server.bounds import check_bounds, read_bounds, with_default_bounds
from nudging.server.openai_errors import ApiError
from nudging.server.served_models import ServedModels


def checked(bounds: list[str], own: dict[str, Any] | None = None, **asked: Any) -> ApiError | None:
    """What a request that sets these options is told, on a server with options of its own."""
    found = read_bounds(bounds, Config.of(**(own or {})))
    names = {option: f"nudging.{option}" for option in asked}
    try:
        check_bounds(found, Config.of(**{**(own or {}), **asked}), names)
    except ApiError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("bound", "good", "bad", "says"),
    [
        ("gamma=0.1:0.6", {"gamma": 0.1}, {"gamma": 0.61}, "from 0.1 to 0.6 on this server"),
        ("gamma=:0.6", {"gamma": 0}, {"gamma": 1}, "at most 0.6"),
        ("gamma=.3:", {"gamma": 1}, {"gamma": 0.2}, "at least 0.3"),
        ("max_tokens=1:1e3", {"max_tokens": 1000}, {"max_tokens": 1001}, "not 1001"),
        ("lookahead=16", {"lookahead": 16}, {"lookahead": 8}, "lookahead must be 16"),
        ("temperature=0:1", {"temperature": 1}, {"temperature": 1.5}, "temperature"),
        ("top_p=1", {"top_p": 1}, {"top_p": 0.5}, "top_p must be 1"),
        ("preset=default,paper", {"preset": "paper"}, {"preset": "official"}, "default, paper"),
        ("stop=fixed", {"stop": "consult"}, {"stop": "either"}, "stop must be consult"),
        (
            "trigger=fixed",
            {"trigger": None},
            {"trigger": "top1<0.1"},
            "unset on this server, not",
        ),
        ("trigger=none,margin<0.1", {"trigger": "margin<0.1"}, {"trigger": "top1<1"}, "margin<0.1"),
        ("max_rounds=none", {}, {"max_rounds": 3}, "max_rounds must be unset"),
        ("speculate=auto,off", {"speculate": "off"}, {"speculate": 64}, "auto, off"),
        ("stop_strings=fixed", {}, {"stop_strings": ["a"]}, "stop_strings"),
    ],
)
def test_a_bound(bound: str, good: dict[str, Any], bad: dict[str, Any], says: str) -> None:
    assert checked([bound], **good) is None
    told = checked([bound], **bad)
    assert told is not None
    assert says in str(told)
    assert (told.status, told.code) == (400, "out_of_bounds")
    assert told.param == f"nudging.{next(iter(bad))}"


@pytest.mark.parametrize(
    ("bound", "asked", "param"),
    [
        ("temperature=0:1", {"nudge_sampling": {"temperature": 2}}, "nudging.nudge_sampling"),
        ("temperature=0:1", {"base_sampling": {"temperature": 2}}, "nudging.base_sampling"),
        ("stop=fixed", {"preset": "paper"}, "nudging.preset"),
        ("gamma=0.1:0.6", {"trigger": "top1<0.9"}, "nudging.trigger"),
    ],
)
def test_there_is_no_way_around_a_bound(bound: str, asked: dict[str, Any], param: str) -> None:
    told = checked([bound], **asked)
    assert told is not None
    assert told.param == param


def test_an_option_has_one_bound() -> None:
    with pytest.raises(UsageError, match="two bounds for gamma"):
        read_bounds(["gamma=0.1:0.6", "gamma=0.2:0.5"], Config())


def test_the_server_keeps_its_own_bounds() -> None:
    with pytest.raises(UsageError, match="max_tokens is 512 here"):
        read_bounds(["max_tokens=:256"], Config())
    assert read_bounds(["max_tokens=:256"], Config.of(max_tokens=256))
    assert checked(["gamma=0.2,0.3"], {"gamma": 0.3}, gamma=0.2) is None
    assert checked(["gamma=fixed"], {"gamma": 0.3}, gamma=0.4) is not None


@pytest.mark.parametrize(
    "bound",
    [
        "",
        "gamma",
        "gamma=",
        "=1",
        "gamma=:",
        "gamma=1:0",
        "gamma=a:b",
        "gamma=0.1:0.2:0.3",
        "gamma=7",
        "colour=red",
        "seed=1:2",
        "stop=0:1",
        "stop=never",
        "preset=best",
        "trigger=often",
        "stop_strings=a",
    ],
)
def test_what_is_no_bound_is_refused(bound: str) -> None:
    with pytest.raises(UsageError):
        read_bounds([bound], Config())


@pytest.mark.parametrize(
    ("bound", "good", "bad"),
    [
        ("template_variables=fixed", {}, {"enable_thinking": True}),
        (
            "template_variables.enable_thinking=false",
            {"enable_thinking": False},
            {"enable_thinking": 0},
        ),
        ("template_variables.enable_thinking=false", {"other": 1}, {"enable_thinking": True}),
        ("template_variables.effort=low,medium", {"effort": "low"}, {"effort": "high"}),
        ("template_variables.n=1,2", {"n": 2}, {"n": 3}),
        ("template_variables.n=fixed", {"m": 2}, {"n": 3}),
        ("template_variables.n=1,2", {}, {"n": None}),
    ],
)
def test_a_bound_on_variables_of_the_template(
    bound: str, good: dict[str, Any], bad: dict[str, Any]
) -> None:
    assert checked([bound], template_variables=good) is None
    told = checked([bound], template_variables=bad)
    assert told is not None
    assert (told.code, told.param) == ("out_of_bounds", "nudging.template_variables")


def test_what_the_server_sets_of_a_template_may_be_fixed() -> None:
    own: dict[str, Any] = {"template_variables": {"effort": "low"}}
    assert checked(["template_variables=fixed"], own) is None
    assert checked(["template_variables=fixed"], own, template_variables={"effort": "high"})
    assert checked(["template_variables.effort=fixed"], own) is None
    with pytest.raises(UsageError, match="effort is low here"):
        read_bounds(["template_variables.effort=high"], Config.of(**own))


@pytest.mark.parametrize(
    "bound",
    [
        "template_variables=low",
        "template_variables.=1",
        "template_variables.messages=1",
        "template_variables.n=1:2",
        "base_sampling.temperature=1",
    ],
)
def test_what_is_no_bound_on_variables_is_refused(bound: str) -> None:
    with pytest.raises(UsageError):
        read_bounds([bound], Config())


# --- bounds on what is computed -------------------------------------------------------------


def answered(bounds: list[str], own: dict[str, Any], **asked: Any) -> Any:
    """A server's JSON answer to a request for a story."""
    pair = [open_engine(f"scripted:{name}") for name in ("base", "nudge")]
    config = Config.of(**own)
    served = ServedModels(
        *pair, bounds=with_default_bounds(read_bounds(bounds, config), config), **own
    )
    client = TestClient(make_app(served, AnswerQueue(Limits(8)), ApiKeys([])))
    body = {"messages": [{"role": "user", "content": "Tell me a story."}], **asked}
    return client.post("/v1/chat/completions", json=body).json()


@pytest.mark.parametrize("most", [1, 5, 16])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"preset": "official"},
        {"preset": "paper"},
        {"stop": "lookahead", "lookahead": 64},
        {"stop": "lookahead", "lookahead": 64, "length": "official", "guards": "none"},
        {"length": "official"},
        {"gamma": 1.0, "takeover": "word"},
    ],
)
def test_a_bound_on_the_length_holds_for_what_is_computed(
    options: dict[str, Any], most: int
) -> None:
    if {options.get("preset"), options.get("length")} & {"official", "paper"}:
        pytest.importorskip("bpe_openai")
    asked = {"max_tokens": most, "nudging": options}
    data = answered([f"max_tokens=:{most}"], {"max_tokens": most}, **asked)
    (choice,) = data["choices"]
    assert choice["finish_reason"] == "length"
    assert data["usage"]["completion_tokens"] <= most
    usage = choice["nudging"]["usage"]
    drafted = usage["base"]["drafted"] + usage["nudge"]["drafted"]
    assert drafted <= most * (min(most, options.get("lookahead", 16)) + 4)


def test_drafts_have_a_bound_unless_the_operator_gives_another() -> None:
    long = {"nudging": {"lookahead": 1024, "stop": "lookahead"}, "max_tokens": 8}
    assert answered([], {}, **long)["error"]["code"] == "out_of_bounds"
    assert answered([], {"lookahead": 128}, **long)["error"]["code"] == "out_of_bounds"
    for bounds, own in ((["lookahead=:1024"], {}), ([], {"lookahead": 1024})):
        usage = answered(bounds, own, **long)["choices"][0]["nudging"]["usage"]
        assert usage["nudge"]["drafted"] <= 8 * 9


def test_what_fits_a_bound_is_answered_as_without_one() -> None:
    for options in ({}, {"stop": "lookahead"}):
        whole = answered([], {}, nudging=options)["choices"][0]
        bound = answered(["max_tokens=:512"], {}, nudging=options)["choices"][0]
        assert whole["message"] == bound["message"]
        assert whole["finish_reason"] == bound["finish_reason"] == "stop"
        assert whole["nudging"]["spans"] == bound["nudging"]["spans"]
