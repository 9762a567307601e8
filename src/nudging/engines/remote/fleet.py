"""Several servers of one model as one engine: `http://A/v1#M,http://B/v1#M`.

An answer stays at one server, whose cache holds its text: at the one that had the conversation so
far, or at one with less to do (`replicas.py`). Where that fails, another goes on from the text so
far, in the middle of a stream as well: that is what streams are, and so a greedy text is what it
would have been after a handover at that place. A sampled one is as likely as any, but servers draw
by the place where a request begins, so it is not the one that the seed alone would have given.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

from ...errors import ModelError, NudgingError, ServerError, ServerRefused, SpecError
from ...prompts.chat import Message, Part, Prompt
from ...values.tokens import Step
from ...values.variables import NONE, Variables
from ..base import Capabilities, Engine, Want
from ..spec import Spec, parse_spec
from .http_client import concurrency_of, pause, retries_of
from .remote_engine import RemoteEngine, open_remote
from .replicas import Assignment, Replica, ReplicaSet, open_all

T = TypeVar("T")
SILENCE = "20"
"""Seconds until a server that says nothing is given up, unless its spec says."""
SAMPLE = Prompt((Part("Tokenizers part here: naïve 東京 1234 'tis\n\n\tif x != y:", literal=True),))
_NOT_THERE = (401, 403, 404)
"""What a server says no to whatever it is asked, and another may not."""


class FleetEngine(Engine):
    """Open it with `open_fleet`."""

    def __init__(
        self,
        spec: str,
        capabilities: Capabilities,
        replicas: ReplicaSet,
        retries: int,
        assignment: Assignment | None = None,
    ) -> None:
        """`retries`: how often all of them are tried again. `assignment`: of the one answer that
        this engine is for; None before there is one."""
        self.spec, self.capabilities = spec, capabilities
        self.replicas = replicas
        self._retries, self._assignment = retries, assignment

    async def stream(
        self, prompt: Prompt, start: bytes, n: int, want: Want
    ) -> AsyncGenerator[Step, None]:
        with self._failover() as failover:
            given = 0
            while given < n:
                replica, engine = await failover.next()
                try:
                    steps = engine.stream(prompt, start, n - given, want)
                    async with aclosing(steps):
                        async for step in steps:
                            failover.went_well(replica)
                            given += 1
                            start += step.text
                            yield step
                    return
                except NudgingError as error:
                    await failover.failed(replica, engine, error)

    @asynccontextmanager
    async def permit(self, head: str = "") -> AsyncIterator[Engine]:
        with self.replicas.assign(head) as assignment:
            async with AsyncExitStack() as held:
                engine = assignment.replica.engine if assignment.replica else None
                if engine is not None:
                    with suppress(ModelError):  # it has just been put out of use
                        await held.enter_async_context(engine.permit())
                yield FleetEngine(
                    self.spec, self.capabilities, self.replicas, self._retries, assignment
                )

    async def count(self, prompt: Prompt) -> int | None:
        return await self._ask(lambda engine: engine.count(prompt))

    async def ids(self, prompt: Prompt) -> list[int]:
        return await self._ask(lambda engine: engine.ids(prompt))

    async def text_of(self, ids: Sequence[int]) -> str:
        return await self._ask(lambda engine: engine.text_of(ids))

    async def tokenizer_info(self) -> dict[str, Any]:
        return await self._ask(lambda engine: engine.tokenizer_info())

    async def render(self, messages: Sequence[Message], variables: Variables = NONE) -> Prompt:
        return await self._ask(lambda engine: engine.render(messages, variables))

    def up(self) -> int:
        return sum(replica.engine is not None for replica in self.replicas)

    async def aclose(self) -> None:
        await self.replicas.close()

    async def _ask(self, job: Callable[[Engine], Awaitable[T]]) -> T:
        with self._failover() as failover:
            while True:
                replica, engine = await failover.next()
                try:
                    return await job(engine)
                except NudgingError as error:
                    await failover.failed(replica, engine, error)

    @contextmanager
    def _failover(self) -> Iterator[_Failover]:
        if self._assignment is not None:
            yield _Failover(self.replicas, self._assignment, self._retries)
        else:
            with self.replicas.assign() as assignment:
                yield _Failover(self.replicas, assignment, self._retries)


class _Failover:
    """The servers that one request goes to: where its answer is, and where they fail the others."""

    def __init__(self, replicas: ReplicaSet, assignment: Assignment, retries: int) -> None:
        self._replicas, self._assignment, self._retries = replicas, assignment, retries
        self._tried: set[Replica] = set()
        self._pauses = 0
        self._error: NudgingError | None = None

    async def next(self) -> tuple[Replica, Engine]:
        """Whose turn it is; after a pause the first one's again."""
        while True:
            replica = self._assignment.replica
            if replica is None or replica.engine is None or replica in self._tried:
                replica = self._replicas.least(self._tried)
                self._assignment.move(replica)
            engine = replica.engine if replica else None
            if replica is not None and engine is not None:
                return replica, engine
            error = self._replicas.problem(self._error)
            if self._pauses >= self._retries or not error.retryable:
                raise error
            await pause(self._pauses, error)
            self._pauses += 1
            self._tried.clear()

    async def failed(self, replica: Replica, engine: Engine, error: NudgingError) -> None:
        """Note it. Raises it where the next one would say the same."""
        refused = isinstance(error, ServerRefused) and error.code not in _NOT_THERE
        closed = type(error) is ModelError and replica.engine is not engine
        if refused or not (closed or isinstance(error, ServerError)):
            raise error
        self._tried.add(replica)
        if not closed and (self._error is None or error.retryable):
            self._error = error  # where one may do better next time, that is what counts
        await replica.fail(engine, error)

    def went_well(self, replica: Replica) -> None:
        replica.works()
        if self._error is not None:
            self._tried.clear()
            self._pauses, self._error = 0, None


