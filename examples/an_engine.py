"""A whole engine: what a package writes to run models of its own kind, here over a toy.

    python examples/an_engine.py

The toy predicts a character by the one before it: by counts in a text file, and in the text so
far. A package that holds this module offers it to all of nudging by an entry point:

    [project.entry-points."nudging.engines"]
    bigram = "an_engine:KIND"

`nudge ask --base bigram:README.md --nudge demo:nudge "Why?"` then works, and so does a server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nudging import NudgedModel
from nudging.engines.base import Engine
from nudging.engines.kinds import EngineKind, Spec
from nudging.engines.local.local_engine import LocalEngine
from nudging.engines.local.logits import Logits
from nudging.engines.local.runtime import Runtime
from nudging.engines.local.vocabulary import Tokenizer
from nudging.engines.options import spec_number
from nudging.errors import ModelError

END = "<|end|>"


class BigramTokenizer(Tokenizer):
    """The characters of the text; bytes, for those that are not in it; and one control token."""

    controls = (END,)
    template = "{% for m in messages %}{{ m.content }}\n{% endfor %}"

    def __init__(self, characters: Sequence[str]) -> None:
        self._ids = {character: token for token, character in enumerate(characters)}
        self._pieces = [*map(str.encode, characters), *(bytes([byte]) for byte in range(256))]
        self.size = len(self._pieces) + 1
        self.ends = [self.size - 1]
        self.template_tokens = {"eos_token": END}

    def tokenize(self, text: str, *, controls: bool, begin: bool) -> list[int]:
        ids: list[int] = []
        for number, stretch in enumerate(text.split(END) if controls else [text]):
            ids += self.ends if number else []
            for character in stretch:
                known = self._ids.get(character)
                as_bytes = (len(self._ids) + byte for byte in character.encode())
                ids += as_bytes if known is None else [known]
        return ids

    def piece(self, id: int) -> bytes:
        return b"" if self.is_end(id) else self._pieces[id]

    def name(self, id: int) -> str:
        return END

    def is_end(self, id: int) -> bool:
        return id in self.ends


class BigramRuntime(Runtime):
    """Its caches are lists of ids: there is nothing to compute that could be kept."""

    kind = "bigram"
    most_slots = 8

    def __init__(self, text: str, n_ctx: int) -> None:
        self.n_ctx = n_ctx
        own = self.tokenizer = BigramTokenizer(sorted(set(text)))
        ids = np.array(own.tokenize(text, controls=False, begin=True), np.intp)
        self._alone = np.bincount(ids, minlength=own.size)
        self._counts = np.zeros((own.size, own.size))
        np.add.at(self._counts, (ids[:-1], ids[1:]), 1)
        self._counts[:, -1] = self._counts.mean()  # it may end anywhere
        self._caches: list[list[int]] = [[]]

    def forward(self, ids: Sequence[int], rows: int, slot: int = 0) -> Logits:
        cache = self._caches[slot]
        cache += ids
        lengths = range(len(cache) - rows + 1, len(cache) + 1)
        return np.stack([self._logits(np.array(cache[:length], np.intp)) for length in lengths])

    def _logits(self, ids: npt.NDArray[np.intp]) -> Logits:
        followed = ids[1:][ids[:-1] == ids[-1]]
        here = np.bincount(followed, minlength=self.tokenizer.size) * (self._alone > 0)
        with np.errstate(divide="ignore"):  # what was never seen has no probability
            found = np.log(self._counts[ids[-1]] + 20 * here + self._alone / self._alone.sum())
        return np.asarray(found, np.float32)

    def cut(self, length: int, slot: int = 0) -> int:
        del self._caches[slot][length:]
        return len(self._caches[slot])

    def grow(self, slots: int) -> bool:
        self._caches += [[] for _ in range(slots - len(self._caches))]
        self.slots = slots
        return True

    def close(self) -> None:
        self._caches.clear()


async def open_bigram(spec: Spec) -> Engine:
    """Open `bigram:FILE?n_ctx=...&template=...`. Reading takes a while, so it has a thread."""
    n_ctx = spec_number(spec.options, "n_ctx", 1, 2**20) or 4096
    try:
        text = await asyncio.to_thread(Path(spec.path).expanduser().read_text, encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ModelError(f"can't read {spec.path}: {error}", hint="name a text file") from None
    runtime = BigramRuntime(text, n_ctx)
    return LocalEngine(spec.text, runtime, template=spec.options.get("template"))


KIND = EngineKind(
    form="bigram:FILE", who="the bigram engine", options=("n_ctx", "template"), open=open_bigram
)

if __name__ == "__main__":
    base = LocalEngine("bigram", BigramRuntime(Path(__file__).read_text(encoding="utf-8"), 4096))
    with NudgedModel(base, "scripted:nudge") as model:
        print(model.answer("What is the capital of France?").text)
