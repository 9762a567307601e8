"""The runtime for GGUF files: llama.cpp, in this process, through its C API.

One model, one context, a sequence for each slot.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...errors import ModelError, SpecError
from ...prompts.templates import NAMED
from ...values.variables import Scalar
from ..local.cpu_count import physical_cores
from ..local.local_engine import LocalEngine
from ..local.logits import Logits
from ..local.runtime import Rows, Runtime, SlotInput
from ..options import spec_number, template_variables
from ..spec import Spec
from .gguf_file import check_gguf
from .gguf_limits import check_limits
from .llama_c import (
    LlamaUnavailable,
    TokenBatch,
    library,
    open_context,
    open_model,
)
from .llama_tokenizer import LlamaTokenizer

__all__ = ["LlamaRuntime", "LlamaUnavailable", "open_llama"]

USUAL_N_CTX = 4096
PARALLEL = 8
"""Answers at once, each with a cache of its own as long as they are at work."""
_SHORT = 64
"""Most ids of a pass that is one of many; longer ones read prompts, each by itself."""


class LlamaOptions(NamedTuple):
    """The options of a spec, None where they are not given."""

    n_ctx: int | None
    parallel: int | None
    threads: int | None
    template: str | None
    variables: dict[str, Scalar]
    """Of the template."""


def open_llama(spec: Spec) -> LocalEngine:
    """The engine for `llama:PATH.gguf?n_ctx=...&parallel=...&threads=...&template=...`."""
    given = llama_options(spec)
    runtime = LlamaRuntime(
        Path(spec.path).expanduser(),
        n_ctx=given.n_ctx,
        slots=given.parallel or PARALLEL,
        threads=given.threads,
    )
    return LocalEngine(spec.text, runtime, template=given.template, variables=given.variables)


def llama_options(spec: Spec) -> LlamaOptions:
    template = spec.options.get("template")
    if template is not None and template not in NAMED:
        raise SpecError(
            f"there is no built-in template {template!r}",
            hint=f"there are {', '.join(NAMED)}",
        )
    return LlamaOptions(
        spec_number(spec.options, "n_ctx", 1, 2**24),
        spec_number(spec.options, "parallel", 1, 256),
        spec_number(spec.options, "threads", 1, 512),
        template,
        template_variables(spec.options),
    )


class LlamaRuntime(Runtime):
    """A GGUF model in memory."""

    kind = "llama"
    at_once = 4  # docs/performance.md has what fewer and more of them cost

    def __init__(
        self,
        path: Path,
        *,
        n_ctx: int | None = None,
        slots: int = 1,
        threads: int | None = None,
    ) -> None:
        self._context = self._model = 0
        self.most_slots = slots
        self._lengths = [0]  # ids that each cache holds
        self._lib = library()
        self._threads = threads
        self.cores: int = threads or physical_cores()
        try:
            self._open(path, n_ctx)
            self._check()
            self._choose_threads()
        except BaseException:
            self.close()
            raise

    def _open(self, path: Path, n_ctx: int | None) -> None:
        lib = self._lib
        check_limits(path, check_gguf(path))
        self._model = open_model(path)
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
        self._open_context(1)
        self.tokenizer = LlamaTokenizer(self._model)
        self._batch = TokenBatch(lib.llama_n_batch(self._context))

    def _open_context(self, slots: int) -> None:
        self._context = open_context(self._model, self.n_ctx, slots)
        self._memory = self._lib.llama_get_memory(self._context)
        self._lengths = [0] * slots
        self.slots = slots

    def _check(self) -> None:
        """Read and decode a known text: what a C API that has moved would not survive."""
        text = "1, 2, 3"
        try:
            ids = self.tokenizer.tokenize(text, controls=False, begin=False)
            same = b"".join(map(self.tokenizer.piece, ids)) == text.encode()
            logits = self.forward(ids, 2)
            last = self._lib.llama_memory_seq_pos_max(self._memory, 0)
        except ModelError as error:
            raise LlamaUnavailable(f"llama.cpp fails its self-check: {error}") from error
        if not (same and last == len(ids) - 1 and np.isfinite(logits).all() and logits.any()):
            raise LlamaUnavailable("llama.cpp fails its self-check: it does not compute")
        self._clear(0)

    def _choose_threads(self) -> None:
        """Half of the cores for short passes, where that is about as fast: they wait for memory
        more than they compute, and the other model can have the other half."""
        all_cores = physical_cores()
        if self._threads or all_cores < 2:
            return
        took = {}
        for self.cores in (all_cores, all_cores // 2):
            took[self.cores] = min(self._time_pass() for _ in range(4))
        if took[self.cores] > 1.3 * took[all_cores]:
            self.cores = all_cores
        self._clear(0)

    def _time_pass(self) -> float:
        begun = time.perf_counter()
        self.forward([0], 1)
        return time.perf_counter() - begun

    # --- Runtime ----------------------------------------------------------------------------

    def forward(self, ids: Sequence[int], rows: int, slot: int = 0) -> Logits:
        tokens = np.asarray(ids, np.int32)
        found = []
        for start in range(0, len(tokens), self._batch.size):
            chunk = tokens[start : start + self._batch.size]
            left = len(tokens) - start - len(chunk)
            wanted = max(0, min(len(chunk), rows - left))
            self._batch.clear()
            self._batch.add(chunk, self._lengths[slot], wanted, slot)
            self._decode((slot,))
            self._lengths[slot] += len(chunk)
            if wanted:
                view = self._logits(wanted)
                found.append(view.copy() if left else view)
        return found[0] if len(found) == 1 else np.concatenate(found)

    def forward_many(self, works: Sequence[SlotInput]) -> list[Rows]:
        if len(works) == 1:
            return super().forward_many(works)
        prompts = [work for work in works if len(work.ids) > min(_SHORT, self._batch.size)]
        short = [work for work in works if len(work.ids) <= min(_SHORT, self._batch.size)]
        found: dict[int, Rows] = {}
        try:
            for work in prompts:
                found[work.slot] = self.forward(work.ids, work.rows, work.slot).copy()
            most = max(1, self._batch.size // _SHORT)
            for start in range(0, len(short), most):
                found |= self._together(
                    short[start : start + most], last=start + most >= len(short)
                )
        except BaseException:
            for work in works:
                self._clear(work.slot)
            raise
        return [found[work.slot] for work in works]

    def _together(self, works: Sequence[SlotInput], last: bool) -> dict[int, Logits]:
        """Several sequences in one decode. Their logits come in the order of the batch; those of
        the last decode need no copy."""
        self._batch.clear()
        for slot, ids, rows in works:
            self._batch.add(np.asarray(ids, np.int32), self._lengths[slot], rows, slot)
        self._decode([work.slot for work in works])
        view = self._logits(sum(work.rows for work in works))
        logits = view if last else view.copy()
        found, begin = {}, 0
        for work in works:
            self._lengths[work.slot] += len(work.ids)
            found[work.slot] = logits[begin : begin + work.rows]
            begin += work.rows
        return found

    def cut(self, length: int, slot: int = 0) -> int:
        if length < self._lengths[slot]:
            lib, memory = self._lib, self._memory
            # A cache that keeps only a window must still have the window before the cut, or the
            # text is evaluated again.
            oldest = max(0, length - self._window) if self._window else 0
            whole = lib.llama_memory_seq_rm(memory, slot, length, -1) and (
                0 <= lib.llama_memory_seq_pos_min(memory, slot) <= oldest
            )
            if whole:
                self._lengths[slot] = length
            else:
                self._clear(slot)
        return self._lengths[slot]

    def grow(self, slots: int) -> bool:
        old = self._context
        try:
            self._open_context(slots)
        except ModelError:  # there is no memory for so many
            self.most_slots = self.slots
            return True
        self._lib.llama_free(old)
        return False

    def close(self) -> None:
        if self._context:
            self._lib.llama_free(self._context)
        if self._model:
            self._lib.llama_model_free(self._model)
        self._context = self._model = 0

    # --- the C side -------------------------------------------------------------------------

    def _decode(self, slots: Sequence[int]) -> None:
        short = self._batch.struct.n_tokens <= _SHORT
        threads = self.cores if short else self._threads or physical_cores()
        self._lib.llama_set_n_threads(self._context, threads, threads)
        code = self._lib.llama_decode(self._context, self._batch.struct)
        if code:
            # What the caches hold after a failure depends on where it happened.
            for slot in slots:
                self._clear(slot)
            n = self._batch.struct.n_tokens
            if code == 1:
                raise ModelError(
                    f"no room for {n} more tokens in a context of {self.n_ctx}",
                    hint="open the model with a larger one (?n_ctx=...)",
                )
            raise ModelError(f"llama.cpp failed to evaluate {n} tokens (code {code})")

    def _logits(self, rows: int) -> Logits:
        """A view on the last rows, which llama.cpp keeps one after the other."""
        address = self._lib.llama_get_logits_ith(self._context, -rows)
        if not address:
            raise ModelError("llama.cpp computed no logits")
        pointer = ctypes.cast(address, ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(pointer, (rows, self.tokenizer.size))

    def _clear(self, slot: int) -> None:
        self._lib.llama_memory_seq_rm(self._memory, slot, -1, -1)
        self._lengths[slot] = 0
