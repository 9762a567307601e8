"""The `hf` runtime: a transformers model, run by a loop of our own."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ...errors import MissingExtra, ModelError
from ..base import Want
from ..local.logits import Logits, ThinRow
from ..local.openmp import short_waits
from ..local.runtime import Rows, Runtime, SlotInput, cpu_clock
from .hf_tokenizer import HfTokenizer

try:
    with short_waits():
        import torch

    from .cache_memory import answers_at_once, room_of
    from .ragged_probe import passes_of
    from .thin_rows import LogitRow, LogitRows, PassLogits
except ImportError:
    raise MissingExtra("the hf engine", "hf") from None


class HfRuntime(Runtime):
    """A transformers model, and passes over its caches: ragged ones, or plain ones."""

    kind = "hf"
    at_once = 32  # docs/performance.md has what fewer and more of them cost

    def __init__(self, model: Any, tokenizer: Any, *, n_ctx: int, slots: int | None = None) -> None:
        """`slots`: most answers at once; None for as many as there is memory for."""
        if "past_key_values" not in inspect.signature(model.forward).parameters:
            # It would swallow the cache unread, as Mamba and RWKV do, and answer nonsense.
            raise ModelError(
                f"models of the kind {model.config.model_type} keep a memory that hf can't hold",
                hint="serve it with vLLM, or open a GGUF file of it with llama:",
            )
        text = model.config.get_text_config()
        limit = getattr(text, "max_position_embeddings", None)
        self.n_ctx = min(n_ctx, limit or n_ctx)
        ends = (
            *_ids(model.generation_config.eos_token_id if model.generation_config else None),
            *_ids(text.eos_token_id),
            *_ids(tokenizer.eos_token_id),
        )
        own = self.tokenizer = HfTokenizer(tokenizer, ends)
        # Some tokenizers have tokens of their own, such as one to pad with, that the model lacks.
        own.size = min(own.size, getattr(text, "vocab_size", own.size))
        self._model = model
        if all(weight.device.type == "cpu" for weight in model.parameters()):
            self.clock = cpu_clock
        self._passes, notes = passes_of(model, own.size, self.n_ctx)
        self.rewinds = self._passes.rewinds
        self.bytes_per_token = self._passes.bytes_per_token
        self.room = room_of(model, self.bytes_per_token)
        self.most_slots = slots or answers_at_once(self.room, self.n_ctx)
        self.notes = (*own.notes, *notes)

    def forward(self, ids: Sequence[int], rows: int, slot: int = 0) -> Rows:
        return self.forward_many([SlotInput(slot, ids, rows)])[0]

    def forward_many(self, works: Sequence[SlotInput]) -> list[Rows]:
        try:
            found = self._passes.run(works)
        except torch.OutOfMemoryError:
            raise ModelError(
                "the accelerator ran out of memory",
                hint="lower ?parallel= or ?n_ctx=, or use ?dtype=bfloat16",
            ) from None
        passes: dict[int, PassLogits] = {}
        rows = []
        for logits, begin, end in found:
            if id(logits) not in passes:
                passes[id(logits)] = PassLogits(logits, self._end_ids)
            rows.append(LogitRows(passes[id(logits)], begin, end))
        return rows

    def thin(
        self, rows: Sequence[Any], want: Want, numbers: Sequence[float] | None = None
    ) -> list[ThinRow]:
        if numbers is None and isinstance(rows[0], LogitRow) and rows[0].logits.is_cuda:
            return [row.thin(want) for row in rows]
        return super().thin(rows, want, numbers)

    def whole(self, row: Any, out: Logits | None = None) -> Logits:
        if isinstance(row, LogitRow):
            return _single(row.logits, np.empty(len(row), np.float32) if out is None else out)
        return super().whole(row, out)

    def cut(self, length: int, slot: int = 0) -> int:
        return self._passes.cut(length, slot)

    def copy(self, source: int, target: int, length: int) -> int:
        try:
            return self._passes.copy(source, target, length)
        except torch.OutOfMemoryError:
            return self.cut(0, target)

    def grow(self, slots: int) -> bool:
        self._passes.grow(slots)
        self.slots = slots
        return True

    def close(self) -> None:
        self._passes.close()
        self._model = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _single(row: torch.Tensor, out: Logits) -> Logits:
    """A row in single precision, as an array; its own where it is that already."""
    row = row.cpu()
    if row.dtype == torch.float32:
        found: Logits = row.numpy()
        return found
    if row.dtype == torch.bfloat16:
        # Its bits are the upper half of a single's. torch would wake its threads for this.
        bits = out.view(np.uint32)
        bits[:] = row.view(torch.uint16).numpy()
        np.left_shift(bits, 16, out=bits)
        return out
    torch.from_numpy(out).copy_(row)
    return out


def _ids(found: int | Iterable[int] | None) -> Iterable[int]:
    if found is None:
        return ()
    return (found,) if isinstance(found, int) else found
