"""The `hf` runtime: a transformers model, run by a loop of our own.

Opens a folder, a hub name or a GGUF file, runs forward, cuts the cache. Foreign code and pickled
weights are never read.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import logging
import os
import re
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path
from typing import Any

from ...errors import MissingExtra, ModelError, NudgingError, SpecError, install
from ...prompts.templates import NAMED
from ..base import Want
from ..demo import cache_root
from ..local.local_engine import LocalEngine
from ..local.logits import Logits, ThinRow
from ..local.runtime import Rows, Runtime
from ..options import spec_number, template_variables
from ..spec import Spec

try:
    import torch
    import transformers
    from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer
except ImportError:
    raise MissingExtra("the hf engine", "hf") from None

from ..llama.gguf_file import check_gguf, first_part
from .hf_files import check_classes, check_folder
from .hf_hub import is_only_here
from .hf_logits import thin_row_on_device
from .hf_tokenizer import HfTokenizer

DTYPES = ("auto", "float32", "bfloat16", "float16")
CHUNK = 512
"""Most ids of one forward pass, so that reading a long prompt takes no more memory than a short."""
USUAL_CONTEXT = 4096
PARALLEL = 8
"""Answers at once, each with a cache of its own as long as they are at work."""

_one_at_a_time = threading.Lock()
"""Loading changes settings of the whole process, and puts them back."""
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_DEVICE = re.compile(r"cpu|mps|auto|cuda(:\d+)?")


# --- opening --------------------------------------------------------------------------------


def open_hf(spec: Spec, change: Callable[[Any], None] | None = None) -> LocalEngine:
    """Open `hf:NAME_OR_DIR_OR_GGUF?dtype=...&device=...&n_ctx=...`, and other options of `KIND`.

    `device=auto` spreads the model over all GPUs; without it, the first GPU or the CPU is used.
    `change`: is given the model as it was read, before anything is run.

    Raises:
        SpecError: an option has a bad value.
        MissingExtra: a package is not installed.
        ModelError: the model can't be found, read or run.
    """
    dtype = spec.options.get("dtype", "auto")
    if dtype not in DTYPES:
        raise SpecError(f"hf has no dtype {dtype!r}", hint=f"there are {', '.join(DTYPES)}")
    template = spec.options.get("template")
    if template is not None and template not in NAMED:
        raise SpecError(
            f"there is no built-in template {template!r}", hint=f"there are {', '.join(NAMED)}"
        )
    device = _device(spec.options.get("device"))
    n_ctx = spec_number(spec.options, "n_ctx", 1, 2**24)
    threads = spec_number(spec.options, "threads", 1, 512)
    parallel = spec_number(spec.options, "parallel", 1, 256) or PARALLEL
    variables = template_variables(spec.options)
    source = _source(spec.path)
    if threads:
        torch.set_num_threads(threads)
    with _foreign(spec.path):
        if isinstance(source, Path) and source.is_file():
            source = converted(source)
        local, revision = True, dict[str, str]()
        if isinstance(source, str):
            revision = {"revision": spec.options.get("revision", "main")}
            local = is_only_here(source, **revision)
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            source, trust_remote_code=False, local_files_only=local, **revision
        )
        config = transformers.AutoConfig.from_pretrained(
            source, trust_remote_code=False, local_files_only=local, **revision
        )
        check_classes(spec.path, config)
        model = _whole_model(
            source,
            dtype=dtype,
            device_map=device,
            use_safetensors=True,
            local_files_only=local,
            **revision,
        )
        if change is not None:
            change(model)
        runtime = HfRuntime(model, tokenizer, n_ctx=n_ctx or USUAL_CONTEXT, slots=parallel)
        runtime.forward(runtime.tokenizer.tokenize("a", controls=False, begin=True), 1)
        runtime.cut(0)
    return LocalEngine(spec.text, runtime, template=template, variables=variables)


def _device(name: str | None) -> str:
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not _DEVICE.fullmatch(name):
        raise SpecError(
            f"there is no device {name!r}", hint="there are cpu, cuda, cuda:N, mps and auto"
        )
    kind, _, number = name.partition(":")
    missing = (kind == "cuda" and int(number or 0) >= torch.cuda.device_count()) or (
        kind == "mps" and not torch.backends.mps.is_available()
    )
    if missing:
        raise SpecError(
            f"device {name!r} is not there: torch sees no such accelerator",
            hint="without ?device=..., one that is there is used",
        )
    return name


def _source(name: str) -> Path | str:
    """A folder or a GGUF file, or a name for the hub. What looks like a path stays off the net."""
    path = Path(name).expanduser()
    if path.is_dir():
        check_folder(path)
        return path
    if path.is_file():
        if first_part(path, check_gguf(path)):
            raise ModelError(
                f"{name} is a model in several files, which hf can't read",
                hint=f"open it as llama:{name}, or join them: llama-gguf-split --merge {name} "
                "WHOLE.gguf",
            )
        return path
    if not _HUB_NAME.fullmatch(name) or name.endswith(".gguf"):
        raise ModelError(f"there is no file or folder {name}", hint="is the path right?")
    return name


@contextmanager
def _foreign(name: str) -> Iterator[None]:
    """Keep the libraries silent, and raise their failures as ours, in one line."""
    log = transformers.utils.logging
    hub = logging.getLogger("huggingface_hub")
    with _one_at_a_time, warnings.catch_warnings():
        level, bars, hub_level = log.get_verbosity(), log.is_progress_bar_enabled(), hub.level
        warnings.simplefilter("ignore")
        log.set_verbosity(log.CRITICAL)
        hub.setLevel(logging.CRITICAL)
        log.disable_progress_bar()
        try:
            yield
        except NudgingError:
            raise
        except Exception as error:  # whatever the libraries raise on a broken or unknown model
            said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
            hint = (
                "is the download complete? A model folder has config.json, tokenizer.json and "
                ".safetensors files"
            )
            if isinstance(error, ImportError):
                hint = f"this brings what most models need: {install('hf')}"
            raise ModelError(
                f"{name} can't be loaded: {type(error).__name__}: {said[:200]}", hint=hint
            ) from error
        finally:
            log.set_verbosity(level)
            hub.setLevel(hub_level)
            if bars:
                log.enable_progress_bar()


def _whole_model(source: Path | str, **options: Any) -> Any:
    """The model with every weight from the file: transformers would draw missing ones at random."""
    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        source, trust_remote_code=False, output_loading_info=True, **options
    )
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelError(
            f"{source} lacks {len(missing)} of the model's weights, {missing[0]} first",
            hint="is the download complete, and is it a causal language model?",
        )
    return model.eval()


def converted(path: Path) -> Path:
    """The folder that a GGUF file was unpacked to: half a minute once, then kept."""
    stat = path.stat()
    key = hashlib.sha256(f"{stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:12]
    folder = cache_root() / "hf" / f"{path.stem}-{key}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=".unpacking-", dir=folder.parent) as scratch,
        redirect_stderr(io.StringIO()),  # a progress bar that no setting of the library stops
    ):
        made = Path(scratch, "model")
        file: dict[str, Any] = {"gguf_file": path.name, "local_files_only": True}
        # Each reading of the file's header takes seconds: the configuration is read once for both.
        file["config"] = transformers.AutoConfig.from_pretrained(path.parent, **file)
        transformers.AutoTokenizer.from_pretrained(path.parent, **file).save_pretrained(made)
        unpack = transformers.GgufConfig(dequantize=True)
        _whole_model(
            path.parent, quantization_config=unpack, dtype=torch.bfloat16, **file
        ).save_pretrained(made)
        with suppress(OSError):  # another process may have been faster
            os.rename(made, folder)
    return folder


# --- the model ------------------------------------------------------------------------------


class HfRuntime(Runtime):
    """A transformers model. Its caches are computed one after the other."""

    kind = "hf"
    at_once = 4  # docs/performance.md has what fewer and more of them cost

    def __init__(self, model: Any, tokenizer: Any, *, n_ctx: int, slots: int = 1) -> None:
        if "past_key_values" not in inspect.signature(model.forward).parameters:
            # It would swallow the cache unread, as Mamba and RWKV do, and answer nonsense.
            raise ModelError(
                f"models of the kind {model.config.model_type} keep a memory that hf can't hold",
                hint="serve it with vLLM, or open a GGUF file of it with llama:",
            )
        text = model.config.get_text_config()
        limit = getattr(text, "max_position_embeddings", None)
        self.n_ctx = min(n_ctx, limit or n_ctx)
        self._model = model
        ends = (
            *_ids(model.generation_config.eos_token_id if model.generation_config else None),
            *_ids(text.eos_token_id),
            *_ids(tokenizer.eos_token_id),
        )
        own = self.tokenizer = HfTokenizer(tokenizer, ends)
        # Some tokenizers have tokens of their own, such as one to pad with, that the model lacks.
        own.size = min(own.size, getattr(text, "vocab_size", own.size))
        self.most_slots = slots
        self._caches: list[Any] = [None]
        self._lengths = [0]
        layers = self._new_cache().layers
        self.rewinds = all(
            layer.is_croppable and not getattr(layer, "is_sliding", False) for layer in layers
        )
        self.notes = own.notes
        if not self.rewinds:
            self.notes += (
                "The model's memory can't be rolled back, so after every change of writer it "
                "reads the whole text again.",
            )

    def forward(self, ids: Sequence[int], rows: int, slot: int = 0) -> Rows:
        cache = self._caches[slot]
        cache = self._new_cache() if cache is None else cache
        length = self._lengths[slot] + len(ids)
        self._forget(slot)  # a pass that fails leaves the cache half written
        rest = list(ids)
        try:
            with torch.inference_mode():
                while len(rest) >= CHUNK + rows:
                    self._pass(cache, rest[:CHUNK], 1)
                    del rest[:CHUNK]
                logits = self._pass(cache, rest, rows).float()
        except torch.OutOfMemoryError:
            raise ModelError(
                "the accelerator ran out of memory", hint="lower ?n_ctx=, or use ?dtype=bfloat16"
            ) from None
        self._caches[slot], self._lengths[slot] = cache, length
        return logits if logits.is_cuda else logits.cpu().numpy()

    def _pass(self, cache: Any, ids: list[int], rows: int) -> Any:
        output = self._model(
            input_ids=torch.tensor([ids], device=self._model.device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=rows,
        )
        return output.logits[0, -rows:]

    def thin(self, row: Any, want: Want, number: float | None) -> ThinRow:
        if number is not None or not torch.is_tensor(row):
            return super().thin(row, want, number)
        ends = torch.as_tensor(self._end_ids, device=row.device)
        return thin_row_on_device(row, ends, want)

    def whole(self, row: Any) -> Logits:
        return super().whole(row.cpu().numpy() if torch.is_tensor(row) else row)

    def cut(self, length: int, slot: int = 0) -> int:
        surplus = self._lengths[slot] - length
        if surplus > 0:
            if length == 0 or not self.rewinds:
                self._forget(slot)
            else:
                # Negative means "remove so many" in every release; a positive number changed its
                # meaning in the summer of 2026 (huggingface/transformers#47720).
                self._caches[slot].crop(-surplus)
                self._lengths[slot] = length
        return self._lengths[slot]

    def grow(self, slots: int) -> bool:
        self._caches, self._lengths = [None] * slots, [0] * slots
        self.slots = slots
        return False

    def close(self) -> None:
        self.grow(1)
        self._model = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _forget(self, slot: int) -> None:
        self._caches[slot], self._lengths[slot] = None, 0

    def _new_cache(self) -> Any:
        cache = DynamicCache(config=self._model.config)
        for place, layer in enumerate(cache.layers):
            # A sliding layer drops what its window has passed, and each crop drops the rest of
            # its history, so only one cut in a row would be possible. A plain layer keeps all;
            # the model masks by its window in both cases.
            if type(layer) is DynamicSlidingWindowLayer:
                cache.layers[place] = DynamicLayer()
        return cache


def _ids(found: int | Sequence[int] | None) -> Sequence[int]:
    if found is None:
        return ()
    return (found,) if isinstance(found, int) else found
