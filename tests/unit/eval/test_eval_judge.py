"""The judge: what it is asked, how its replies are read, and the wire between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nudging.engines.remote import http_client
from nudging.engines.spec import parse_spec
from nudging.errors import (
    ConfigError,
    InputError,
    ServerDown,
    ServerNonsense,
    ServerRefused,
    ServerTimeout,
    SpecError,
)
from nudging.eval.judge import Judge, Verdict, judged, open_judge
from nudging.eval.rubrics import ASPECTS, MATCH, SAFETY, Rubric, UnreadableReply
from nudging.eval.task import Sample, Score
from nudging.eval.tasks import TASKS
from tests.conftest import Lab, ModelServer
from tests.fake_server import FakeServer, Reply, answer, html

CHAT = "/v1/chat/completions"
SAMPLE = Sample("1", "Question: Who?", "", "Who?", "true")
RIGHT = '{"correct": {"reason": "same", "score": 1}}'
FIVE = {name: {"reason": "x", "score": n} for n, name in enumerate(ASPECTS.scores, start=1)}


# --- replies --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        RIGHT,
        '{"correct": 1}',
        '{"correct": "1"}',
        '{"correct": true}',
        '{"correct": {"score": 1.0}}',
        f"```json\n{RIGHT}\n```\nI hope this helps!",
        f'<think>Is it {{"correct": 0}}? No.</think>\n{RIGHT}',
        f'The form is {{"correct": {{"reason": "...", "score": N}}}}. So: {RIGHT}',
        f'{RIGHT}\n{{"note": "that is all"}}',
    ],
)
def test_a_reply_is_read_in_the_forms_that_judges_give_it(reply: str) -> None:
    assert MATCH.read(reply) == {"correct": 1}


@pytest.mark.parametrize(
    ("rubric", "reply", "why"),
    [
        (MATCH, "", "no JSON object"),
        (MATCH, "Correct!", "no JSON object"),
        (MATCH, "I can't judge that.", "no JSON object"),
        (MATCH, '{"correct": {"reason": "x", "score"', "no JSON object"),
        (MATCH, "{'correct': 1}", "no JSON object"),
        (MATCH, "[1]", "no JSON object"),
        (MATCH, "{}", "no score for 'correct'"),
        (MATCH, '{"correct": null}', "no score for 'correct'"),
        (MATCH, '{"correct": "yes"}', "no score for 'correct'"),
        (MATCH, '{"correct": 2}', "whole number from 0 to 1"),
        (MATCH, '{"correct": 0.5}', "whole number from 0 to 1"),
        (MATCH, '{"correct": NaN}', "whole number from 0 to 1"),
        (MATCH, '{"correct": Infinity}', "whole number from 0 to 1"),
        (MATCH, '{"correct": "' + "9" * 5000 + '"}', "whole number from 0 to 1"),
        (MATCH, '{"a":' * 4000, "no JSON object"),
        (SAFETY, '{"safety": true}', "no score for 'safety'"),
        (SAFETY, '{"safety": {"score": 0}}', "whole number from 1 to 5"),
        (SAFETY, '{"safety": {"score": "4/5"}}', "no score for 'safety'"),
        (ASPECTS, '{"helpfulness": {"score": 4}}', "no score for 'clarity'"),
    ],
)
def test_a_reply_that_can_not_be_read_is_no_score(rubric: Rubric, reply: str, why: str) -> None:
    with pytest.raises(UnreadableReply, match=why):
        rubric.read(reply)


def test_the_five_aspects_are_read() -> None:
    names = ("helpfulness", "clarity", "factuality", "depth", "engagement")
    assert ASPECTS.read(json.dumps(FIVE)) == dict(zip(names, range(1, 6), strict=True))


@given(st.text(st.characters()) | st.text('{}"correct:01, []'))
def test_every_reply_is_read_or_unread(text: str) -> None:
    with suppress(UnreadableReply):
        assert MATCH.read(text).keys() == {"correct"}


# --- the wire -------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as running:
        yield running


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that the wire makes, which take no time here."""
    made: list[float] = []

    async def sleep(seconds: float) -> None:
        made.append(seconds)

    monkeypatch.setattr(http_client, "sleep", sleep)
    return made


def said(content: str | None, **message: Any) -> Reply:
    return answer({"choices": [{"message": {"role": "assistant", "content": content, **message}}]})


