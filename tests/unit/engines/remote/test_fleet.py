"""Several servers of one model as one engine: who is asked, who goes on, who is in use."""

from __future__ import annotations

import asyncio
import gc
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nudging import NudgedModel
from nudging.engines import open_engine_async
from nudging.engines.base import Engine, Want
from nudging.engines.remote import fleet as fleets
from nudging.engines.remote import http_client, replicas
from nudging.engines.remote.fleet import FleetEngine, open_fleet
from nudging.engines.spec import parse_spec
from nudging.errors import (
    ModelError,
    ServerBusy,
    ServerDown,
    ServerFailed,
    ServerNonsense,
    ServerRefused,
    SpecError,
)
from nudging.prompts.chat import Part, Prompt
from nudging.values.sampling import Sampling
from nudging.values.tokens import Step
from tests.fake_server import MODELS, FakeServer, Reply, answer, html, stream, words

COMPLETIONS, LIST = "/v1/completions", "/v1/models"
PROMPT = Prompt((Part("One", literal=True),))
N = 12
REFUSED = answer({"error": {"message": "no"}}, 400)


class Model(list[Reply]):
    """A model that counts the characters of its text. Faults come first, each for one request."""

    def __init__(self, server: FakeServer, *faults: Callable[[list[Any]], Reply]) -> None:
        super().__init__([REFUSED])
        self._server, self._faults = server, list(faults)

    def __getitem__(self, place: Any) -> Any:
        body = self._server.seen[-1].body
        text, told = body["prompt"], []
        for _ in range(body["max_tokens"]):
            told.append(f" {len(text)}é")
            text += told[-1]
        events = words(*told)
        if self._faults and body["stream"]:
            return self._faults.pop(0)(events)
        return stream(events) if body["stream"] else answer(events[0])


def cut(after: int) -> Callable[[list[Any]], Reply]:
    return lambda events: stream(events[:after], done=False, cut=True)


def stalled(after: int) -> Callable[[list[Any]], Reply]:
    return lambda events: stream(events[:after], done=False, hang=True)


