"""A context of llama.cpp's: the caches of all slots, and the decodes that fill them.

The sequences share one pool of cells (llama.cpp calls that unified), so memory is taken for the
tokens that there are, and a decode takes any ids of any slots at once. The pool begins with room
for one full cache and doubles when it is full; what the caches hold moves along.

Where that can't be, each sequence has cells of its own: without flash attention, which skips the
cells of others at next to no cost, in models with a recurrent state, and in versions of llama.cpp
whose parameters are not known.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from ...errors import ModelError
from ..local.logits import Logits
from ..local.runtime import SlotInput
from .even_rows import Evened, evened
from .llama_c import TokenBatch, library
from .llama_log import Log, read_report
from .llama_open import check_report, open_context
from .llama_params import Setup, layouts_known


class LlamaContext:
    evens: bool = False
    """Whether an even number of rows is computed where an odd one takes longer."""

    def __init__(
        self, model: int, n_ctx: int, sequences: int, setup: Setup, log: Log, *, cuts: bool
    ) -> None:
        """`n_ctx`: most tokens of a cache. `sequences`: most caches. `log`: of the opening of the
        model. `cuts`: whether the model's caches can be cut, that is, have no recurrent state."""
        self._lib, self._model, self._setup = library(), model, setup
        self.n_ctx, self.most = n_ctx, sequences
        self._shared = cuts and setup.flash_attn != "off" and layouts_known(self._lib)
        self._lengths = [0] * (sequences if self._shared else 1)
        self._at = self._open(n_ctx, log)
        self._vocabulary = self._lib.llama_vocab_n_tokens(self._lib.llama_model_get_vocab(model))
        self.batch = TokenBatch(self._lib.llama_n_batch(self._at))
        try:
            self.notes = check_report(setup, read_report(log))
        except ModelError:
            self.close()
            raise

    def _open(self, cells: int, log: Log | None = None) -> int:
        """A context for as many sequences as there are lengths, in place of the one before."""
        return open_context(
            self._model, cells, len(self._lengths), self._setup, log or Log(), self._shared
        )

    @property
    def _memory(self) -> int:
        found: int = self._lib.llama_get_memory(self._at)
        return found

    # --- what the caches hold -----------------------------------------------------------------

    def length(self, slot: int) -> int:
        """Tokens that a cache holds."""
        return self._lengths[slot]

    def first(self, slot: int) -> int:
        """The position of the first token that a cache still has; negative for none."""
        return int(self._lib.llama_memory_seq_pos_min(self._memory, slot))

    def last(self, slot: int) -> int:
        return int(self._lib.llama_memory_seq_pos_max(self._memory, slot))

    def remove(self, slot: int, length: int) -> bool:
        """Keep the first `length` tokens of a cache. Whether llama.cpp can."""
        if not self._lib.llama_memory_seq_rm(self._memory, slot, length, -1):
            return False
        self._lengths[slot] = length
        return True

    def clear(self, slot: int) -> None:
        self._lib.llama_memory_seq_rm(self._memory, slot, -1, -1)
        self._lengths[slot] = 0

    def copy(self, source: int, target: int) -> None:
        """Have a cache hold what another holds, if they share a pool: then it takes no memory."""
        self.clear(target)
        if self._shared:
            self._lib.llama_memory_seq_cp(self._memory, source, target, -1, -1)
            self._lengths[target] = self._lengths[source]

    def size(self, slot: int) -> int:
        """Bytes of what a cache holds."""
        return int(self._lib.llama_state_seq_get_size(self._at, slot))

    # --- decodes ------------------------------------------------------------------------------

    def decode(self, works: Sequence[SlotInput], threads: int) -> list[Logits]:
        """One decode, and the logits of each work: views on llama.cpp's, which the next decode
        overwrites. If it raises, the caches of these works are empty."""
        more = Evened(list(works), [0] * len(works))
        if self.evens and self._shared:
            more = evened(works, self._lengths, self.n_ctx, self.batch.size)
        try:
            self._compute(more.works, threads)
            rows = self._logits(sum(work.rows for work in more.works))
            for work, other in zip(works, more.works, strict=True):
                if len(other.ids) > len(work.ids):
                    self.remove(work.slot, self._lengths[work.slot] - 1)
        except BaseException:
            # What the caches hold after a failure depends on where it happened.
            for work in works:
                self.clear(work.slot)
            raise
        found = []
        for work, other, skip in zip(works, more.works, more.skips, strict=True):
            found.append(rows[skip : skip + work.rows])
            rows = rows[other.rows :]
        return found

    def _compute(self, works: Sequence[SlotInput], threads: int) -> None:
        self.batch.clear()
        for slot, ids, rows in works:
            self.batch.add(np.asarray(ids, np.int32), self._lengths[slot], rows, slot)
            self._lengths[slot] += len(ids)
        n = self.batch.struct.n_tokens
        if max(self._lengths[work.slot] for work in works) > self.n_ctx:
            raise _full(n, self.n_ctx)
        self._make_room()
        self._lib.llama_set_n_threads(self._at, threads, threads)
        code = self._lib.llama_decode(self._at, self.batch.struct)
        if code == 1:
            raise _full(n, self.n_ctx)
        if code:
            raise ModelError(f"llama.cpp failed to evaluate {n} tokens (code {code})")

    def _logits(self, rows: int) -> Logits:
        """The last rows, which llama.cpp keeps one after the other in the order of the batch."""
        if not rows:
            return np.empty((0, self._vocabulary), np.float32)
        address = self._lib.llama_get_logits_ith(self._at, -rows)
        if not address:
            raise ModelError("llama.cpp computed no logits")
        pointer = ctypes.cast(address, ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(pointer, (rows, self._vocabulary))

    # --- room ---------------------------------------------------------------------------------

    def grow(self, slots: int) -> bool:
        """Have room for so many caches, at most as many as the context was made for. Whether they
        keep what they hold; otherwise all are empty.

        Raises:
            ModelError: there is no memory for them. All is as it was.
        """
        if self._shared or slots <= len(self._lengths):
            return True
        # llama.cpp moves nothing between contexts that are divided otherwise.
        old, before, self._lengths = self._at, self._lengths, [0] * slots
        try:
            self._at = self._open(self.n_ctx * slots)
        except ModelError:
            self._lengths = before
            raise
        self._lib.llama_free(old)
        return False

    def _make_room(self) -> None:
        """Enlarge the pool if it can't hold what is to be computed."""
        needed, cells = sum(self._lengths), self._lib.llama_n_ctx(self._at)
        if not self._shared or needed <= cells:
            return
        new = self._open(min(max(2 * cells, needed), self.n_ctx * self.most))
        for slot in range(len(self._lengths)):
            if self.last(slot) >= 0 and not self._move(slot, new):
                self._lib.llama_free(new)
                raise ModelError("llama.cpp can't move what a cache holds")
        self._lib.llama_free(self._at)
        self._at = new

    def _move(self, slot: int, other: int) -> bool:
        """Copy a cache into another context. Whether llama.cpp can."""
        data = np.empty(self.size(slot), np.uint8)
        at = data.ctypes.data
        got = self._lib.llama_state_seq_get_data(self._at, at, len(data), slot)
        return bool(got and self._lib.llama_state_seq_set_data(other, at, got, slot))

    def close(self) -> None:
        if self._at:
            self._lib.llama_free(self._at)
        self._at = 0


def _full(tokens: int, n_ctx: int) -> ModelError:
    return ModelError(
        f"no room for {tokens} more tokens in a context of {n_ctx}",
        hint="open the model with a larger one (?n_ctx=...)",
    )