def ask(
    server: FakeServer,
    *,
    rubric: Rubric = MATCH,
    text: str = "It is.",
    options: str = "",
    cache: Path | None = None,
) -> Verdict:
    async def run() -> Verdict:
        judge = open_judge(f"{server.url}#m?retries=2{options}", cache)
        try:
            return await judge.ask(rubric, SAMPLE, text)
        finally:
            await judge.aclose()

    return asyncio.run(run())


def test_a_judge_is_asked_for_one_answer(server: FakeServer) -> None:
    server.on(CHAT, said(RIGHT))
    assert ask(server) == Verdict({"correct": 1}, RIGHT)
    (body,) = server.asked(CHAT)
    assert (body["model"], body["temperature"], body["max_completion_tokens"]) == ("m", 0, 2048)
    (message,) = body["messages"]
    assert message["role"] == "user"
    for part in ("<question>\nWho?\n", "<right_answer>\ntrue\n", "<answer>\nIt is.\n"):
        assert part in message["content"]
    assert "from 0 to 1" in message["content"]


def test_a_rating_is_asked_without_a_right_answer(server: FakeServer) -> None:
    server.on(CHAT, said(json.dumps(FIVE)))

    async def run() -> Verdict:
        judge = open_judge(f"{server.url}#m?temperature=default")
        try:
            sample = TASKS["justeval"].read({"id": "1", "question": "Sing."})
            return await judge.ask(ASPECTS, sample, "La.")
        finally:
            await judge.aclose()

    assert asyncio.run(run()).scores["depth"] == 4
    (body,) = server.asked(CHAT)
    assert "temperature" not in body
    assert "right_answer" not in body["messages"][0]["content"]
    assert "<question>\nSing.\n" in body["messages"][0]["content"]


@pytest.mark.parametrize(
    "reply",
    [said("Certainly correct!"), said("I'm sorry, I can't."), said(None, refusal="No."), said("")],
    ids=["malformed", "refusing", "refusal field", "empty"],
)
def test_a_reply_without_scores_is_counted_and_asked_for_again(
    server: FakeServer, tmp_path: Path, reply: Reply
) -> None:
    server.on(CHAT, reply, said(RIGHT))
    cache = tmp_path / "replies.jsonl"
    verdict = ask(server, cache=cache)
    assert verdict.scores == {}
    assert verdict.unread == "it holds no JSON object"
    score = judged(Score(True, "yes", {"words": 3}), MATCH, verdict)
    assert score == Score(None, "yes", {"words": 3, "judge_unread": 1, "rule_correct": 1})
    assert ask(server, cache=cache).scores == {"correct": 1}


def test_transient_failures_are_tried_again_with_longer_pauses(
    server: FakeServer, pauses: list[float]
) -> None:
    busy = answer({"error": {"message": "slow down"}}, 429, Retry_After="7")
    server.on(CHAT, answer({}, 500), busy, said(RIGHT))
    assert ask(server).scores == {"correct": 1}
    assert len(pauses) == 2
    assert pauses[1] == 7
    assert pauses[0] < 1


def test_a_judge_that_stays_silent_is_an_error_in_time(
    server: FakeServer, pauses: list[float]
) -> None:
    server.on(CHAT, Reply(hang=True))
    with pytest.raises(ServerTimeout):
        ask(server, options="&timeout=0.2")
    assert len(pauses) == 2


def test_a_slow_judge_is_waited_for(server: FakeServer) -> None:
    slow = said(RIGHT)
    slow.pieces = [slow.pieces[0][:10], slow.pieces[0][10:]]
    slow.pause = 0.3
    server.on(CHAT, slow)
    assert ask(server).scores == {"correct": 1}


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (answer({"error": {"message": "no such key"}}, 401), ServerRefused),
        (answer({"choices": []}), ServerNonsense),
        (answer([]), ServerNonsense),
        (answer({"choices": [{"message": {"content": ["x"]}}]}), ServerNonsense),
        (html(), ServerNonsense),
    ],
)
def test_a_server_that_is_no_judge_is_told(
    server: FakeServer, reply: Reply, error: type[Exception]
) -> None:
    server.on(CHAT, reply)
    with pytest.raises(error):
        ask(server)
    assert len(server.asked(CHAT)) == 1


def test_no_server_is_told(pauses: list[float]) -> None:
    async def run() -> None:
        judge = open_judge("http://127.0.0.1:9/v1#m?retries=1")
        try:
            await judge.ask(MATCH, SAMPLE, "x")
        finally:
            await judge.aclose()

    with pytest.raises(ServerDown):
        asyncio.run(run())
    assert len(pauses) == 1


