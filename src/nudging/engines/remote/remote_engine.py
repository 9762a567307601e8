"""An engine behind HTTP: a model on vLLM, SGLang, llama-server or any completions API.

Streams and hangs up, and tries again before the first step of a stream and never after it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, nullcontext, suppress
from dataclasses import replace
from typing import Any

from ...errors import (
    ContextOverflow,
    InputError,
    ModelError,
    NudgingError,
    ServerError,
    ServerFailed,
    ServerNonsense,
    ServerRefused,
    SpecError,
    TemplateError,
)
from ...prompts.chat import Message, Part, Prompt
from ...prompts.chat_renderer import ChatRenderer
from ...prompts.controls import CONTROL_LIKE, TURN_ENDS
from ...prompts.sandbox import aside
from ...prompts.templates import Shield, named_template, render
from ...values.sampling import GREEDY
from ...values.text import complete
from ...values.tokens import Step
from ...values.variables import NONE, Variables
from ..base import Capabilities, Engine, Want
from ..options import template_variables
from ..spec import Spec
from .answer_reader import HOW_LOGPROBS, NO_LOGPROBS, UNNAMED, ReadStep
from .dialect import (
    CompletionRequest,
    Dialect,
    EarlyStop,
    read_prompt,
    read_tokens,
    request_seed,
)
from .dialects import DIALECTS, find_dialect
from .gate import LEAST
from .http_client import HttpClient, open_client, pause
from .idle_timeout import IdleTimeout
from .model_list import find_model
from .server_tokenizer import ServerTokenizer

_WHOLE = 4  # tokens that complete any character: each holds a byte at least


class RemoteEngine(Engine):
    """One model of one server. Open it with `open_remote`."""

    def __init__(
        self,
        spec: str,
        client: HttpClient,
        dialect: Dialect,
        model: str,
        *,
        template: str | None,
        variables: Variables = NONE,
        n_ctx: int | None,
        release: Callable[[], None] | None = None,
    ) -> None:
        self.spec = spec
        self.model = model
        self._client = client
        self._dialect = dialect
        self._template = template
        self._release = release
        """Ends the engine's own server; to call it twice does no harm."""
        self._stop: int | None = None
        self._tokenizer = ServerTokenizer(spec, model, dialect, client.get, client.post)
        self._controls = self._tokenizer.controls
        begins = template is None and dialect.rendered_begins
        self._renderer = ChatRenderer(
            spec, self._rendered, self._first, variables, add_special=not begins
        )
        self.capabilities = Capabilities(
            kind=dialect.name,
            raw=dialect.raw,
            max_top_k=dialect.max_top_k,
            concurrency=client.concurrency,
            n_ctx=n_ctx,
            tokenizer=dialect.tokenizes,
            notes=dialect.notes,
        )

    def use_gate(self, stop: int | None) -> None:
        """Have the server end greedy streams with this token, if it can."""
        self._stop = stop
        self.capabilities = replace(self.capabilities, gate=stop is not None)

    # --- Engine -----------------------------------------------------------------------------

    async def stream(
        self, prompt: Prompt, start: bytes, n: int, want: Want
    ) -> AsyncGenerator[Step, None]:
        given = attempt = 0
        size = n  # of one request: all, unless the server has refused that
        while given < n:
            request = await self._request(prompt, start, min(size, n - given), want)
            # What a gate ends has not run out: where the model is in no doubt it is begun again.
            before, over, doubted = given, size == n and not request.early_stop, False
            try:
                async with aclosing(self._steps(request, prompt, start, want)) as steps:
                    async for step in steps:
                        if given == n:
                            return
                        given += 1
                        yield step
                        start += step.text
                        over = over or step.is_end or any(complete(step.text)[1:])
                        doubted = request.early_stop is not None and step.top1 < want.stop_below
                if over or doubted or given == before:
                    return
            except ContextOverflow as error:
                if given > before or (start and request.n == 1):
                    return
                if request.n == 1:
                    raise
                # Some servers count what was asked for: there may be room for less.
                room = await self._room(request, error) if size == n else None
                size = request.n // 2 if room is None else max(1, min(room, request.n - 1))
            except ServerError as error:
                if given or not error.retryable or attempt >= self._client.retries:
                    raise
                await pause(attempt, error)
                attempt += 1

    @asynccontextmanager
    async def permit(self, head: str = "") -> AsyncIterator[Engine]:
        # A server in this process lets what is too much for it wait by itself.
        async with nullcontext() if self._release else self._client.permit():
            yield self

    async def count(self, prompt: Prompt) -> int | None:
        if not self._dialect.tokenizes:
            return None
        return len(await self.ids(prompt))

    async def ids(self, prompt: Prompt) -> list[int]:
        return await self._tokenizer.ids(prompt)

    async def text_of(self, ids: Sequence[int]) -> str:
        return await self._tokenizer.text_of(ids)

    async def tokenizer_info(self) -> dict[str, Any]:
        return await self._tokenizer.tokenizer_info()

    async def render(self, messages: Sequence[Message], variables: Variables = NONE) -> Prompt:
        prompt = await self._renderer.prompt(messages, variables)
        if self._dialect.tokenizes:
            # Among candidates, the end shows by its text alone: learn it from the closed turns.
            await self._tokenizer.learn_controls(prompt)
        return prompt

    async def _rendered(
        self, messages: Sequence[Message], variables: Variables
    ) -> tuple[Part, ...]:
        if self._template:
            return await aside(render, self._template, messages, variables=variables)
        shield = await aside(Shield, messages, variables, CONTROL_LIKE)
        texts = [await self._printed(view, shield.variables) for view in shield.views]
        return await aside(shield.parts, texts)

    async def _printed(self, messages: Sequence[Message], variables: Variables) -> str:
        """What the server's own template makes of a conversation."""
        dialect = self._dialect
        call = dialect.render(self.model, messages, variables)
        if call is None:
            raise TemplateError(f"a server of the kind {dialect.name!r} does not tell its template")
        try:
            answer = await self._client.post(*call)
        except ServerRefused as error:
            if error.code in (400, 422):
                what = "the model's chat template does not take this conversation"
                raise InputError(f"{what}: {error}") from None
            raise TemplateError(f"{self.spec} renders no conversation: {error}") from None
        if dialect.renders_ids:
            return await self._tokenizer.text_of(read_tokens(answer))
        return read_prompt(answer)

    async def _first(self, prompt: Prompt) -> str:
        async with aclosing(self.stream(prompt, b"", 1, Want("nudge"))) as steps:
            async for step in steps:
                return step.control or step.text.decode(errors="replace")
        return ""

    async def ping(self) -> None:
        with suppress(ServerRefused):  # who says no is there
            await self._client.get("{url}/models")

    async def aclose(self) -> None:
        await self._client.aclose()
        if self._release:
            self._release()

    # --- streams ----------------------------------------------------------------------------

    async def _steps(
        self, request: CompletionRequest, prompt: Prompt, start: bytes, want: Want
    ) -> AsyncGenerator[Step, None]:
        """One request's steps, and what makes them whole."""
        path, body = self._dialect.complete(request)
        reader = self._dialect.reader(request, self._controls)
        reader.expect(request.n)
        idle = self._client.idle_timeout()
        written = start
        try:
            async with aclosing(self._events(path, body, request, idle)) as events:
                async for event in events:
                    told = reader.feed(event)
                    if reader.finished:  # what is left ends the stream: hang up on nothing
                        told += [f async for more in events for f in reader.feed(more)]
                    for found in told:
                        step = await self._seen(found, prompt, written, want)
                        yield step
                        written += step.text
                        if step.is_end or any(complete(step.text)[1:]):
                            return  # after bytes that are no character nothing can follow
                        idle.renew()
            if not reader.finished:
                raise ServerFailed("the server's answer broke off")
        finally:
            abort = self._dialect.abort(request.id)
            if abort and request.stream and not reader.finished:
                with suppress(NudgingError, TimeoutError):
                    async with asyncio.timeout(1):
                        await self._client.post_once(*abort)
        if reader.held:
            # What a gate holds back is most often a tie of whole tokens.
            rest = await self._character(prompt, written, want, 1) if request.early_stop else None
            rest = rest or await self._character(prompt, written, want, _WHOLE) or reader.flush()
            if rest:
                yield await self._seen(rest, prompt, written, want)

    async def _room(self, request: CompletionRequest, error: ContextOverflow) -> int | None:
        """Tokens that there is room for where `request` was refused; None if that is not known."""
        if not (limit := error.limit or self.capabilities.n_ctx):
            return None
        with suppress(ModelError, ServerError):  # it has no tokeniser, or does not show it
            if isinstance(ids := request.prompt, str):
                ids = await self._tokenizer.tokenize(ids, begin=request.add_special, controls=True)
            return limit - len(ids)
        # What is more than the limit may be the sum with what was asked for.
        room = limit - error.tokens + (request.n if error.tokens >= limit else 0)
        return room if error.tokens else None

    async def _events(
        self, path: str, body: object, request: CompletionRequest, idle: IdleTimeout
    ) -> AsyncGenerator[object, None]:
        if not request.stream:
            yield await self._client.post_once(path, body)
            return
        async with aclosing(self._client.events(path, body, request.id, idle)) as events:
            async for event in events:
                yield event

    async def _character(self, prompt: Prompt, at: bytes, want: Want, n: int) -> ReadStep | None:
        """What begins at a place, if it is whole after `n` tokens."""
        request = await self._request(prompt, at, n, want, stream=False)
        answer = await self._client.post_once(*self._dialect.complete(request))
        reader = self._dialect.reader(request, self._controls)
        reader.expect(request.n)
        return next(iter(reader.feed(answer)), None)

    async def _seen(self, found: ReadStep, prompt: Prompt, at: bytes, want: Want) -> Step:
        """The step, with its distribution and its name fetched where the server kept them back."""
        if found.step.control == UNNAMED and found.step.id is not None:
            name = await self.text_of([found.step.id])
            return replace(found.step, control="" if name in TURN_ENDS else name or UNNAMED)
        if not found.blind or not self._dialect.looks:
            return found.step
        look = self._dialect.look(await self._request(prompt, at, 1, want))
        top = self._dialect.read_look(await self._client.post_once(*look))
        prob = top[0].prob if want.sampling.greedy else None
        return replace(found.step, top=top, prob=prob)

    async def _request(
        self, prompt: Prompt, start: bytes, n: int, want: Want, *, stream: bool | None = None
    ) -> CompletionRequest:
        streamed = n > 1 if stream is None else stream
        gate = None
        if self._stop is not None and streamed and want.stop_below > 0 and want.sampling.greedy:
            gate = EarlyStop(self._stop, want.stop_below)
        return CompletionRequest(
            model=self.model,
            prompt=await self._tokenizer.encode(prompt, start),
            add_special=prompt.add_special,
            n=n,
            top=max(LEAST if gate else 1, min(want.top_k, self._dialect.max_top_k)),
            # servers refuse the top_p of 0 that is greedy here
            sampling=GREEDY if want.sampling.greedy else want.sampling,
            seed=request_seed(want.sampling, want.source, len(start)),
            stream=streamed,
            id=secrets.token_hex(8),
            early_stop=gate,
        )


