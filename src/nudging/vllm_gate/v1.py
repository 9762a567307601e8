"""The gate for vLLM's V1 model runner: `--logits-processors nudging.vllm_gate.v1:Gate`.

A row of logits is a place in the batch; vLLM says when requests come, leave and change places.
"""

from __future__ import annotations

from typing import Any

from vllm.v1.sample.logits_processor import LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from . import asked, mask


class Gate(LogitsProcessor):  # type: ignore[misc]  # vLLM is not there where types are checked
    def __init__(self, vllm_config: Any, device: Any, is_pin_memory: bool) -> None:
        self._device = device
        self._pin = is_pin_memory
        self._asked: dict[int, tuple[float, int]] = {}
        """By place in the batch."""
        self._rows: Any = None
        self._gamma: Any = None
        self._stop: Any = None

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        asked(sampling_params)

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: Any) -> None:
        def wanted(params: Any, prompt: Any, output: Any) -> tuple[float, int] | None:
            return asked(params)

        if process_dict_updates(self._asked, batch_update, wanted) and self._asked:
            gammas, stops = zip(*self._asked.values(), strict=True)
            self._rows = self._sent(list(self._asked))
            self._gamma = self._sent(gammas)
            self._stop = self._sent(stops)

    def _sent(self, values: Any) -> Any:
        import torch

        tensor = torch.tensor(values, pin_memory=self._pin)
        return tensor.to(self._device, non_blocking=True)

    def apply(self, logits: Any) -> Any:
        if not self._asked:
            return logits
        rows = logits.index_select(0, self._rows)
        return logits.index_copy_(0, self._rows, mask(rows, self._gamma, self._stop))