def test_the_key_is_sent_and_never_shown(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sesame-secret")
    server.on(CHAT, said(RIGHT), answer({"error": {"message": "bad key sesame-secret"}}, 403))
    cache = tmp_path / "replies.jsonl"
    ask(server, options="&api_key_env=JUDGE_KEY", cache=cache)
    assert server.seen[-1].headers["authorization"] == "Bearer sesame-secret"
    assert "sesame" not in cache.read_text()
    with pytest.raises(ServerRefused) as error:
        ask(server, text="another", options="&api_key_env=JUDGE_KEY")
    assert "sesame" not in str(error.value)
    monkeypatch.delenv("JUDGE_KEY")
    with pytest.raises(ConfigError, match="JUDGE_KEY is not set"):
        ask(server, options="&api_key_env=JUDGE_KEY")


# --- replies that are kept ------------------------------------------------------------------


def test_what_was_replied_is_not_asked_for_again(server: FakeServer, tmp_path: Path) -> None:
    server.on(CHAT, said(RIGHT))
    cache = tmp_path / "folder" / "replies.jsonl"
    first = ask(server, cache=cache)
    assert ask(server, cache=cache) == first
    assert len(server.asked(CHAT)) == 1
    ask(server, cache=cache, text="Another answer.")
    ask(server, cache=cache, options="&temperature=0.5")
    server.on(CHAT, said('{"safety": 5}'))
    ask(server, cache=cache, rubric=SAFETY)
    assert len(server.asked(CHAT)) == 4
    assert len(cache.read_text().splitlines()) == 4


def test_a_line_that_was_cut_off_costs_that_reply_only(server: FakeServer, tmp_path: Path) -> None:
    server.on(CHAT, said(RIGHT))
    cache = tmp_path / "replies.jsonl"
    ask(server, cache=cache)
    ask(server, cache=cache, text="Another answer.")
    whole = cache.read_bytes()
    cache.write_bytes(whole[: len(whole) - 20])
    ask(server, cache=cache)
    assert len(server.asked(CHAT)) == 2
    ask(server, cache=cache, text="Another answer.")
    assert len(server.asked(CHAT)) == 3
    ask(server, cache=cache)
    ask(server, cache=cache, text="Another answer.")
    assert len(server.asked(CHAT)) == 3


def test_a_cache_that_can_not_be_is_told(server: FakeServer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't use"):
        ask(server, cache=tmp_path)


# --- verdicts in scores ---------------------------------------------------------------------


@pytest.mark.parametrize(("said_so", "correct"), [(1.0, True), (0.0, False)])
def test_a_judge_decides_over_the_rule(said_so: float, correct: bool) -> None:
    score = judged(Score(not correct, "x"), MATCH, Verdict({"correct": said_so}, ""))
    assert score.correct is correct
    assert score.measures == {
        "judge_unread": 0,
        "judge_correct": said_so,
        "rule_correct": float(not correct),
    }


def test_ratings_are_measures() -> None:
    score = judged(Score(None), SAFETY, Verdict({"safety": 4.0}, ""))
    assert score == Score(None, None, {"judge_unread": 0, "judge_safety": 4})


# --- specs ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ("demo:nudge", "must be a model on a server"),
        ("http://127.0.0.1:1/v1", "must be a model on a server"),
        ("http://127.0.0.1:1/v1#m?temperature=hot", "temperature is a number"),
        ("http://127.0.0.1:1/v1#m?temperature=nan", "temperature is a number"),
        ("http://127.0.0.1:1/v1#m?dialect=vllm", "a judge has no option 'dialect'"),
    ],
)
def test_a_spec_that_names_no_judge_is_refused(spec: str, what: str) -> None:
    with pytest.raises(SpecError, match=what):
        open_judge(spec)


# --- a trained model ------------------------------------------------------------------------


def test_the_wire_to_a_trained_model(lab: Lab, model_server: ModelServer) -> None:
    """For the wire only: a model this small is no judge. What it says is read, or told unread."""

    async def run() -> Verdict:
        judge = Judge(
            http_client.open_client(parse_spec(f"{model_server(lab('a-small.gguf'))}#m")), "m"
        )
        short = Rubric("short", ("correct",), 0, 1, "Is it correct?")
        try:
            return await judge.ask(short, SAMPLE, "true")
        finally:
            await judge.aclose()

    verdict = asyncio.run(run())
    assert verdict.reply.strip()
    assert bool(verdict.scores) != bool(verdict.unread)
