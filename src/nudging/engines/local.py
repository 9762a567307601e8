"""What every engine with logits shares: ids, seams, the cache, the distribution, the draw.

A runtime (`llama.py`, `hf.py`) only tokenises, runs the model forward over ids, and cuts its cache.
The ids of a stream are those of the whole text, tokenised afresh where the stream begins, then
the model's own. The cache keeps the longest common prefix of what it holds and what is needed.
Knows no rule, and no other model.
"""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt

from ..chat import Message, Part, Prompt, named_template, render
from ..errors import ContextOverflow, ModelError, TemplateError
from ..sampling import Sampling, uniform
from ..text import common_prefix
from ..tokens import Candidate, Step
from .base import Capabilities, Engine, Want

Row = npt.NDArray[np.float32]
P = ParamSpec("P")
T = TypeVar("T")


class Runtime(ABC):
    """One model in memory with one cache. Called from one thread only, the engine's own."""

    kind: str
    n_ctx: int
    """Most ids that the cache can hold."""
    controls: Sequence[str] = ()
    """The vocabulary's control tokens as they are written in templates."""
    template: str | None = None
    """The model's own chat template (Jinja), if it brings one."""
    template_tokens: Mapping[str, str] = {}
    """`bos_token` and `eos_token`, for the template."""
    ends: Collection[int] = ()
    """Ids by which the model ends its turn; control tokens need not be named."""
    notes: tuple[str, ...] = ()

    @abstractmethod
    def tokenize(self, text: str, *, controls: bool, begin: bool) -> list[int]:
        """Ids of `text`. `controls`: control tokens in it are read as such. `begin`: it is the
        beginning of the input, so a begin-of-text token goes first if the vocabulary wants one;
        where it is not, nothing (no id and no space) is added."""

    @abstractmethod
    def piece(self, id: int) -> bytes:
        """The bytes of a token; empty for control tokens."""

    @abstractmethod
    def is_end(self, id: int) -> bool:
        """Whether the model ends its turn by this token. Every control token counts."""

    @abstractmethod
    def forward(self, ids: Sequence[int], rows: int) -> Row:
        """Append `ids` to the cache. Logits of the last `rows` of them, shape (rows, vocabulary);
        may be a view that the next call overwrites. If it raises, the cache is empty."""

    @abstractmethod
    def cut(self, length: int) -> int:
        """Keep the first `length` ids of the cache, or fewer if the model can't go back so far.
        The number kept."""

    @abstractmethod
    def close(self) -> None: ...


