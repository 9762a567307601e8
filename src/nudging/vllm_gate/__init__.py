"""A gate for vLLM: a request ends in the server at the first token that the model is in doubt of.

A request opts in with `stop_token_ids: [S]` and `vllm_xargs: {"nudge_gamma": G, "nudge_stop": S}`.
Where the largest probability is below G, every token but S is masked, so the request ends with S
there (`finish_reason` "stop"), the first token included. The log-probabilities that vLLM reports
are of before that: the model's own.

vLLM has two model runners, each with an interface of its own: `v1.py` and `v2.py` are the same gate
for both, and only the one that is asked for is imported. All this runs in vLLM's processes, also in
the one that talks HTTP, so it imports nothing else of this package and no torch.
"""

from __future__ import annotations

from typing import Any


def asked(params: Any) -> tuple[float, int] | None:
    """The gamma and the stop of a request's `SamplingParams`, None if it wants no gate.

    Raises:
        ValueError: they make no sense. The server answers with status 400.
    """
    given = params.extra_args or {}
    gamma, stop = given.get("nudge_gamma"), given.get("nudge_stop")
    if gamma is None and stop is None:
        return None
    if isinstance(gamma, bool) or not isinstance(gamma, int | float) or not 0 <= gamma <= 1:
        raise ValueError(f"nudge_gamma is a number from 0 to 1, not {gamma!r}")
    if isinstance(stop, bool) or not isinstance(stop, int) or stop < 0:
        raise ValueError(f"nudge_stop is the id of a token, not {stop!r}")
    # Also keeps it inside the vocabulary: of stop_token_ids vLLM checks that itself.
    if stop not in (params.stop_token_ids or ()):
        raise ValueError(f"nudge_stop, {stop}, is not among stop_token_ids")
    return float(gamma), stop


def mask(logits: Any, gamma: Any, stop: Any) -> Any:
    """Logits (rows, vocabulary), with all but the stop masked in rows below their gamma.

    All stays on the device: to look at a value there would make every step wait for it.
    """
    doubt = ((logits.amax(-1) - logits.logsumexp(-1)).exp() < gamma)[:, None]
    kept = logits.gather(1, stop[:, None])
    return logits.masked_fill(doubt, float("-inf")).scatter(
        1, stop[:, None], kept.masked_fill(doubt, 0.0)
    )
