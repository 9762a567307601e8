"""Nudging on an accelerator beside the base model alone, with models that need no weights.

    python -m benchmarks.gpu [--time 330] [--noise 0.1,0.3] [--toy] [--json FILE]

The models are random, of the shapes of Llama 7B and 1B, and write words that mean nothing: THE
FIGURES COME FROM NO REAL TEXT. What they show is what passes cost, what sharing them saves, and
what drafts save when both models agree as often as is said. Two pairs:

* `deepened`: the 1B model made seven times deeper by layers that add nothing, and the same 1B
  model, but that it prefers another token in place of a share of all (`--noise`).
* `apart`: the random 7B and 1B models, which never agree: the worst case.

Each is measured one answer at a time and several at once, as `nudge bench` does. Where torch sees
no GPU it says so, and exits with 2.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from tokenizers import decoders, models, pre_tokenizers

from nudging.bench.bench_table import HEAD, legend, lines, told
from nudging.bench.case_results import CaseResult, with_ratios
from nudging.bench.deep import deepen
from nudging.bench.questions import QUESTIONS
from nudging.bench.suite import Stage, Workload, measured
from nudging.bench.together import opened, turns, warmed, ways
from nudging.engines.hf.hf_runtime import HfRuntime
from nudging.engines.local.local_engine import LocalEngine

from .sections import table

Model = Callable[[], Any]
VOCABULARY = 32000
SHAPES: dict[str, dict[str, int]] = {
    "7b": {
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
    },
    "1b": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
    "toy": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
}
TIMES = 7
SHARPNESS = 8.0
"""Deviation of the logits: the best token of a random model then stands out as in a real one."""
AT_ONCE = (1, 8, 32)
OPTIONS = {"gamma": 0.4, "guards": "none"}
"""A random model runs into loops, and the guard against them would end its answers."""
CHAT = (
    "{% for m in messages %}{{ 'Instruction: ' if m.role == 'user' }}{{ m.content }}\n{% endfor %}"
)
"""The text that the base model reads too: two equal models agree only after equal texts."""


def disagree(model: Any, share: float) -> None:
    """Have a share of the tokens exchanged for others, in pairs, wherever the model writes them."""
    torch.manual_seed(2)
    some = 256 + torch.randperm(VOCABULARY - 256)[: int(share * (VOCABULARY - 256)) // 2 * 2]
    with torch.no_grad():
        head = model.lm_head.weight
        head[some] = head[some.roll(len(some) // 2)].clone()


def word_tokenizer() -> Any:
    """Words of one to four letters, each one token however the text is cut, and all bytes."""
    signs = sorted(pre_tokenizers.ByteLevel.alphabet())
    space, letters = "Ġ", "abcdefghijklmnopqrstuvwxyz"
    merges: list[tuple[str, str]] = []
    words = [space]
    while len(signs) + len(merges) < VOCABULARY:
        longer = list(itertools.product(words, letters))
        merges += longer
        words = [head + letter for head, letter in longer]
    merges = merges[: VOCABULARY - len(signs)]
    pieces = [*signs, *(head + letter for head, letter in merges)]
    vocabulary = {piece: place for place, piece in enumerate(pieces)}
    backend = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, chat_template=CHAT)


def random_model(shape: str, device: str) -> Any:
    """The same weights for the same shape, every time."""
    config = transformers.LlamaConfig(
        **SHAPES[shape],
        vocab_size=VOCABULARY,
        max_position_embeddings=2048,
        bos_token_id=None,
        eos_token_id=None,
        dtype=torch.bfloat16,
    )
    torch.manual_seed(1)
    with torch.device(device):
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
    with torch.no_grad():
        head = model.lm_head.weight
        head *= SHARPNESS / (head.float().std() * config.hidden_size**0.5).item()
        head[:256] = 0  # no single bytes: they would be read back as parts of words
    return model


def suite(
    request: Workload, noises: Sequence[float], *, device: str, toy: bool
) -> list[Stage[Any]]:
    """The pairs, each with its models made when it is measured."""
    large, small = ("toy", "toy") if toy else ("7b", "1b")

    def deepened() -> Any:
        model = random_model(small, device)
        deepen(model, TIMES)
        return model

    def noisy(share: float) -> Any:
        model = random_model(small, device)
        disagree(model, share)
        return model

    def other() -> Any:
        model = random_model(large, device)
        with torch.no_grad():  # at toy size both are the same model until they are told apart
            model.lm_head.weight.copy_(model.lm_head.weight.roll(1000, 0))
            model.lm_head.weight[:256] = 0
        return model

    pairs = {f"deepened, noise {share:g}": (deepened, partial(noisy, share)) for share in noises}
    pairs["apart"] = (other, partial(random_model, small, device))
    return [_stage(label, *models, request) for label, models in pairs.items()]


def _stage(label: str, base: Model, nudge: Model, request: Workload) -> Stage[Any]:
    found = ways(request.speculate, generate=True)

    async def engine(name: str, make: Model) -> LocalEngine:
        runtime = HfRuntime(
            await asyncio.to_thread(make), word_tokenizer(), n_ctx=2048, slots=max(AT_ONCE)
        )
        return LocalEngine(f"hf:{name}", runtime)

    pair = partial(opened, partial(engine, "base", base), partial(engine, "nudge", nudge))
    return Stage(
        lambda: warmed(pair(), request.questions[:1], found),
        turns("gpu", label, request, request.at_once or AT_ONCE, found),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--prompts", type=int, default=4, help="questions, at least")
    parser.add_argument("--noise", default="0.1,0.3", help="shares of tokens, with commas")
    parser.add_argument("--time", type=float, default=330, help="seconds for all")
    parser.add_argument("--toy", action="store_true", help="tiny models on the CPU, as a check")
    parser.add_argument("--json", type=Path, help="a file for the rows")
    given = parser.parse_args()
    if not given.toy and not torch.cuda.is_available():
        print("torch sees no GPU here; --toy runs tiny models on the CPU", file=sys.stderr)
        raise SystemExit(2)
    request = Workload(
        QUESTIONS, given.prompts, speculate=("off", "auto"), rounds=1, options=OPTIONS
    )
    noises = [float(share) for share in given.noise.split(",")]
    stages = suite(request, noises, device="cpu" if given.toy else "cuda", toy=given.toy)
    rows: list[CaseResult] = []

    async def collect() -> None:
        async for row in measured(stages, seconds=given.time):
            print(told(row), file=sys.stderr, flush=True)
            rows.append(row)

    asyncio.run(collect())
    found = lines(rows)
    kept = [place for place in range(len(HEAD)) if any(line[place] for line in found)]
    print(table([HEAD[i] for i in kept], [[line[i] for i in kept] for line in found]))
    missing = sum(len(stage.keys) for stage in stages) - len(rows)
    print(f"\n{legend(HEAD[i] for i in kept)} From random models: no figure comes from real text.")
    if missing:
        print(f"Left out for want of time: {missing} rows.")
    if given.json:
        given.json.write_text(json.dumps([row.as_dict() for row in with_ratios(rows)], indent=1))


if __name__ == "__main__":
    main()
