"""The runtime for GGUF files: llama.cpp, in this process, through its C API.

One model, one context, a sequence for each slot.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...errors import ModelError
from ..local.cpu_count import physical_cores
from ..local.free_memory import free_memory
from ..local.local_engine import LocalEngine
from ..local.logits import Logits
from ..local.runtime import Rows, Runtime, SlotInput, cpu_clock
from ..spec import Spec
from .gguf_file import check_gguf
from .gguf_limits import check_limits
from .llama_c import LlamaUnavailable, library
from .llama_context import LlamaContext
from .llama_log import Log
from .llama_open import open_model
from .llama_options import llama_options
from .llama_params import Setup
from .llama_tokenizer import LlamaTokenizer

__all__ = ["LlamaRuntime", "LlamaUnavailable", "open_llama"]

USUAL_N_CTX = 4096
PARALLEL = 64
"""Answers at once, each with a cache of its own as long as they are at work."""
_TRIED = 8
"""A context that is long enough to try things in."""
_SHORT = 64
"""Most ids of a pass that waits for memory more than it computes."""


def open_llama(spec: Spec) -> LocalEngine:
    """The engine for `llama:PATH.gguf?n_ctx=...&parallel=...` and so on."""
    given = llama_options(spec)
    runtime = LlamaRuntime(
        Path(spec.path).expanduser(),
        n_ctx=given.n_ctx,
        slots=given.parallel,
        threads=given.threads,
        setup=given.setup,
    )
    return LocalEngine(spec.text, runtime, template=given.template, variables=given.variables)


class LlamaRuntime(Runtime):
    """A GGUF model in memory."""

    kind = "llama"
    together = True
    at_once = 16  # docs/performance.md has what fewer and more of them cost

    def __init__(
        self,
        path: Path,
        *,
        n_ctx: int | None = None,
        slots: int | None = None,
        threads: int | None = None,
        setup: Setup | None = None,
    ) -> None:
        """`slots`: most caches that there can be; None for as many as fit in half of the memory
        that is free, and no more than `PARALLEL`."""
        self._context: LlamaContext | None = None
        self._model = 0
        self._lib = library()
        self._threads = threads
        if not self._lib.llama_supports_gpu_offload():
            self.clock = cpu_clock
        self.cores: int = threads or physical_cores()
        try:
            self._open(path, n_ctx, slots, setup or Setup())
            self._check()
            self.most_slots = slots or self._slots_that_fit()
            self._choose_threads()
            self._choose_rows()
        except BaseException:
            self.close()
            raise

    def _open(self, path: Path, n_ctx: int | None, slots: int | None, setup: Setup) -> None:
        lib, log = self._lib, Log()
        check_limits(path, check_gguf(path))
        self._model = open_model(path, setup, log)
        if lib.llama_model_has_encoder(self._model):
            raise ModelError(
                f"{path} has an encoder, and can't write on from a text",
                hint="name a model that writes, a base model or a chat model",
            )
        trained = lib.llama_model_n_ctx_train(self._model)
        self.n_ctx = n_ctx or min(USUAL_N_CTX, trained)
        if self.n_ctx > trained:
            self.notes = (f"The model was trained on {trained} tokens, less than n_ctx.",)
        self.rewinds = not (
            lib.llama_model_is_recurrent(self._model) or lib.llama_model_is_hybrid(self._model)
        )
        self._window = lib.llama_model_n_swa(self._model)
        self.tokenizer = LlamaTokenizer(self._model)
        self._context = LlamaContext(
            self._model, self.n_ctx, slots or PARALLEL, setup, log, cuts=self.rewinds
        )
        self.notes += self._context.notes

    @property
    def _caches(self) -> LlamaContext:
        assert self._context is not None  # but while it is opened, and when it is closed
        return self._context

    def _check(self) -> None:
        """Read and decode a known text: what a C API that has moved would not survive."""
        text = "1, 2, 3"
        try:
            ids = self.tokenizer.tokenize(text, controls=False, begin=False)
            same = b"".join(map(self.tokenizer.piece, ids)) == text.encode()
            empty = self._caches.size(0)
            logits = self.forward(ids, 2)
            last = self._caches.last(0)
        except ModelError as error:
            raise LlamaUnavailable(f"llama.cpp fails its self-check: {error}") from error
        if not (same and last == len(ids) - 1 and np.isfinite(logits).all() and logits.any()):
            raise LlamaUnavailable("llama.cpp fails its self-check: it does not compute")
        each = (self._caches.size(0) - empty) // len(ids)
        # A recurrent state has its size from the first token on.
        self.bytes_per_token = each if self.rewinds and each > 0 else None
        self._caches.clear(0)

    def _slots_that_fit(self) -> int:
        if not self.bytes_per_token:
            return PARALLEL
        return max(1, min(PARALLEL, free_memory() // 2 // (self.n_ctx * self.bytes_per_token)))

    def _choose_threads(self) -> None:
        """Half of the cores for short passes, where that is about as fast: they wait for memory
        more than they compute, and the other model can have the other half."""
        all_cores = physical_cores()
        if self._threads or all_cores < 2:
            return
        took = {}
        for self.cores in (all_cores, all_cores // 2):
            took[self.cores] = self._time_pass(1, times=4)
        if took[self.cores] > 1.3 * took[all_cores]:
            self.cores = all_cores

    def _choose_rows(self) -> None:
        """Whether decodes have an even number of rows."""
        if self.rewinds and self.n_ctx >= _TRIED:
            self._caches.evens = self._time_pass(3) > 1.1 * self._time_pass(4)

    def _time_pass(self, rows: int, times: int = 2) -> float:
        """Seconds of the fastest of a few passes."""
        took = []
        for _ in range(times):
            self._caches.clear(0)
            begun = time.perf_counter()
            self.forward([0] * rows, rows)
            took.append(time.perf_counter() - begun)
        self._caches.clear(0)
        return min(took)

    # --- Runtime ----------------------------------------------------------------------------

    def forward(self, ids: Sequence[int], rows: int, slot: int = 0) -> Logits:
        size = self._caches.batch.size
        found = []
        for start in range(0, len(ids), size):
            chunk = ids[start : start + size]
            left = len(ids) - start - len(chunk)
            wanted = max(0, min(len(chunk), rows - left))
            (view,) = self._decode([SlotInput(slot, chunk, wanted)])
            if wanted:
                found.append(view.copy() if left else view)
        return found[0] if len(found) == 1 else np.concatenate(found)

    def forward_many(self, works: Sequence[SlotInput]) -> list[Rows]:
        """As many as fit go into one decode. The rows of the last one are not copied."""
        batches = self._batches(works)
        found: dict[int, Rows] = {}
        try:
            for number, batch in enumerate(batches):
                for work, rows in zip(batch, self._pass(batch), strict=True):
                    found[work.slot] = rows if number == len(batches) - 1 else rows.copy()
        except BaseException:
            for work in works:
                self._caches.clear(work.slot)
            raise
        return [found[work.slot] for work in works]

    def _batches(self, works: Sequence[SlotInput]) -> list[list[SlotInput]]:
        """Works that share a decode. One that is longer than a decode is alone."""
        size = self._caches.batch.size
        batches: list[list[SlotInput]] = []
        room = 0
        for work in works:
            if not batches or len(work.ids) > room:
                batches.append([])
                room = size
            batches[-1].append(work)
            room -= len(work.ids)
        return batches

    def _pass(self, batch: Sequence[SlotInput]) -> list[Logits]:
        if len(batch) > 1:
            return self._decode(batch)
        (work,) = batch
        return [self.forward(work.ids, work.rows, work.slot)]

    def _decode(self, works: Sequence[SlotInput]) -> list[Logits]:
        short = sum(len(work.ids) for work in works) <= _SHORT
        threads = self.cores if short else self._threads or physical_cores()
        return self._caches.decode(works, threads)

    def cut(self, length: int, slot: int = 0) -> int:
        caches = self._caches
        if length < caches.length(slot):
            # A cache that keeps only a window must still have the window before the cut, or the
            # text is evaluated again.
            oldest = max(0, length - self._window) if self._window else 0
            if not (caches.remove(slot, length) and 0 <= caches.first(slot) <= oldest):
                caches.clear(slot)
        return caches.length(slot)

    def copy(self, source: int, target: int, length: int) -> int:
        self._caches.copy(source, target)
        return self.cut(length, target)

    def grow(self, slots: int) -> bool:
        try:
            kept = self._caches.grow(slots)
        except ModelError:  # there is no memory for so many
            self.most_slots = self.slots
            return True
        self.slots = slots
        return kept

    def close(self) -> None:
        if self._context:
            self._context.close()
        if self._model:
            self._lib.llama_model_free(self._model)
        self._context, self._model = None, 0
