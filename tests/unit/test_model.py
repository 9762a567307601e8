"""`NudgedModel` as programs hold it: its options, typed; how it is opened and closed."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

import nudging.model
from nudging import Answer, Config, Engine, NudgedModel, Sampling
from nudging.aio import background_loop
from nudging.engines.scripted import open_scripted
from nudging.engines.spec import parse_spec
from nudging.errors import ConfigError, ModelError, SpecError, TemplateError
from nudging.rule.keywords import Options

PAIR = ("scripted:base", "scripted:nudge")
FRANCE = "What is the capital of France?"
PARIS = "The capital of France is Paris."


# --- options ----------------------------------------------------------------------------------


def test_a_wrong_option_is_found_by_type_checkers_and_when_it_runs() -> None:
    # mypy, which checks the tests strictly, fails where one of these is ignored without need.
    with pytest.raises(ConfigError, match="there is no option 'gama'"):
        NudgedModel(*PAIR, gama=0.4)  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="gamma must be"):
        NudgedModel(*PAIR, gamma="high")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="there is no option 'gama'"):
        asyncio.run(NudgedModel.open(*PAIR, gama=0.4))  # type: ignore[call-arg]
    with NudgedModel(*PAIR) as model:
        with pytest.raises(ConfigError, match="there is no option 'gama'"):
            model.answer(FRANCE, gama=0.4)  # type: ignore[call-arg]
        with pytest.raises(ConfigError, match="stop must be one of"):
            model.stream(FRANCE, stop="soon")  # type: ignore[arg-type]


def test_the_typed_options_are_all_there_are() -> None:
    names = {field.name for kind in (Config, Sampling) for field in dataclasses.fields(kind)}
    assert set(Options.__annotations__) == names


@pytest.mark.parametrize(
    "config",
    [
        Config.of(),
        Config.of("official", gamma=0.3),
        Config.of("paper", stop_strings=["x"], temperature=0.5, seed=3),
        Config.of(trigger="margin<0.1", template_variables={"a": 1}, speculate=4),
    ],
)
def test_a_config_is_what_its_options_make(config: Config) -> None:
    assert Config.of(**config.options) == config
    assert NudgedModel(*PAIR, config).config == config


def test_options_go_before_a_config_and_an_answers_before_both() -> None:
    config = Config.of("official", gamma=0.3, max_tokens=40)
    with NudgedModel(*PAIR, config, max_tokens=20) as model:
        assert model.config == Config.of("official", gamma=0.3, max_tokens=20)
        assert model.answer(FRANCE, stop_strings=[" of"]).text == "The capital"
        assert model.answer(FRANCE, preset="default").text == PARIS


# --- opened and closed ------------------------------------------------------------------------


def watched(monkeypatch: pytest.MonkeyPatch) -> list[Engine]:
    """The engines that are opened from now on."""
    opened: list[Engine] = []

    async def opening(spec: str) -> Engine:
        await asyncio.sleep(0)
        opened.append(open_scripted(parse_spec(spec)))
        return opened[-1]

    monkeypatch.setattr(nudging.model, "open_engine_async", opening)
    return opened


def is_closed(engine: Engine) -> bool:
    try:
        NudgedModel(engine, engine).answer("?", max_tokens=1)
    except ModelError as error:
        return "is closed" in str(error)
    return False


def test_in_an_event_loop_nothing_waits_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = watched(monkeypatch)

    async def main() -> Answer:
        async with await NudgedModel.open(*PAIR, max_tokens=64) as model:
            return await model.answer_async(FRANCE)

    # The loop behind the synchronous API refuses all that would wait for it.
    assert background_loop.call(main()).text == PARIS
    assert len(opened) == 2
    assert all(map(is_closed, opened))


def test_who_brings_engines_closes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = watched(monkeypatch)
    own = open_scripted(parse_spec("scripted:base"))

    async def main() -> None:
        async with await NudgedModel.open(own, "scripted:nudge") as model:
            assert (model.base, model.nudge) == (own, opened[0])

    asyncio.run(main())
    assert len(opened) == 1
    assert is_closed(opened[0])
    assert not is_closed(own)


@pytest.mark.parametrize(
    ("wrong", "error", "loaded"),
    [
        (lambda: NudgedModel.open("scripted:base", "scripted:none"), SpecError, 1),
        (lambda: NudgedModel.open(*PAIR, gamma=2), ConfigError, 0),
        (lambda: NudgedModel.open(*PAIR, base_form="{{ messages[0] }"), TemplateError, 0),
        (lambda: NudgedModel.open(*PAIR, Config.of("paper"), stop="consult"), ConfigError, 0),
    ],
)
def test_what_is_wrong_leaves_nothing_open(
    wrong: Callable[[], Any], error: type[Exception], loaded: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = watched(monkeypatch)
    with pytest.raises(error):
        background_loop.call(wrong())
    assert len(opened) == loaded
    assert all(map(is_closed, opened))


def test_a_model_opened_without_a_loop_closes_in_one() -> None:
    async def main() -> str:
        async with NudgedModel(*PAIR) as model:
            return str(await model.answer_async(FRANCE))

    assert asyncio.run(main()) == PARIS


# --- the answer -------------------------------------------------------------------------------


def test_an_answer_as_data_is_json_and_holds_its_text() -> None:
    with NudgedModel(*PAIR) as model:
        answer = model.answer(FRANCE)
    found = json.loads(json.dumps(answer.as_dict()))
    assert found["text"] == "".join(span["text"] for span in found["spans"]) == PARIS
    assert [span["source"] for span in found["spans"]] == ["nudge", "base", "nudge"]
    first, second, third = found["spans"]
    assert first["handover"] == {"reason": "opening"}
    assert "handover" not in second
    assert third["handover"]["reason"] == "doubt"
    assert third["handover"]["top"][0] == {"text": " um", "prob": 0.25}
    assert second["tokens"][0] == {"text": " of", "top1": 0.9}
    assert (found["stop_reason"], found["notes"], found["usage"]["tokens"]) == ("nudge", [], 7)


def test_a_notebook_shows_an_answer_with_its_nudges_marked() -> None:
    with NudgedModel(*PAIR) as model:
        shown = model.answer(FRANCE)._repr_html_()
    assert shown.startswith('<div class="nudging" style="white-space:pre-wrap"><mark ')
    assert '<span title="nudge: opens the answer">The</span>' in shown
    assert '</mark><span title="base: top-1 0.90"> of</span>' in shown
    assert 'title="nudge: base was in doubt: &quot; um&quot; 0.25' in shown
