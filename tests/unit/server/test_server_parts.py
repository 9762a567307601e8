"""The server's smaller parts: places and lines, keys, figures, the log, one model alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from nudging.drive.alone import AnswerToken, alone
from nudging.engines.base import Want
from nudging.engines.scripted import Distribution, ScriptedEngine
from nudging.errors import UsageError
from nudging.prompts.chat import Part, Prompt
from nudging.server import api_keys, uvicorn_server
from nudging.server.answer_queue import AnswerQueue, Limits
from nudging.server.json_http import encode_json, encode_json_in_thread
from nudging.server.log import Record
from nudging.server.metrics import Counter, Histogram, Metrics
from nudging.server.openai_errors import ApiError
from nudging.values.tokens import Answer, Candidate, StopReason
from tests.event_loop import Beat

# --- limits ---------------------------------------------------------------------------------


def test_who_finds_the_line_full_is_sent_away_at_once() -> None:
    line = AnswerQueue(Limits(max_answers=1, max_queue=1))
    with line.admitted(1), line.admitted(1):
        with pytest.raises(ApiError) as caught, line.admitted(1):
            pass
        assert (caught.value.status, caught.value.code) == (429, "queue_full")
        assert caught.value.retry_after
    with line.admitted(2):
        assert line.held == 2
    assert line.held == 0


def test_who_could_never_be_let_in_is_told() -> None:
    with (
        pytest.raises(ApiError) as caught,
        AnswerQueue(Limits(max_answers=1, max_queue=1)).admitted(3),
    ):
        pass
    assert (caught.value.status, caught.value.param) == (400, "n")


def test_places_are_given_out_one_by_one() -> None:
    async def main() -> None:
        line, most = AnswerQueue(Limits(max_answers=2)), 0

        async def work() -> None:
            nonlocal most
            async with line.permit():
                most = max(most, line.running)
                await asyncio.sleep(0.001)

        await asyncio.gather(*(work() for _ in range(6)))
        assert (most, line.running) == (2, 0)

    asyncio.run(main())


# --- keys -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("authorization", "allowed"),
    [
        (b"Bearer one", True),
        (b"bearer  two ", True),
        (b"Bearer three", False),
        (b"Bearer", False),
        (b"Basic one", False),
        (b"one", False),
        (b"", False),
        (b"Bearer \xff", False),
    ],
)
def test_only_a_key_lets_in(authorization: bytes, allowed: bool) -> None:
    assert api_keys.ApiKeys(["one", "two"]).allow(authorization) == allowed


def test_keys_come_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUDGING_API_KEYS", "a, b,")
    file = tmp_path / "keys"
    file.write_text("\ufeffc\n# ours\n  # theirs\n\nd\r\n", encoding="utf-8")
    found = api_keys.read_keys(["e"], file)
    assert all(found.allow(f"Bearer {key}".encode()) for key in "abcde")
    assert not any(found.allow(key) for key in (b"Bearer ", b"Bearer # theirs"))


def test_a_key_taken_out_of_its_file_is_good_no_longer(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("one\ntwo\n")
    found = api_keys.read_keys(["fixed"], file)
    assert found.allow(b"Bearer two")
    file.write_text("one\nthree\n")
    assert [found.allow(b"Bearer " + key) for key in (b"one", b"two", b"three", b"fixed")] == [
        *[True, False, True, True]
    ]


@pytest.mark.parametrize("content", [b"", b"\xff\n", None])
def test_a_file_that_loses_its_keys_leaves_the_server_locked(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "keys"
    file.write_text("one\n")
    found = api_keys.read_keys([], file)
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    assert not any(found.allow(header) for header in (b"Bearer one", b"Bearer ", b""))
    file.write_text("four\n")
    assert found.allow(b"Bearer four")


def test_without_keys_everybody_may_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUDGING_API_KEYS", raising=False)
    assert api_keys.read_keys([], None).allow(b"")


@pytest.mark.parametrize("content", ["", "# nothing\n", None])
def test_a_file_without_a_key_does_not_open_the_server(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UsageError):
        api_keys.read_keys([], file)


def test_an_empty_key_does_not_open_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUDGING_API_KEYS", raising=False)
    with pytest.raises(UsageError):
        api_keys.read_keys([""], None)


# --- the process ----------------------------------------------------------------------------


def test_as_many_connections_as_the_system_allows() -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
        uvicorn_server.allow_connections()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 512
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# --- figures and the log --------------------------------------------------------------------


def test_a_counter_escapes_its_labels() -> None:
    counter = Counter("c", "Some.", ("path",))
    counter.add(2, 'a"b\n\\')
    assert list(counter.samples()) == ['c{path="a\\"b\\n\\\\"} 2']


def test_buckets_add_up() -> None:
    histogram = Histogram("h", "Some.", (1, 2))
    for figure in (0.5, 1, 1.5, 9):
        histogram.observe(figure)
    assert list(histogram.samples()) == [
        'h_bucket{le="1"} 2',
        'h_bucket{le="2"} 3',
        'h_bucket{le="+Inf"} 4',
        "h_sum 12",
        "h_count 4",
    ]


def test_large_figures_are_not_rounded() -> None:
    metrics = Metrics()
    metrics.tokens.add(1_234_567, "nudged", "base")
    metrics.watch("now", "Now.", lambda: 3)
    text = metrics.text()
    assert 'nudging_tokens_total{model="nudged",source="base"} 1234567\n' in text
    assert text.endswith("# TYPE now gauge\nnow 3\n")


def test_a_line_of_the_log_holds_what_is_known() -> None:
    record = Record("r1", "GET", "/health", status=200)
    line = json.loads(record.line())
    assert set(line) == {"time", "id", "method", "path", "status", "seconds"}


# --- one model alone ------------------------------------------------------------------------


def one_by_one(*tokens: bytes) -> ScriptedEngine:
    """A model that writes these tokens, then ends."""

    def following(prompt: str, text: bytes) -> Distribution:
        at = 0
        for token in tokens:
            if text[at:] == b"":
                return [Candidate(token, 0.8), Candidate(b"x", 0.2)]
            at += len(token)
        return [Candidate(b"", 1.0)]

    return ScriptedEngine(following)


def written(
    engine: ScriptedEngine, most: int = 50, stops: Sequence[str] = (), ends: Sequence[str] = ()
) -> tuple[list[str], Answer]:
    async def main() -> tuple[list[str], Answer]:
        said: list[str] = []
        prompt = Prompt((Part("q"),), ends=tuple(ends))
        async for happened in alone(engine, prompt, Want("base", top_k=2), most, stops):
            if isinstance(happened, Answer):
                return said, happened
            assert isinstance(happened, AnswerToken)
            said.append(happened.text)
        raise AssertionError

    return asyncio.run(main())


def test_a_model_alone_writes_to_its_end() -> None:
    said, answer = written(one_by_one(b"One", b" two"))
    assert said == ["One", " two"]
    assert (answer.text, answer.stop_reason) == ("One two", StopReason.BASE)
    assert (answer.usage.tokens, answer.usage.base.drafted) == (2, 3)


def test_a_model_alone_stops_at_its_length() -> None:
    said, answer = written(one_by_one(b"One", b" two"), most=1)
    assert (said, answer.stop_reason) == (["One"], StopReason.LENGTH)


def test_nothing_of_a_stop_is_shown_though_it_comes_in_parts() -> None:
    said, answer = written(one_by_one(b"One S", b"TO", b"P two"), stops=["STOP"])
    assert said == ["One "]
    assert (answer.text, answer.stop_reason) == ("One ", StopReason.STOP)


def test_what_only_looked_like_a_stop_is_shown() -> None:
    said, _ = written(one_by_one(b"a S", b"TO", b"RE"), stops=["STOP"])
    assert "".join(said) == "a STORE"


def test_a_next_turn_of_its_own_making_is_its_end() -> None:
    _, answer = written(one_by_one(b"Yes.", b"\nUser", b": No?"), ends=["\nUser:"])
    assert (answer.text, answer.stop_reason) == ("Yes.", StopReason.BASE)


def test_characters_are_whole_and_broken_ones_are_marked() -> None:
    said, answer = written(one_by_one("é".encode()[:1], "é".encode()[1:], b"\xff", b"!"))
    assert said == ["é", "\ufffd", "!"]
    assert answer.text == "é\ufffd!"


# --- what is answered -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"tokens": [], "count": 0},
        {"tokens": list(range(25_000)), "token_strs": None, "a": "é"},
        {"choices": [{"a": [1, {"b": []}]}, {}, {"c": "]"}], "b": {"c": 1}},
    ],
)
def test_json_made_in_pieces_is_the_same(data: dict[str, object]) -> None:
    assert asyncio.run(encode_json_in_thread(lambda: data)) == encode_json(data)


def test_a_million_ids_hold_up_nobody() -> None:
    async def main() -> float:
        async with Beat() as beat:
            await encode_json_in_thread(lambda: {"tokens": list(range(10**6))})
            await asyncio.sleep(0.01)
        return beat.longest

    assert asyncio.run(main()) < 0.05
