"""Toy models for property tests: pseudo-random distributions and tokenizers, exactly repeatable."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import AsyncGenerator, Sequence

import numpy as np

from nudging.engines.base import Engine, Want
from nudging.engines.local.logits import Logits
from nudging.engines.local.runtime import Runtime
from nudging.engines.local.vocabulary import Tokenizer
from nudging.engines.scripted import Distribution, ScriptedEngine
from nudging.prompts.chat import Message, Prompt
from nudging.values.tokens import Candidate, Step
from nudging.values.variables import NONE, Variables

WORDS = [
    " the",
    " a",
    "na",
    "\n",
    ". ",
    " é",
    "東",
    " 👩‍🚀",
    "1. ",
    " ",
    "  ",
    "x",
    ".",
    "\n\n",
    "e\u0301",
]
UNSPACED = ["ที่", "นี้", "ส", "วัส", "သည်", "ខ្មែ", "ﾊﾞ", "བོ", "東", "🇫🇷", "👩🏽", "/x", "a", " ", "\n"]
"""Words of scripts without spaces."""


def _random(key: str, count: int) -> list[float]:
    digest = hashlib.blake2b(key.encode(), digest_size=4 * count).digest()
    return [int.from_bytes(digest[4 * i : 4 * i + 4]) / 2**32 for i in range(count)]


def random_engine(seed: int, *, end: float = 0.05, sharp: float = 6.0) -> ScriptedEngine:
    """A model over a handful of texts whose next token depends on all of the text so far."""

    def following(prompt: str, text: bytes) -> Distribution:
        numbers = _random(f"{seed}/{prompt}/{text!r}", 7)
        weights = [1e-3 + n**sharp for n in numbers[:5]]
        texts = [WORDS[int(n * 1e6) % len(WORDS)].encode() for n in numbers[:5]]
        merged: dict[bytes, float] = {}
        for word, weight in zip(texts, weights, strict=True):
            merged[word] = merged.get(word, 0.0) + weight
        if numbers[5] < end * 4:
            merged[b""] = numbers[6] * sum(merged.values())
        total = sum(merged.values())
        return [Candidate(word, weight / total) for word, weight in merged.items()]

    return ScriptedEngine(following)


def looping_engine(seed: int) -> ScriptedEngine:
    """A model that says a few sentences over and over, now and then in another order."""
    numbers = _random(f"loop{seed}", 12)
    lines = [
        " ".join(WORDS[int(n * 1e6 + k) % 6].strip() or "so" for k in range(2 + int(n * 9))) + end
        for n, end in zip(numbers, [". ", "\n", " and ", ".\n\n"] * 3, strict=True)
    ]
    lines = lines[: 1 + seed % 4]

    def following(prompt: str, text: bytes) -> Distribution:
        whole = "".join(lines * 40).encode()
        turn = _random(f"{seed}/{len(text)}", 2)
        at = len(text) % len(whole) if turn[0] < 0.97 else int(turn[1] * len(whole))
        rest = whole[at : at + 12].decode(errors="ignore").lstrip("\ufffd") or "x"
        return [Candidate(rest[: 1 + int(turn[1] * 5)].encode(), 0.3 + 0.6 * turn[1])]

    return ScriptedEngine(following)


class Prefetching(Engine):
    """Another engine, asked for tokens in blocks ahead of need, as a chunked client would."""

    def __init__(self, inner: Engine, block: int) -> None:
        self.spec, self.capabilities = inner.spec, inner.capabilities
        self._inner, self._block = inner, block

    async def stream(
        self, prompt: Prompt, start: bytes, n: int, want: Want
    ) -> AsyncGenerator[Step, None]:
        steps = self._inner.stream(prompt, start, n, want)
        try:
            while True:
                block: list[Step] = []
                while len(block) < self._block and (step := await anext(steps, None)) is not None:
                    block.append(step)
                for step in block:
                    yield step
                if len(block) < self._block:
                    return
        finally:
            await steps.aclose()

    async def count(self, prompt: Prompt) -> int | None:
        return await self._inner.count(prompt)

    async def render(self, messages: Sequence[Message], variables: Variables = NONE) -> Prompt:
        return await self._inner.render(messages, variables)


class ToyRuntime(Runtime, Tokenizer):
    """A model on ids: all bytes and some random merges as vocabulary, logits by a hash of the ids.

    `can_cut`: whether its cache can go back. The answers must not depend on it.
    """

    kind = "toy"
    cores: int | None = 0  # so passes of both models are made at the same time
    controls: tuple[str, ...] = ("<|end|>", "<|user|>")
    template: str | None = "{% for m in messages %}<|user|>{{ m.content }}{% endfor %}<|end|>"

    def __init__(
        self,
        seed: int,
        *,
        can_cut: bool = True,
        n_ctx: int = 4000,
        words: Sequence[str] = WORDS,
    ) -> None:
        self.n_ctx = n_ctx
        self.tokenizer = self
        self._seed, self._can_cut = seed, can_cut
        self.rewinds = can_cut
        self._words = words
        merges = [w.encode() for w in words] + [
            w.encode()[int(n * 3) :] or b"q"
            for w, n in zip(words, _random(f"m{seed}", 15), strict=True)
        ]
        self._pieces = [bytes([i]) for i in range(256)] + sorted(set(merges))
        self._first_control = len(self._pieces)
        self.size = self._first_control + len(self.controls)
        self.ends = list(range(self._first_control, self.size))
        self._ids = {p: i for i, p in reversed(list(enumerate(self._pieces)))}
        self._lengths = [
            sorted({len(p) for p in self._pieces if p[0] == first}, reverse=True)
            for first in range(256)
        ]
        self.cache: list[int] = []
        self.computed = 0

    def tokenize(self, text: str, *, controls: bool, begin: bool) -> list[int]:
        ids, data = [], text.encode()
        marks = {c.encode(): self._first_control + i for i, c in enumerate(self.controls)}
        while data:
            mark = next((m for m in marks if controls and data.startswith(m)), None)
            if mark is not None:
                ids.append(marks[mark])
                data = data[len(mark) :]
                continue
            piece = next(data[:k] for k in self._lengths[data[0]] if data[:k] in self._ids)
            ids.append(self._ids[piece])
            data = data[len(piece) :]
        return ids

    def piece(self, id: int) -> bytes:
        return self._pieces[id] if id < self._first_control else b""

    def name(self, id: int) -> str:
        return self.controls[id - self._first_control]

    def is_end(self, id: int) -> bool:
        return id >= self._first_control

    def forward(self, ids: Sequence[int], rows: int, slot: int = 0) -> Logits:
        self.cache.extend(ids)
        self.computed += len(ids)
        return np.stack([self._logits(len(self.cache) - rows + 1 + i) for i in range(rows)])

    def _logits(self, length: int) -> Logits:
        rng = np.random.default_rng([self._seed, *self.cache[:length]])
        logits = np.full(self.size, -9.0, np.float32)
        merged = rng.integers(256, len(logits), 6)
        logits[merged] = rng.normal(0, 2.5, 6)
        logits[rng.integers(0, 256, 2)] = rng.normal(-1, 2.5, 2)  # bytes that break characters
        return logits

    def cut(self, length: int, slot: int = 0) -> int:
        if length < len(self.cache) and not self._can_cut:
            length = 0
        del self.cache[length:]
        return length

    def close(self) -> None:
        self.cache.clear()


class EchoRuntime(ToyRuntime):
    """A toy whose next words are a function of the text alone, whatever tokens it is made of, so
    that two of them with vocabularies of their own can agree: in `agreement` of all places."""

    def __init__(
        self,
        seed: int,
        plan: int,
        *,
        agreement: float = 1.0,
        slots: int = 1,
        end: float = 0.0,
        words: Sequence[str] = WORDS,
    ) -> None:
        super().__init__(seed, words=words)
        self._plan, self._agreement, self._end = plan, agreement, end
        self._rows: dict[bytes, Logits] = {}
        self.most_slots = slots
        self.caches: list[list[int]] = [self.cache]
        self.passes = 0

    def forward(self, ids: Sequence[int], rows: int, slot: int = 0) -> Logits:
        self.cache = self.caches[slot]
        self.passes += 1
        return super().forward(ids, rows)

    def cut(self, length: int, slot: int = 0) -> int:
        self.cache = self.caches[slot]
        return super().cut(length)

    def copy(self, source: int, target: int, length: int) -> int:
        self.caches[target][:] = self.caches[source][:length]
        return length

    def grow(self, slots: int) -> bool:
        self.caches += [[] for _ in range(slots - len(self.caches))]
        self.slots = slots
        return True

    def _logits(self, length: int) -> Logits:
        tail = b"".join(map(self.piece, self.cache[max(0, length - 20) : length]))[-7:]
        if tail not in self._rows:
            self._rows[tail] = self._row(tail)
        return self._rows[tail]

    def _row(self, tail: bytes) -> Logits:
        own = _random(f"{self._seed}/{tail!r}", 4)
        plan = self._plan if own[0] < self._agreement else self._seed + 1
        numbers = _random(f"plan{plan}/{tail!r}", 5)
        coming = "".join(self._words[int(n * 1e6) % 15] for n in numbers[:3]).encode()
        logits = np.full(self.size, -6.0, np.float32)
        for number, piece in enumerate(self._pieces):
            if coming.startswith(piece):
                logits[number] = len(piece) * (0.2 + numbers[3])
            elif piece[0] % 7 == int(numbers[4] * 7):
                logits[number] = own[1] * 2 - 2
        if numbers[4] < self._end:
            logits[self._first_control] = 4.0
        return logits


def writing_engine(tokens: Sequence[bytes], *, doubtful: Sequence[int] = ()) -> ScriptedEngine:
    """A model that writes one text in such tokens and ends; from inside of one, it writes the
    rest of it. Sure of each (0.9), but not where `doubtful` (0.2), lengths of the text so far."""
    whole = b"".join(tokens)
    ends = list(itertools.accumulate(map(len, tokens)))

    def following(prompt: str, text: bytes) -> Distribution:
        assert whole.startswith(text)
        end = next((end for end in ends if end > len(text)), None)
        if end is None:
            return [Candidate(b"", 0.9), Candidate(b" um", 0.05)]
        sure = 0.2 if len(text) in doubtful else 0.9
        return [Candidate(whole[len(text) : end], sure), Candidate(b" um", 0.05)]

    return ScriptedEngine(following)
