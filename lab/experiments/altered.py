"""Models made surer than they are, or less sure: the same choices, other probabilities.

The weights of the last norm are multiplied, and so are all logits: by 4, a model at temperature
0.25 that thinks it is at 1. What it would write greedily stays the same. Knows no cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import transformers

from ..export import unpack, write_gguf
from ..families import FAMILIES
from ..plan import plans


def sharpened(models: Path, name: str, factor: float, out: Path) -> Path:
    """A GGUF file of a kept model whose logits are so many times as large."""
    plan = plans()[name]
    path = out / f"{name}-{factor:g}.gguf"
    with TemporaryDirectory() as scratch:
        folder = unpack(models / f"{name}.gguf", Path(scratch))
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float16)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        model.model.norm.weight *= factor
    write_gguf(plan, model, tokenizer, FAMILIES[plan.family], path)
    return path


def altered(models: Path, names: Sequence[str], out: Path) -> dict[str, Path]:
    """All models called `NAME*FACTOR`, by that name."""
    out.mkdir(parents=True, exist_ok=True)
    found = {}
    for text in names:
        name, _, factor = text.partition("*")
        found[text] = sharpened(models, name, float(factor), out)
    return found
