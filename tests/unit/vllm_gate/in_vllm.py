"""Run by `test_vllm_gate.py` with the Python of an environment that has vLLM, and no pytest."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from vllm import SamplingParams
from vllm.v1.sample import logits_processor as v1_of_vllm
from vllm.v1.worker.gpu.sample import logits_processor as v2_of_vllm

from nudging.vllm_gate import v1, v2

SURE = [0.0, 9.0, 0.0, 0.0, 0.0]
TORN = [0.0, 1.0, 1.125, 0.0, 0.0]  # no more than 0.35


def params(gamma: object = None, stop: object = None, *ids: int) -> Any:
    given = {"nudge_gamma": gamma, "nudge_stop": stop}
    extra = {name: value for name, value in given.items() if value is not None}
    return SamplingParams(extra_args=extra or None, stop_token_ids=list(ids))


def at(stop: int, gamma: float = 0.4) -> Any:
    return params(gamma, stop, stop)


def stops(logits: Any) -> list[int | None]:
    """Of each row, the only token that is left; None where all are as they were."""
    found: list[int | None] = []
    for row in logits.tolist():
        left = [token for token, value in enumerate(row) if value != float("-inf")]
        found.append(left[0] if len(left) == 1 else None)
        assert len(left) == 1 or row in (SURE, TORN)
    return found


def check_params() -> None:
    for gate in (v1.Gate, v2.Gate):
        for good in (params(), at(3), at(0, 0), at(3, 1)):
            gate.validate_params(good)
        bad: list[tuple[object, object]] = [
            (1.1, 3),
            (-0.1, 3),
            ("0.4", 3),
            (True, 3),
            (float("nan"), 3),
            (None, 3),
        ]
        bad += [(0.4, None), (0.4, -1), (0.4, "3"), (0.4, 3.0), (0.4, True), (0.4, 4)]
        for gamma, stop in bad:
            refused = ""
            try:
                gate.validate_params(params(gamma, stop, 3))
            except ValueError as error:
                refused = str(error)
            assert "nudge_" in refused, (gamma, stop)


def check_v1() -> None:
    assert issubclass(v1.Gate, v1_of_vllm.LogitsProcessor)
    built = v1_of_vllm.build_logitsprocs(
        SimpleNamespace(
            speculative_config=None,
            scheduler_config=SimpleNamespace(max_num_seqs=8),
        ),
        torch.device("cpu"),
        False,
        False,
        ("nudging.vllm_gate.v1:Gate",),
    )
    gate = next(found for found in built.non_argmax_invariant if isinstance(found, v1.Gate))
    batch = torch.tensor([TORN, TORN, SURE, TORN])

    def update(**changes: Any) -> list[int | None]:
        empty: dict[str, Any] = {"removed": [], "added": [], "moved": []}
        gate.update_state(v1_of_vllm.BatchUpdate(batch_size=4, **(empty | changes)))
        return stops(gate.apply(batch.clone()))

    assert stops(gate.apply(batch.clone())) == [None] * 4
    added: list[Any] = [
        (place, wanted, [1], []) for place, wanted in enumerate([at(3), params(), at(3)])
    ]
    assert update(added=[*added, (3, at(4), [1], [])]) == [3, None, None, 4]
    gate.update_state(None)
    assert stops(gate.apply(batch.clone())) == [3, None, None, 4]
    swap, move = v1_of_vllm.MoveDirectionality.SWAP, v1_of_vllm.MoveDirectionality.UNIDIRECTIONAL
    assert update(moved=[(0, 1, swap)]) == [None, 3, None, 4]
    assert update(removed=[1], moved=[(3, 1, move)]) == [None, 4, None, None]
    assert update(added=[(1, at(0, 0.2), [1], [])]) == [None] * 4  # 0.35 is enough for this one
    assert update(added=[(1, params(), [1], [])], removed=[2]) == [None] * 4


def check_v2() -> None:
    assert issubclass(v2.Gate, v2_of_vllm.LogitsProcessor)
    state = SimpleNamespace(
        device=torch.device("cpu"),
        max_num_reqs=4,
        vocab_size=5,
        **dict.fromkeys(("all_token_ids", "prompt_len", "prefill_len", "total_len")),
    )
    names = ("nudging.vllm_gate.v2:Gate",)
    (gate,) = v2_of_vllm.build_custom_logits_processors(None, state, False, names)
    assert isinstance(gate, v2.Gate)
    v2_of_vllm.build_custom_logits_processors_params_validator(names)(at(3))

    def rows(*slots: int, logits: list[list[float]]) -> list[int | None]:
        """One row of logits for each slot named; a slot may have several."""
        each = sorted(set(slots))
        ctx = v2_of_vllm.LogitsContext(
            expanded_idx_mapping=torch.tensor(slots, dtype=torch.int32),
            idx_mapping=torch.tensor(each, dtype=torch.int32),
            idx_mapping_np=np.array(each, dtype=np.int32),
            expanded_local_pos=torch.zeros(len(slots), dtype=torch.int32),
            input_ids=torch.zeros(len(slots), dtype=torch.int32),
            pos=torch.zeros(len(slots), dtype=torch.int64),
            seq_lens_upper_bound_np=np.array(each, dtype=np.int32),
        )
        return stops(gate.apply(torch.tensor(logits), ctx))

    assert gate.add_request(0, at(3))
    assert gate.add_request(2, at(4))
    assert not gate.add_request(3, params())
    gate.apply_staged_writes()
    assert rows(3, 2, 0, logits=[TORN, TORN, TORN]) == [None, 4, 3]
    assert rows(2, 2, 2, 3, logits=[SURE, TORN, SURE, TORN]) == [None, 4, None, None]
    assert rows(3, logits=[TORN]) == [None]
    assert not gate.add_request(2, params())  # another request in the same slot
    assert rows(2, 0, logits=[TORN, TORN]) == [None, 3]
    assert gate.add_request(0, at(4, 0.2))
    assert rows(2, 0, logits=[TORN, TORN]) == [None, None]


if __name__ == "__main__":
    check_params()
    check_v1()
    check_v2()
