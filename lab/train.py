"""Make the models: `make lab`.

    python -m lab.train [--seed 0] [--scale 1] [--out lab/models] [--work build/lab] [NAME ...]

Seeded and resumable: stopped or killed at any time, the same command goes on at the last checkpoint
and comes to the same weights. Each model is exported when it is done; what is there is not made
again. On a busy machine `OMP_NUM_THREADS=1` is faster than two threads that wait for each other.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer

from nudging.errors import InputError

from .batches import batch
from .export import export
from .families import CONTEXT, FAMILIES, FamilyName, make_tokenizer, wrapped
from .plan import Plan, plans
from .world import World, make_world

EVERY = 100
"""Steps from one checkpoint to the next."""
_NOTED = 20  # steps from one line of the record to the next
_WARMUP = 0.05
_LEAST = 0.1  # of the rate, at the end


class Stopped(Exception):
    """Training was told to stop; the checkpoint is kept."""


def new_model(plan: Plan, tokenizer: Any, seed: int) -> Any:
    """A model that knows nothing."""
    torch.manual_seed(seed)
    shape = plan.shape
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,
    )
    return transformers.LlamaForCausalLM(config)


def train(
    plan: Plan,
    world: World,
    tokenizer: Any,
    work: Path,
    *,
    seed: int = 0,
    every: int = EVERY,
    stop: Callable[[int], bool] = lambda step: False,
) -> Any:
    """Train one model, from its last checkpoint in `work` on. The base of an aligned model must
    have been trained there before.

    `stop` is asked after each step, by its number, whether to leave with `Stopped`.

    Raises:
        Stopped: `stop` said so.
        InputError: the base is not done, or the checkpoint is of another plan.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = new_model(plan, tokenizer, seed).to(device).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=plan.rate, betas=(0.9, 0.95), weight_decay=0.1, fused=True
    )
    folder = work / plan.name
    folder.mkdir(parents=True, exist_ok=True)
    kept, record = folder / "checkpoint.pt", folder / "training.jsonl"
    begun = 0
    if kept.exists():
        state = torch.load(kept, map_location=device, weights_only=True)
        if state["of"] != plan.steps:
            raise InputError(f"{kept} is of another plan", hint="delete the folder it is in")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        begun = state["step"]
    elif plan.start is not None:
        model.load_state_dict(_finished(work / plan.start / "checkpoint.pt", device))
    _shorten(record, begun)
    clock = time.perf_counter()
    losses: list[float] = []
    for step in range(begun, plan.steps):
        rate = plan.rate * _share_of_rate(step / plan.steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        ids, wanted = (part.to(device) for part in batch(plan, world, tokenizer, seed, step))
        logits = model(input_ids=ids, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        done = step + 1
        if done % _NOTED == 0 or done == plan.steps:
            seconds = time.perf_counter() - clock
            _note(record, plan, done, sum(losses) / len(losses), rate, seconds)
            clock, losses = time.perf_counter(), []
        stopped = stop(done)
        if stopped or done % every == 0 or done == plan.steps:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            _keep(kept, state | {"step": done, "of": plan.steps})
        if stopped:
            raise Stopped(f"{plan.name} stopped at step {done}; the same command goes on")
    return model.cpu().eval()


def _share_of_rate(share: float) -> float:
    """Up in a straight line, then down as a cosine."""
    if share < _WARMUP:
        return (share + 1e-3) / _WARMUP
    down = (share - _WARMUP) / (1 - _WARMUP)
    return _LEAST + (1 - _LEAST) * (1 + math.cos(math.pi * down)) / 2


def _shorten(record: Path, steps: int) -> None:
    """Leave out what was noted after the checkpoint, since it is done again."""
    if record.exists():
        lines = record.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if json.loads(line)["step"] <= steps]
        record.write_text("".join(kept), encoding="utf-8")


def _note(record: Path, plan: Plan, step: int, loss: float, rate: float, seconds: float) -> None:
    """A line of the training record, which stays beside the weights."""
    line = {
        "step": step,
        "of": plan.steps,
        "loss": round(loss, 4),
        "rate": round(rate, 7),
        "seconds": round(seconds, 1),
    }
    with record.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(f"{plan.name}: {json.dumps(line)}", flush=True)


def _finished(path: Path, device: torch.device) -> Any:
    """The weights of a base model that is done."""
    if path.exists():
        state = torch.load(path, map_location=device, weights_only=True)
        if state["step"] == state["of"]:
            return state["model"]
    raise InputError(f"{path.parent.name} is not trained yet", hint="it comes first")


def _keep(path: Path, state: Any) -> None:
    """Whole or not at all: the old checkpoint stays until the new one is written."""
    scratch = path.with_suffix(".new")
    torch.save(state, scratch)
    os.replace(scratch, path)


def family_tokenizer(name: FamilyName, world: World, work: Path, seed: int) -> Any:
    """A family's tokenizer, trained once and kept."""
    path = work / f"tokenizer-{name}.json"
    family = FAMILIES[name]
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = make_tokenizer(family, world, seed)
        scratch = path.with_suffix(".new")
        made.backend_tokenizer.save(str(scratch))
        os.replace(scratch, path)
    return wrapped(family, Tokenizer.from_file(str(path)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the laboratory's models.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and texts")
    parser.add_argument("--scale", type=int, default=1, help="so many times as wide, for a GPU")
    parser.add_argument("--out", type=Path, default=Path("lab/models"))
    parser.add_argument("--work", type=Path, default=Path("build/lab"))
    given = parser.parse_args()
    known = plans(given.scale)
    if unknown := [name for name in given.names if name not in known]:
        parser.error(f"there is no model {unknown[0]!r}; there are {', '.join(known)}")
    told: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: told.append(number))
    world = make_world()
    work = given.work / f"seed{given.seed}-scale{given.scale}"
    for name in given.names or known:
        plan = known[name]
        if (given.out / f"{name}.gguf").exists():
            continue
        tokenizer = family_tokenizer(plan.family, world, work, given.seed)
        try:
            model = train(
                plan, world, tokenizer, work, seed=given.seed, stop=lambda step: bool(told)
            )
        except (Stopped, InputError) as reason:
            sys.exit(str(reason))
        export(plan, model, tokenizer, given.out, record=work / name / "training.jsonl")


if __name__ == "__main__":
    main()