# --- opening --------------------------------------------------------------------------------


async def open_remote(spec: Spec, *, release: Callable[[], None] | None = None) -> RemoteEngine:
    """The engine for `http://HOST:PORT/v1#MODEL?dialect=...`, checked with one token.

    `release` ends a server that is the engine's own; closing twice calls it twice.
    """
    forced = spec.options.get("dialect")
    if forced is not None and forced not in DIALECTS:
        raise SpecError(f"there is no dialect {forced!r}", hint=f"there are {', '.join(DIALECTS)}")
    template = spec.options.get("template")
    client = open_client(spec)
    try:
        served = await find_model(client.get, spec)
        dialect = DIALECTS[forced] if forced else await find_dialect(client.get, served.owner)
        n_ctx = served.n_ctx or await dialect.find_n_ctx(client.get)
        engine = RemoteEngine(
            spec.text,
            client,
            dialect,
            served.name,
            template=named_template(template) if template else None,
            variables=template_variables(spec.options),
            n_ctx=n_ctx,
            release=release,
        )
        await _check(engine)
        if dialect.may_have_gate:
            engine.use_gate(await dialect.find_gate(client.post, served.name))
    except BaseException:
        await client.aclose()
        raise
    return engine


async def _check(engine: RemoteEngine) -> None:
    """Ask for one token: nothing works without its log-probabilities."""
    try:
        steps = engine.stream(Prompt((Part("Hello", literal=True),)), b"", 1, Want())
        async with aclosing(steps):
            found = [step async for step in steps]
    except (ServerNonsense, ServerRefused) as error:
        if "logprob" in str(error):
            raise ServerNonsense(f"{NO_LOGPROBS}: {error}", hint=HOW_LOGPROBS) from None
        raise
    if not found or (found[0].prob is None and not found[0].is_end):
        raise ServerNonsense(NO_LOGPROBS, hint=HOW_LOGPROBS)
