"""Opens a model for `hf`: a folder, a hub name or a GGUF file.

Foreign code and pickled weights are never read.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path
from typing import Any

from ...errors import MissingExtra, ModelError, NudgingError, SpecError, install
from ...prompts.templates import NAMED
from ..demo import cache_root
from ..local.local_engine import LocalEngine
from ..local.openmp import short_waits
from ..options import spec_number, template_variables
from ..spec import Spec

try:
    with short_waits():
        import torch
    import transformers
except ImportError:
    raise MissingExtra("the hf engine", "hf") from None

from ..llama.gguf_file import check_gguf, first_part
from .hf_files import check_classes, check_folder
from .hf_hub import is_only_here
from .hf_runtime import HfRuntime

DTYPES = ("auto", "float32", "bfloat16", "float16")
USUAL_CONTEXT = 4096
_one_at_a_time = threading.Lock()
"""Loading changes settings of the whole process, and puts them back."""
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_DEVICE = re.compile(r"cpu|mps|auto|cuda(:\d+)?")


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
    parallel = spec_number(spec.options, "parallel", 1, 256)
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
