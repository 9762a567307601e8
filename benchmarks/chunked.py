"""Nudging as plain calls of 16 tokens, one for each tested word: how the authors' code works.

What `remote` engines are compared with, in speed and in answers. Every call is sent as the authors
send it (utils.py:120-420), so two runs of it on one server differ by rounding alone. For vLLM's
`/v1/completions` only. Knows nothing of our rule.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple

from nudging.engines.remote.http_client import HttpClient
from nudging.engines.remote.json_checks import table
from nudging.engines.spec import Spec
from nudging.rule.length import counter
from nudging.rule.official import without_repeated_suffix
from nudging.values.tokens import Source

CHUNK = 16
ROUNDS = 150


class Call(NamedTuple):
    """One answer of a server."""

    text: str
    tokens: list[str]
    top1: list[float]
    stopped: bool


class Round(NamedTuple):
    """The nudging words of a round, and the base model's text after them."""

    words: str
    completion: str

    @property
    def text(self) -> str:
        return self.words + self.completion


@dataclass
class Tally:
    calls: int = 0
    tokens: int = 0


class Chunked:
    """The authors' client on two servers. `tally` counts what it asked of each."""

    def __init__(self, base: Spec, nudge: Spec, gamma: float, max_tokens: int) -> None:
        self._specs: dict[Source, Spec] = {"base": base, "nudge": nudge}
        self._gamma, self._max_tokens = gamma, max_tokens
        self._count = counter()
        self._wires = {
            source: HttpClient(spec.path, timeout=600, concurrency=1, retries=0)
            for source, spec in self._specs.items()
        }
        self.tally: dict[Source, Tally] = {"base": Tally(), "nudge": Tally()}

    async def __aenter__(self) -> Chunked:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for wire in self._wires.values():
            await wire.aclose()

    async def answer(self, prompt_base: str, prompt_nudge: str) -> str:
        """The whole answer, trimmed as theirs is."""
        found = [each.text async for each in self.rounds(prompt_base, prompt_nudge)]
        return without_repeated_suffix("".join(found))

    async def rounds(
        self, prompt_base: str, prompt_nudge: str, output: str = ""
    ) -> AsyncGenerator[Round, None]:
        """Round after round, from an answer so far."""
        last, repeats, rounds = "", 0, 0
        while self._count(output) < self._max_tokens and rounds < ROUNDS:
            rounds += 1
            draft = await self._complete("nudge", prompt_nudge + output)
            if draft.stopped:
                if draft.text:
                    yield Round(draft.text, "")
                return
            words, call = await self._takeover(draft.text, prompt_base + output)
            repeats = repeats + 1 if words == last else 0
            last = words
            if repeats >= 3:
                return
            completion = ""
            if call is not None and call.text:
                completion = await self._base_turn(call, prompt_base, output + words)
            output += words + completion
            yield Round(words, completion)

    async def _takeover(self, draft: str, prefix: str) -> tuple[str, Call | None]:
        """The words of a draft that are needed, and the base model's call that takes over."""
        bare = draft.lstrip(" ")
        lead, words = draft[: len(draft) - len(bare)], bare.split(" ")
        for n in range(1, len(words)):
            if not words[n]:
                continue
            text = lead + " ".join(words[:n])
            call = await self._complete("base", prefix + text)
            if (" " + words[n]).startswith(call.tokens[0]) or call.top1[0] >= self._gamma:
                return text, call
        return lead + " ".join(words[: max(1, len(words) - 1)]), None

    async def _base_turn(self, call: Call, prompt: str, output: str) -> str:
        written = call.tokens[0]
        room = self._max_tokens - self._count(output)
        carried = True
        while self._count(written) < room:
            if carried:
                call = Call("".join(call.tokens[1:]), call.tokens[1:], call.top1[1:], False)
            else:
                call = await self._complete("base", prompt + output + written)
            carried = False
            if call.text in written:
                break
            doubt = next((i for i, top1 in enumerate(call.top1) if top1 < self._gamma), None)
            new = "".join(call.tokens[:doubt])
            if len(new.split(" ")) > 5 and new in output + written:
                break
            written += new
            if doubt is not None or call.stopped:
                break
        return written

    async def _complete(self, source: Source, prompt: str) -> Call:
        spec = self._specs[source]
        body: dict[str, Any] = {
            "model": spec.model,
            "prompt": prompt,
            "max_tokens": CHUNK,
            "temperature": 0.0,
            "logprobs": 1,
        }
        if source == "base":
            body["top_p"] = 0.9
        answer = await self._wires[source].post_once("{url}/completions", body)
        choice = table(answer, "the answer")["choices"][0]
        found = choice["logprobs"]
        self.tally[source].calls += 1
        self.tally[source].tokens += len(found["tokens"])
        top1 = [math.exp(max(top.values())) for top in found["top_logprobs"]]
        return Call(choice["text"], found["tokens"], top1, choice["finish_reason"] == "stop")
