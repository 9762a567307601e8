"""What the files of a folder or of a repository on the hub say they are, before any is read.

The libraries would load some of it that is no language model, and fail at the rest in words that
lead nowhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ...errors import ModelError
from ...storage.nesting import shallow

INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
_NO_WRITER = re.compile(
    r"\w*For(MaskedLM|PreTraining|\w*Classification|QuestionAnswering|MultipleChoice)"
    r"|\w*(Bert|Roberta|Electra|MPNet|Encoder)\w*Model"
)
"""Classes of transformers that fill in gaps, judge or embed."""
WRITERS = "name a model that writes, a base model or a chat model"


def check_files(model: str, names: Collection[str], base: str = "") -> None:
    """Refuse what is no language model by the names of its files.

    `base`: the model that an adapter is for, where that is known.

    Raises:
        ModelError: it says what it is, and what to do.
    """
    weights = [name for name in names if name.endswith(".safetensors")]
    if ADAPTER in names and all(name.startswith("adapter_") for name in weights):
        whose = f" of {base}" if base else ""
        raise ModelError(
            f"{model} is a LoRA adapter{whose}, no model",
            hint="merge it into its base model and open the folder that comes of it: "
            "peft.AutoPeftModelForCausalLM.from_pretrained(ADAPTER).merge_and_unload()"
            ".save_pretrained(FOLDER), and its tokenizer beside it",
        )
    if "modules.json" in names:
        raise ModelError(
            f"{model} is a model that makes embeddings (of sentence-transformers)", hint=WRITERS
        )
    if not weights and any(name.endswith(".gguf") for name in names):
        raise ModelError(
            f"{model} holds GGUF files, and no .safetensors weights",
            hint="open one of them, on this disk, as llama:PATH.gguf",
        )


def check_folder(folder: Path) -> None:
    """The same for a folder, all of whose files are to be there.

    Raises:
        ModelError: it is no language model, or a file of it is missing.
    """
    names = {path.name for path in folder.iterdir()}
    base = _json(folder / ADAPTER).get("base_model_name_or_path")
    check_files(str(folder), names, base if isinstance(base, str) else "")
    if not any(name.endswith(".safetensors") for name in names):
        raise ModelError(
            f"the folder {folder} holds no .safetensors weights",
            hint="pickled weights (.bin, .pt) are never read; save them as safetensors first",
        )
    parts = _json(folder / INDEX).get("weight_map")
    wanted = {str(part) for part in parts.values()} if isinstance(parts, dict) else set[str]()
    if "model.safetensors" not in names and (missing := sorted(wanted - names)):
        told = f" and {len(missing) - 1} more" if missing[1:] else ""
        raise ModelError(
            f"{folder} lacks {missing[0]}{told} of the {len(wanted)} files of its weights",
            hint="fetch what is missing",
        )


def check_classes(model: str, config: Any) -> None:
    """Refuse a model by its configuration, of transformers.

    Raises:
        ModelError: it can't write on from a text.
    """
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(f"{model} has an encoder, and can't write on from a text", hint=WRITERS)
    for name in getattr(config, "architectures", None) or ():
        if _NO_WRITER.fullmatch(str(name)):
            raise ModelError(f"{model} is a {name}, and can't write on from a text", hint=WRITERS)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = shallow(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