# --- opening --------------------------------------------------------------------------------


class _ServedIdentity(NamedTuple):
    """What servers of one model have in common."""

    name: str
    kind: str
    probabilities: bool | None
    tokenizer: list[int] | None
    """What it makes of a text, where it tells."""


async def _model_of(engine: Engine) -> _ServedIdentity:
    assert isinstance(engine, RemoteEngine)
    can = engine.capabilities
    name = parse_spec(engine.spec).model or engine.model
    return _ServedIdentity(
        name, can.kind, can.raw, await engine.ids(SAMPLE) if can.tokenizer else None
    )


def _compare(first: str, model: _ServedIdentity, other: str, found: _ServedIdentity) -> None:
    """Refuse another model than the first's."""
    for what, one, two in zip(_ServedIdentity._fields, model, found, strict=True):
        if one != two:
            told = "" if what == "tokenizer" else f": {one} and {two}"
            raise SpecError(
                f"{first} and {other} differ in their {what}{told}",
                hint="servers that share the work of one model must all serve the same",
            )


def _common(found: Sequence[Capabilities], concurrency: int) -> Capabilities:
    """What all can do."""
    limits = [can.n_ctx for can in found if can.n_ctx is not None]
    gates = [can.gate for can in found]
    return replace(
        found[0],
        max_top_k=min(can.max_top_k for can in found),
        gate=None if None in gates else all(gates),
        concurrency=concurrency,
        n_ctx=min(limits, default=None),
        notes=tuple(dict.fromkeys(note for can in found for note in can.notes)),
    )


def _one_of_several(spec: Spec) -> Spec:
    """What fails is tried at another server, and not again at the same. Where there is another, one
    that says nothing is waited for less long: an answer must have time to go on elsewhere."""
    return spec._replace(options={"timeout": SILENCE, **spec.options, "retries": "0"})


async def open_fleet(spec: Spec) -> FleetEngine:
    """The engine for several servers. Those that can be reached must be of one model; the others
    join them when they are there, if they are."""
    replicas = [
        Replica(one.text, concurrency_of(one), partial(open_remote, _one_of_several(one)))
        for one in spec.replicas
    ]
    found = ReplicaSet(replicas)
    concurrency = sum(map(concurrency_of, spec.replicas))
    try:
        await open_all(replicas)
        engines = [replica.engine for replica in replicas if replica.engine is not None]
        models = [await _model_of(engine) for engine in engines]
        for engine, model in zip(engines, models, strict=True):
            _compare(engines[0].spec, models[0], engine.spec, model)
    except BaseException:
        await found.close()
        raise
    known = {engine.spec: engine.capabilities for engine in engines}
    retries = max(map(retries_of, spec.replicas))
    fleet = FleetEngine(spec.text, _common([*known.values()], concurrency), found, retries)

    async def admit(engine: Engine) -> None:
        _compare(engines[0].spec, models[0], engine.spec, await _model_of(engine))
        known[engine.spec] = engine.capabilities
        fleet.capabilities = _common([*known.values()], concurrency)

    found.watch(admit)
    return fleet
