"""The memory that a model takes: its weights, and its KV cache for each token.

Read from a folder or from the Hugging Face hub, without loading anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..engines.hf.hf_files import check_files, check_folder
from ..errors import MissingExtra, ModelError, PullError

_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_OFTEN = 100_000
"""Tokens whose cache is as large as the weights, in many a model."""
_WIDTH = 2
"""Bytes of a number in the cache, unless vLLM is told otherwise."""


class ModelSize(NamedTuple):
    """Bytes."""

    weights: int
    token: int
    """Of the cache, for each token of a text."""


def size_of(model: str) -> ModelSize:
    """The size of a folder's model, or of one on the hub.

    Raises:
        ModelError: there is no such model, or none that is safe to load.
        MissingExtra: the hub's library is not installed. PullError: the hub gives no size.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return _of_folder(folder)
    if folder.exists() or not _HUB_NAME.fullmatch(model):
        raise ModelError(
            f"there is no model folder {model}",
            hint="vLLM takes a folder with config.json and .safetensors files, or a name on the "
            "Hugging Face hub such as OWNER/NAME",
        )
    return _of_hub(model)


def _of_folder(folder: Path) -> ModelSize:
    check_folder(folder)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{folder} has no readable config.json: {error}") from None
    files = {path.name: path.stat().st_size for path in folder.glob("*.safetensors")}
    return read_size(str(folder), files, config)


def _of_hub(name: str) -> ModelSize:
    try:
        import huggingface_hub
    except ModuleNotFoundError:
        raise MissingExtra("the size of a model on the hub", "hf") from None
    try:
        told = huggingface_hub.HfApi().model_info(name, files_metadata=True)
        check_files(name, [file.rfilename for file in told.siblings or ()])
        config = json.loads(Path(huggingface_hub.hf_hub_download(name, "config.json")).read_text())
    except ModelError:
        raise
    except Exception as error:  # of several libraries, with no common base
        try:
            folder = huggingface_hub.snapshot_download(name, local_files_only=True)
        except Exception:  # nor is it on this disk
            raise PullError(
                f"the hub does not tell the size of {name}: {str(error)[:300]}",
                hint="is the name right, and can the hub be reached? A folder does as well",
            ) from error
        return _of_folder(Path(folder))
    return read_size(name, {f.rfilename: f.size or 0 for f in told.siblings or ()}, config)


def read_size(name: str, files: Mapping[str, int], config: Any) -> ModelSize:
    """From the sizes of files and the configuration, both a stranger's."""
    weights = {n: size for n, size in files.items() if n.endswith(".safetensors") and "/" not in n}
    # Some models lie there twice, the second time in a form that vLLM does not read.
    usual = {n: size for n, size in weights.items() if not n.startswith("consolidated")}
    total = sum((usual or weights).values())
    if not total:
        raise ModelError(
            f"{name} holds no .safetensors weights",
            hint="pickled weights (.bin, .pt) are not used; save them as safetensors first",
        )
    return ModelSize(total, _token(config) or max(1, total // _OFTEN))


def _token(config: Any) -> int | None:
    """Bytes of cache for a token where all layers have the usual attention."""
    if not isinstance(config, dict):
        return None
    inner = config.get("text_config")
    text = inner if isinstance(inner, dict) else config

    def number(*names: str) -> int | None:
        found = next((text[n] for n in names if text.get(n) is not None), None)
        return found if isinstance(found, int) and found > 0 else None

    layers, heads = number("num_hidden_layers"), number("num_attention_heads")
    if layers is None or heads is None:
        return None
    if latent := number("kv_lora_rank"):  # DeepSeek's: one vector for all heads
        return layers * (latent + (number("qk_rope_head_dim") or 0)) * _WIDTH
    hidden = number("hidden_size")
    width = number("head_dim") or (hidden // heads if hidden else None)
    return 2 * layers * (number("num_key_value_heads") or heads) * width * _WIDTH if width else None