FAULTS: dict[str, Callable[[list[Any]], Reply]] = {
    "nothing": lambda events: Reply(cut=True),
    "cut at once": cut(0),
    "cut": cut(3),
    "cut at the last": cut(N),
    "ended early": lambda events: stream(events[:2]),
    "500": lambda events: answer({"error": {"message": "oh"}}, 500),
    "429": lambda events: answer({"error": {"message": "wait"}}, 429, retry_after="0"),
    "page": lambda events: html(),
    "garbage": lambda events: Reply(kind="text/event-stream", pieces=[b"data: {]\n\n"]),
    "an error midway": lambda events: stream([*events[:4], {"error": {"message": "oh"}}]),
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A second is a tenth, and of equals the first is taken."""
    monkeypatch.setattr(replicas, "choose", lambda equal: equal[0])
    for name in ("PERIOD", "PING", "COMING"):
        monkeypatch.setattr(replicas, name, getattr(replicas, name) / 10)

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds / 10)

    monkeypatch.setattr(http_client, "sleep", sleep)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    yield
    gc.collect()  # a socket left open warns, and warnings fail


@pytest.fixture
def two() -> Iterator[tuple[FakeServer, FakeServer]]:
    with model_server() as one, model_server() as other:
        yield one, other


@contextmanager
def model_server(port: int = 0) -> Iterator[FakeServer]:
    with FakeServer(port) as server:
        server.replies[COMPLETIONS] = Model(server)
        yield server


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


@asynccontextmanager
async def opened(*addresses: str) -> AsyncIterator[FleetEngine]:
    fleet = await open_fleet(parse_spec(",".join(addresses)))
    try:
        yield fleet
    finally:
        await fleet.aclose()


def using(use: Callable[[FleetEngine], Coroutine[Any, Any, None]], *servers: FakeServer) -> None:
    async def main() -> None:
        async with opened(*(server.url for server in servers)) as fleet:
            await use(fleet)

    asyncio.run(main())


async def written(
    engine: Engine, n: int = N, start: bytes = b"", want: Want | None = None
) -> list[Step]:
    async with aclosing(engine.stream(PROMPT, start, n, want or Want())) as steps:
        return [step async for step in steps]


def joined(found: list[Step]) -> str:
    return b"".join(step.text for step in found).decode()


def undisturbed(n: int = N) -> str:
    text = "One"
    for _ in range(n):
        text += f" {len(text)}é"
    return text[3:]


async def until(is_so: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def in_use(fleet: FleetEngine) -> list[bool]:
    return [replica.engine is not None for replica in fleet.replicas]


def streams(server: FakeServer) -> list[Any]:
    return [body for body in server.asked(COMPLETIONS) if body["stream"]]


# --- going on where another failed ----------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS)
def test_an_answer_does_not_show_that_its_server_failed(
    fault: str, two: tuple[FakeServer, FakeServer]
) -> None:
    async def use(fleet: FleetEngine) -> None:
        two[0].replies[COMPLETIONS] = Model(two[0], FAULTS[fault])
        assert joined(await written(fleet)) == undisturbed()
        # A kept connection that breaks before an answer may be an old one: asked there once more.
        asked = {"cut at the last": [1, 0], "nothing": [2, 0], "cut at once": [2, 0]}
        assert [len(streams(server)) for server in two] == asked.get(fault, [1, 1])

    using(use, *two)


def test_the_text_so_far_is_sent_and_no_more_asked_for_than_is_left(
    two: tuple[FakeServer, FakeServer],
) -> None:
    async def use(fleet: FleetEngine) -> None:
        two[0].replies[COMPLETIONS] = Model(two[0], cut(3))
        await written(fleet)
        (body,) = streams(two[1])
        assert body["prompt"] == "One" + undisturbed(3)
        assert body["max_tokens"] == N - 3

    using(use, *two)


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from([*FAULTS])), max_size=9))
@settings(max_examples=25)
def test_a_greedy_text_is_the_same_whatever_fails(faults: list[tuple[int, str]]) -> None:
    with model_server() as one, model_server() as other:
        servers = (one, other)

        async def use(fleet: FleetEngine) -> None:
            for number, server in enumerate(servers):
                own = [FAULTS[fault] for place, fault in faults if place == number]
                server.replies[COMPLETIONS] = Model(server, *own)
            try:
                found = joined(await written(fleet))
            except ServerNonsense:  # of both: trying again is no use
                assert {place for place, fault in faults if fault in ("page", "garbage")} == {0, 1}
            except (ServerFailed, ServerBusy):
                assert len(faults) >= 2 * replicas.FAILURES
            else:
                assert found == undisturbed()

        using(use, *servers)


def test_a_sampled_text_goes_on_with_draws_of_its_place(
    two: tuple[FakeServer, FakeServer],
) -> None:
    async def use(fleet: FleetEngine) -> None:
        two[0].replies[COMPLETIONS] = Model(two[0], cut(3))
        want = Want("base", Sampling(temperature=1.0, seed=5))
        assert joined(await written(fleet, want=want)) == undisturbed()
        (first,), (then,) = streams(two[0]), streams(two[1])
        assert (first["temperature"], then["temperature"]) == (1.0, 1.0)
        assert first["seed"] != then["seed"]
        (again,) = [step async for step in fleet.stream(PROMPT, b"", 1, want)]
        assert again

    using(use, *two)


def test_half_a_character_is_written_anew(two: tuple[FakeServer, FakeServer]) -> None:
    async def use(fleet: FleetEngine) -> None:
        half = stream(words(" 3é", ""), done=False, cut=True)
        two[0].replies[COMPLETIONS] = Model(two[0], lambda events: half)
        assert joined(await written(fleet)) == undisturbed()
        assert streams(two[1])[0]["prompt"] == "One 3é"

    using(use, *two)


def test_what_is_wrong_with_the_request_is_told_at_once(
    two: tuple[FakeServer, FakeServer],
) -> None:
    async def use(fleet: FleetEngine) -> None:
        two[0].on(COMPLETIONS, REFUSED)
        with pytest.raises(ServerRefused):
            await written(fleet)
        assert not streams(two[1])
        assert in_use(fleet) == [True, True]

    using(use, *two)


def test_who_is_busy_is_passed_by_and_stays_in_use(two: tuple[FakeServer, FakeServer]) -> None:
    async def use(fleet: FleetEngine) -> None:
        two[0].replies[COMPLETIONS] = Model(two[0], *[FAULTS["429"]] * 5)
        for _ in range(5):
            assert joined(await written(fleet)) == undisturbed()
        assert in_use(fleet) == [True, True]

    using(use, *two)


def test_where_all_are_busy_it_waits_and_asks_again(two: tuple[FakeServer, FakeServer]) -> None:
    async def use(fleet: FleetEngine) -> None:
        for server in two:
            server.replies[COMPLETIONS] = Model(server, *[FAULTS["429"]] * 2)
        assert joined(await written(fleet)) == undisturbed()

    using(use, *two)


# --- who is asked ---------------------------------------------------------------------------


def test_answers_go_where_the_fewest_are_and_stay_there(
    two: tuple[FakeServer, FakeServer],
) -> None:
    async def use(fleet: FleetEngine) -> None:
        async with fleet.permit() as one, fleet.permit() as other, fleet.permit() as third:
            for engine, server in ((one, two[0]), (other, two[1]), (third, two[0])):
                before = len(streams(server))
                for _ in range(3):
                    await written(engine)
                assert len(streams(server)) == before + 3
        assert [replica.load for replica in fleet.replicas] == [0, 0]

    using(use, *two)


def test_a_server_that_does_more_at_once_is_asked_for_more(
    two: tuple[FakeServer, FakeServer],
) -> None:
    async def main() -> None:
        addresses = (f"{two[0].url}#m?concurrency=1", f"{two[1].url}#m?concurrency=3")
        async with opened(*addresses) as fleet:
            assert fleet.capabilities.concurrency == 4
            held = [fleet.permit() for _ in range(4)]
            for permit in held:
                await permit.__aenter__()
            assert [len(replica.assigned) for replica in fleet.replicas] == [1, 3]
            for permit in held:
                await permit.__aexit__(None, None, None)

    asyncio.run(main())


def test_an_answer_that_moved_counts_where_it_is(two: tuple[FakeServer, FakeServer]) -> None:
    async def use(fleet: FleetEngine) -> None:
        async with fleet.permit() as granted:
            two[0].replies[COMPLETIONS] = Model(two[0], cut(3))
            await written(granted)
            assert [len(replica.assigned) for replica in fleet.replicas] == [0, 1]
            await written(granted)
        assert [len(streams(server)) for server in two] == [1, 2]
        assert [len(replica.assigned) for replica in fleet.replicas] == [0, 0]

    using(use, *two)


def test_a_nudged_answer_survives_its_server(two: tuple[FakeServer, FakeServer]) -> None:
    spec = ",".join(f"{server.url}#m?template=chatml" for server in two)
    options: dict[str, Any] = {"max_tokens": 30, "guards": "none", "gamma": 0.7}
    with NudgedModel(spec, "scripted:nudge", **options) as model:
        calm = model.answer("Why?").text
        two[0].replies[COMPLETIONS] = Model(two[0], *[cut(1), FAULTS["500"], cut(0)] * 9)
        assert model.answer("Why?").text == calm


@pytest.mark.parametrize("asks", ["model.answer('Hi')", "asyncio.run(model.answer_async('Hi'))"])
@pytest.mark.parametrize("leaves", ["", "del model; gc.collect()"])
def test_who_closes_nothing_hears_nothing_of_it(
    asks: str, leaves: str, two: tuple[FakeServer, FakeServer]
) -> None:
    spec = ",".join(f"{server.url}#m?template=chatml" for server in two)
    code = f"""if True:
        import asyncio, gc
        from nudging import NudgedModel
        model = NudgedModel({spec!r}, "scripted:nudge", max_tokens=4)
        {asks}
        {leaves}
    """
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", code], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert any(streams(server) for server in two)


def test_answers_of_a_conversation_meet_the_same_server(
    two: tuple[FakeServer, FakeServer],
) -> None:
    spec = ",".join(f"{server.url}#m?template=chatml" for server in two)
    met = set()
    with NudgedModel(spec, "scripted:nudge", max_tokens=8, guards="none", gamma=0.7) as model:
        for question in ("Why?", "How?", "When?", "Where?", "Who?", "What?", "Which?"):
            talk: list[dict[str, str]] = []
            for _ in range(3):
                before = [len(streams(server)) for server in two]
                talk.append({"role": "user", "content": question})
                answer = model.answer(talk)
                talk.append({"role": "assistant", "content": answer.text})
                now = [len(streams(server)) for server in two]
                (place,) = [n for n in range(2) if now[n] > before[n]]
                met.add((question, place))
    assert len(met) == 7


# --- who is in use --------------------------------------------------------------------------


def test_who_is_down_at_first_is_let_in_when_it_comes() -> None:
    port = free_port()

    async def main(one: FakeServer) -> None:
        async with opened(one.url, f"http://127.0.0.1:{port}/v1") as fleet:
            assert in_use(fleet) == [True, False]
            assert fleet.capabilities.concurrency == 32
            assert joined(await written(fleet)) == undisturbed()
            with model_server(port) as other:
                await until(lambda: all(in_use(fleet)))
                one.replies[COMPLETIONS] = Model(one, cut(1))
                assert joined(await written(fleet)) == undisturbed()
                assert streams(other)

    with model_server() as one:
        asyncio.run(main(one))


def test_who_goes_is_left_out_and_who_returns_is_let_in_again() -> None:
    port = free_port()

    async def main(one: FakeServer) -> None:
        with model_server(port) as other:
            fleet = await open_fleet(parse_spec(f"{other.url},{one.url}"))
        try:
            await until(lambda: in_use(fleet) == [False, True])
            assert joined(await written(fleet)) == undisturbed()
            with model_server(port):
                await until(lambda: all(in_use(fleet)))
        finally:
            await fleet.aclose()

    with model_server() as one:
        asyncio.run(main(one))


def test_who_fails_three_times_is_left_out_until_it_works(
    two: tuple[FakeServer, FakeServer],
) -> None:
    async def use(fleet: FleetEngine) -> None:
        two[0].on(COMPLETIONS, answer({"error": {"message": "oh"}}, 500))
        for _ in range(replicas.FAILURES):
            assert joined(await written(fleet)) == undisturbed()
        assert in_use(fleet) == [False, True]
        await asyncio.sleep(3 * replicas.PERIOD)
        assert in_use(fleet) == [False, True]
        two[0].replies[COMPLETIONS] = Model(two[0])
        await until(lambda: all(in_use(fleet)))

    using(use, *two)


def test_who_stalls_is_left_out_and_its_answers_go_on_elsewhere(
    two: tuple[FakeServer, FakeServer],
) -> None:
    async def use(fleet: FleetEngine) -> None:
        two[0].replies[COMPLETIONS] = Model(two[0], stalled(3))
        two[0].on(LIST, Reply(hang=True))
        begun = time.monotonic()
        assert joined(await written(fleet)) == undisturbed()
        assert time.monotonic() - begun < 5  # a silent server would be waited for a minute
        assert in_use(fleet) == [False, True]

    using(use, *two)


def test_who_hangs_in_its_answers_alone_is_left_out_as_well(
    two: tuple[FakeServer, FakeServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleets, "SILENCE", "0.3")

    async def use(fleet: FleetEngine) -> None:
        two[0].on(COMPLETIONS, Reply(hang=True))
        for _ in range(replicas.FAILURES):
            assert joined(await written(fleet)) == undisturbed()
        assert in_use(fleet) == [False, True]

    using(use, *two)


def test_where_none_is_left_it_says_so_and_goes_on_when_one_is_back(
    two: tuple[FakeServer, FakeServer],
) -> None:
    async def use(fleet: FleetEngine) -> None:
        for server in two:
            server.on(COMPLETIONS, answer({"error": {"message": "it burns"}}, 500))
        with pytest.raises(ServerFailed, match="it burns"):
            await written(fleet)
        await until(lambda: not any(in_use(fleet)))
        with pytest.raises(ServerFailed, match="it burns"):
            await written(fleet)
        two[1].replies[COMPLETIONS] = Model(two[1])
        assert joined(await written(fleet)) == undisturbed()

    using(use, *two)


def test_one_that_comes_back_as_another_model_is_not_let_in(
    two: tuple[FakeServer, FakeServer], caplog: pytest.LogCaptureFixture
) -> None:
    other = {"data": [{"id": "other", "owned_by": "someone"}]}

    async def use(fleet: FleetEngine) -> None:
        two[0].on(COMPLETIONS, answer({"error": {"message": "oh"}}, 500))
        two[0].on(LIST, answer(other))
        for _ in range(replicas.FAILURES):
            await written(fleet)
        two[0].replies[COMPLETIONS] = Model(two[0])
        await until(lambda: "differ in their name: m and other" in caplog.text)
        await asyncio.sleep(3 * replicas.PERIOD)
        assert in_use(fleet) == [False, True]
        assert caplog.text.count("differ in their name") == 1  # told once

    using(use, *two)


# --- opening and closing --------------------------------------------------------------------


def test_none_that_can_be_reached_is_an_error() -> None:
    places = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    with pytest.raises(ServerDown) as caught:
        asyncio.run(open_fleet(parse_spec(",".join(f"{place}/v1" for place in places))))
    assert all(place in str(caught.value) for place in places)


def test_what_will_never_work_is_told_at_once(two: tuple[FakeServer, FakeServer]) -> None:
    two[1].on(COMPLETIONS, html())
    with pytest.raises(ServerNonsense):
        using(nothing, *two)
    with pytest.raises(SpecError, match="no option"):
        asyncio.run(open_engine_async(f"{two[0].url},{two[1].url}?colour=red"))


async def nothing(fleet: FleetEngine) -> None:
    pass


def vllm(server: FakeServer, ids: list[int], **more: Any) -> None:
    served = {"id": "m", "owned_by": "vllm", **more}
    server.on(LIST, answer({"data": [served]}))
    server.on("/tokenize", answer({"tokens": ids}))


def test_servers_of_different_models_are_refused(two: tuple[FakeServer, FakeServer]) -> None:
    two[1].on(LIST, answer({"data": [{"id": "other"}]}))
    with pytest.raises(SpecError, match="differ in their name: m and other"):
        using(nothing, *two)
    vllm(two[0], [1, 2])
    two[1].on(LIST, answer(MODELS))
    with pytest.raises(SpecError, match="differ in their kind: vllm and openai"):
        using(nothing, *two)
    vllm(two[1], [1, 3])
    with pytest.raises(SpecError, match="differ in their tokenizer"):
        using(nothing, *two)
    vllm(two[1], [1, 2])
    using(nothing, *two)


def test_a_fleet_can_do_what_all_of_it_can(two: tuple[FakeServer, FakeServer]) -> None:
    vllm(two[0], [1, 2], max_model_len=4096)
    vllm(two[1], [1, 2], max_model_len=2048)

    async def use(fleet: FleetEngine) -> None:
        can = fleet.capabilities
        assert (can.kind, can.n_ctx, can.concurrency, can.gate) == ("vllm", 2048, 32, False)
        assert can.tokenizer
        assert await fleet.ids(PROMPT) == [1, 2]
        assert await fleet.count(PROMPT) == 2

    using(use, *two)


def test_a_closed_fleet_says_so(two: tuple[FakeServer, FakeServer]) -> None:
    async def use(fleet: FleetEngine) -> None:
        two[0].replies[COMPLETIONS] = Model(two[0], stalled(1))
        begun = fleet.stream(PROMPT, b"", N, Want())
        await anext(begun)
        await fleet.aclose()
        for going_on in (begun, fleet.stream(PROMPT, b"", N, Want())):
            with pytest.raises(ModelError, match="closed"):
                async for _ in going_on:
                    pass

    using(use, *two)


def test_a_fleet_serves_several_event_loops(two: tuple[FakeServer, FakeServer]) -> None:
    fleet = asyncio.run(open_fleet(parse_spec(",".join(server.url for server in two))))
    for _ in range(3):
        assert joined(asyncio.run(written(fleet))) == undisturbed()
    two[0].on(COMPLETIONS, answer({"error": {"message": "oh"}}, 500))
    for _ in range(3):
        assert joined(asyncio.run(written(fleet))) == undisturbed()
    assert in_use(fleet) == [False, True]
    asyncio.run(fleet.aclose())


def test_the_fake_server_forgets_nobody_whom_it_has_just_let_in() -> None:
    """Fleets look at their servers all the time, also while those of a test end."""
    for _ in range(30):
        with FakeServer() as server:
            place = server.url.removeprefix("http://").removesuffix("/v1").split(":")
            asking = socket.create_connection((place[0], int(place[1])))
        asking.close()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        gc.collect()
    assert [str(warning.message) for warning in told] == []
