"""Nudging on an accelerator beside the base model alone, with models that need no weights.

    python -m benchmarks.gpu [--prompts 4] [--tokens 96] [--noise 0,0.1,0.3] [--toy] [--json FILE]

The models are random, of the shapes of Llama 7B and 1B, and write words that mean nothing: THE
FIGURES COME FROM NO REAL TEXT. What they show is what passes cost, and what drafts save when both
models agree as often as is said. Two pairs:

* `deepened`: the 1B model made seven times deeper by layers that add nothing, and the same 1B
  model as it is. They agree everywhere, but at a share of the positions (`--noise`) where the
  nudging model is made to prefer another token.
* `apart`: the random 7B and 1B models, which never agree: the worst case.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from tokenizers import decoders, models, pre_tokenizers

from nudging.bench.case_results import HEAD, CaseResult, Workload, lines
from nudging.bench.deep import deepen
from nudging.bench.measure import compared
from nudging.bench.questions import QUESTIONS
from nudging.engines.hf.hf_runtime import HfRuntime
from nudging.engines.local.local_engine import LocalEngine
from nudging.engines.local.runtime import Rows, SlotInput
from nudging.values.sampling import uniform

from .sections import table

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
GAMMA = 0.4
CHAT = (
    "{% for m in messages %}{{ 'Instruction: ' if m.role == 'user' }}{{ m.content }}\n{% endfor %}"
)
"""The text that the base model reads too: two equal models agree only after equal texts."""


class Noisy(HfRuntime):
    """A model that at a known share of the positions prefers another token."""

    def __init__(self, model: Any, tokenizer: Any, share: float) -> None:
        super().__init__(model, tokenizer, n_ctx=2048)
        self._share = share

    def forward_many(self, works: Sequence[SlotInput]) -> list[Rows]:
        begins = [self.cut(self.n_ctx, slot) + len(ids) - rows for slot, ids, rows in works]
        found = super().forward_many(works)
        for rows, begin in zip(found, begins, strict=True):
            for place, row in enumerate(rows.logits):
                if uniform(0, "nudge", begin + place) < self._share:
                    best = int(row.argmax())
                    other = 256 + (best + 1) % (len(row) - 256)
                    with torch.inference_mode():
                        row[other] = row[best] + 1
        return found


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


async def measure(
    request: Workload, noises: Sequence[float], *, device: str, toy: bool
) -> AsyncGenerator[CaseResult, None]:
    tokenizer = word_tokenizer()
    large, small = ("toy", "toy") if toy else ("7b", "1b")

    async def rows(
        label: str, base: Any, nudge: Any, share: float
    ) -> AsyncGenerator[CaseResult, None]:
        engines = (
            LocalEngine("hf:base", HfRuntime(base, tokenizer, n_ctx=2048)),
            LocalEngine("hf:nudge", Noisy(nudge, tokenizer, share)),
        )
        async with contextlib.aclosing(engines[0]), contextlib.aclosing(engines[1]):
            # A random model runs into loops, and the guard against them would end its answers.
            options: dict[str, Any] = {"gamma": GAMMA, "guards": "none"}
            async for row in compared("gpu", label, *engines, request, **options):
                yield row

    small_model = random_model(small, device)
    base = random_model(small, device)
    deepen(base, TIMES)
    for share in noises:
        async for row in rows(f"deepened, noise {share:g}", base, small_model, share):
            yield row
    del base
    large_model = random_model(large, device)
    with torch.no_grad():  # at toy size both are the same model until they are told apart
        large_model.lm_head.weight.copy_(large_model.lm_head.weight.roll(1000, 0))
        large_model.lm_head.weight[:256] = 0
    async for row in rows("apart", large_model, small_model, 0.0):
        yield row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--noise", default="0,0.1,0.3", help="shares of positions, with commas")
    parser.add_argument("--toy", action="store_true", help="tiny models on the CPU, as a check")
    parser.add_argument("--json", type=Path, help="a file for the rows")
    given = parser.parse_args()
    if not given.toy and not torch.cuda.is_available():
        raise SystemExit("torch sees no GPU here; --toy runs tiny models on the CPU")
    device = "cpu" if given.toy else "cuda"
    request = Workload(QUESTIONS[: given.prompts], tokens=given.tokens)
    noises = [float(share) for share in given.noise.split(",")]

    async def collect() -> list[CaseResult]:
        return [row async for row in measure(request, noises, device=device, toy=given.toy)]

    rows = asyncio.run(collect())
    print(table(list(HEAD), [[*line] for line in lines(rows)]))
    print("\nFrom random models: no figure comes from real text.")
    if given.json:
        given.json.write_text(json.dumps([row.as_dict() for row in rows], indent=1))


if __name__ == "__main__":
    main()
