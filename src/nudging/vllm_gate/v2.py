"""The gate for vLLM's V2 model runner: `--logits-processors nudging.vllm_gate.v2:Gate`.

A request has a slot for its life. Which slot a row of logits is of changes with every step, and
with speculative decoding a slot has several rows.
"""

from __future__ import annotations

from typing import Any

from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor

from . import asked, mask


class Gate(LogitsProcessor):  # type: ignore[misc]  # vLLM is not there where types are checked
    def __init__(self, vllm_config: Any, req_states: Any) -> None:
        import torch

        slots, device = req_states.max_num_reqs, req_states.device
        self._gamma = torch.zeros(slots, device=device)
        self._stop = torch.zeros(slots, dtype=torch.long, device=device)
        self._open: set[int] = set()
        """Slots whose requests want a gate, known without a look at the device."""

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        asked(sampling_params)

    def add_request(self, req_idx: int, sampling_params: Any) -> bool:
        wanted = asked(sampling_params)
        # Slots are used again and never said to be free. At gamma 0 nothing is in doubt.
        self._gamma[req_idx], self._stop[req_idx] = wanted or (0.0, 0)
        (self._open.add if wanted else self._open.discard)(req_idx)
        return wanted is not None

    def apply(self, logits: Any, ctx: Any) -> Any:
        if self._open.isdisjoint(ctx.idx_mapping_np.tolist()):
            return logits
        slots = ctx.expanded_idx_mapping
        return mask(logits, self._gamma[slots], self._stop[slots])