class LocalEngine(Engine):
    """A runtime as an engine: one worker thread, one cache, streams that take turns on it."""

    def __init__(self, spec: str, runtime: Runtime, *, template: str | None = None) -> None:
        self.spec = spec
        self._runtime = runtime
        self._own_template = template is None
        self._template = named_template(template) if template else runtime.template
        self._ends = np.array(sorted(runtime.ends), dtype=np.intp)
        self._held: list[int] = []
        """Ids that the cache holds."""
        self._worker = ThreadPoolExecutor(1, thread_name_prefix=spec)
        self._closed = False
        found = sorted(filter(None, runtime.controls), key=len, reverse=True)
        self._controls = re.compile("|".join(map(re.escape, found)) or r"(?!)")
        self.capabilities = Capabilities(
            kind=runtime.kind,
            entropy=True,
            keyed_draws=True,
            n_ctx=runtime.n_ctx,
            notes=runtime.notes,
        )

    # --- Engine -----------------------------------------------------------------------------

    async def stream(
        self, prompt: Prompt, start: bytes, n: int, want: Want
    ) -> AsyncGenerator[Step, None]:
        ids = await self._run(self._ids, prompt, start.decode())
        if len(ids) >= self._runtime.n_ctx and not start:
            raise self._overflow(len(ids))
        position = len(start)
        for _ in range(min(n, self._runtime.n_ctx - len(ids))):
            step = await self._run(self._step, ids, position, want)
            yield step
            if step.is_end or step.id is None:
                return
            ids.append(step.id)
            position += len(step.text)

    async def count(self, prompt: Prompt) -> int:
        return len(await self._run(self._ids, prompt, ""))

    async def render(self, messages: Sequence[Message]) -> Prompt:
        if self._template is None:
            raise TemplateError(f"{self.spec} brings no chat template")
        tokens = self._runtime.template_tokens if self._own_template else {}
        parts = render(self._template, messages, controls=self._controls, tokens=tokens)
        return Prompt(parts, add_special=not self._own_template)

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._worker, self._runtime.close)
            self._worker.shutdown()

    # --- in the worker thread ---------------------------------------------------------------

    async def _run(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._closed:
            raise ModelError(f"{self.spec} is closed")
        return await asyncio.get_running_loop().run_in_executor(
            self._worker, lambda: job(*args, **kwargs)
        )

    def _ids(self, prompt: Prompt, start: str) -> list[int]:
        """Ids of the prompt and the answer so far. Control tokens count only where they are not
        literal, so the text is divided around those that are."""
        ids: list[int] = []
        plain = ""

        def add(text: str, controls: bool) -> None:
            if text:
                begin = prompt.add_special and not ids
                ids.extend(self._runtime.tokenize(text, controls=controls, begin=begin))

        for part in (*prompt.parts, Part(start, literal=True)):
            if part.text and self._ends_in_control(plain):
                # Some vocabularies put a space after a control token; the answer has its own.
                add(plain, controls=True)
                plain = ""
            if not part.literal:
                plain += part.text
                continue
            rest = 0
            for found in self._controls.finditer(part.text):
                add(plain + part.text[rest : found.start()], controls=True)
                add(found[0], controls=False)
                plain, rest = "", found.end()
            plain += part.text[rest:]
        if plain and plain[-1].isspace():
            # At the very end, some vocabularies (GPT-2's) read white space otherwise than before
            # a word, and their models then go on with more of it: so it is read before one.
            before = len(ids)
            add(plain + "a", controls=True)
            if self._runtime.piece(ids[-1]) == b"a":
                return ids[:-1]
            del ids[before:]
        add(plain, controls=True)
        return ids

    def _ends_in_control(self, text: str) -> bool:
        tail = text[-64:]
        return any(found.end() == len(tail) for found in self._controls.finditer(tail))

    def _step(self, ids: list[int], position: int, want: Want) -> Step:
        if len(ids) > self._runtime.n_ctx:
            raise self._overflow(len(ids))
        keep = min(common_prefix(self._held, ids), len(ids) - 1)
        if keep < len(self._held):
            keep = self._runtime.cut(keep)
            del self._held[keep:]
        # What a forward pass half done would leave in the cache is unknown: nothing is held
        # until it has returned.
        held, self._held = self._held, []
        logits = self._runtime.forward(ids[keep:], 1)[0]
        held.extend(ids[keep:])
        self._held = held
        return self._describe(logits, position, want)

    def _overflow(self, tokens: int) -> ContextOverflow:
        limit = self._runtime.n_ctx
        return ContextOverflow(
            f"the text has {tokens} tokens, and {self.spec} holds {limit}",
            tokens=tokens,
            limit=limit,
        )

    def _describe(self, logits: Row, position: int, want: Want) -> Step:
        """The step that a row of logits amounts to."""
        best = int(logits.argmax())
        high = logits[best]
        if not np.isfinite(high):
            raise ModelError(f"{self.spec} computed logits that are not numbers")
        weights = np.subtract(logits, high, dtype=np.float32)
        np.exp(weights, out=weights)
        total = float(weights.sum(dtype=np.float64))
        entropy = None
        if want.entropy:
            likely = weights > 0
            below = logits[likely].astype(np.float64) - float(high)
            entropy = max(0.0, float(np.log(total)) - float(weights[likely] @ below) / total)
        if want.sampling.greedy:
            chosen = best
        else:
            number = uniform(want.sampling.seed, want.source, position)
            chosen = draw_row(weights, want.sampling, number)
        prob = float(weights[chosen]) / total
        end = float(weights[self._ends].sum()) / total
        top = []
        for _ in range(min(want.top_k, len(weights))):
            top.append(Candidate(self._runtime.piece(best), float(weights[best]) / total))
            weights[best] = -1.0
            best = int(weights.argmax())
        text = self._runtime.piece(chosen)
        is_end = self._runtime.is_end(chosen) or not text
        return Step(
            b"" if is_end else text, tuple(top), prob, is_end, end=end, entropy=entropy, id=chosen
        )


def draw_row(weights: Row, sampling: Sampling, number: float) -> int:
    """`sampling.draw` for a whole vocabulary: the same set of tokens, the same order."""
    tempered = weights.astype(np.float64) ** (1 / sampling.temperature)
    kept = np.flatnonzero(tempered > 0)
    high = tempered.max()
    if sampling.top_k and sampling.top_k < len(kept):
        order = np.lexsort((kept, -tempered[kept]))
        kept = kept[order[: sampling.top_k]]
    if sampling.top_p < 1:
        order = np.lexsort((kept, -tempered[kept]))
        kept = kept[order]
        mass = np.cumsum(tempered[kept])
        kept = kept[: int(np.searchsorted(mass, sampling.top_p * mass[-1], side="left")) + 1]
    kept = np.sort(kept[tempered[kept] >= sampling.min_p * high])
    reached = np.cumsum(tempered[kept])
    place = int(np.searchsorted(reached, number * reached[-1], side="right"))
    return int(kept[min(place, len(kept) - 1)])
