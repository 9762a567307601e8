"""What a run was made with, so that another can be told from it: models, packages, machine.

A model in files is known by the sum of their bytes, one on the hub by its commit, one on a server
by what the server says of it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .engines.base import Engine
from .engines.demo import demo_path
from .engines.spec import Spec, parse_spec
from .version import __version__

_PACKAGES = {"llama": ("xllamacpp",), "hf": ("torch", "transformers")}
"""What computes, by engine: another version may round otherwise."""
_PART = re.compile(r"-\d{5}(-of-\d{5}\.gguf)$")


def model_facts(engine: Engine) -> dict[str, Any]:
    """A model of a run: its spec, and what it is wherever it lies."""
    spec = parse_spec(engine.spec)
    known = engine.capabilities
    facts: dict[str, Any] = {"spec": engine.spec, "options": dict(spec.options)}
    if spec.kind == "http":
        name = getattr(engine, "model", spec.model)  # one that the spec left to the server
        return facts | {"server": known.kind, "model": name, "n_ctx": known.n_ctx}
    if spec.kind == "scripted":
        return facts | {"model": spec.path}
    path = demo_path("base" if spec.path == "base" else "nudge") if spec.kind == "demo" else None
    files = model_files(path or Path(spec.path).expanduser())
    if files:
        return facts | {"sha256": sha256(files)}
    return facts | ({"commit": _commit(spec)} if spec.kind == "hf" else {"model": spec.path})


def model_files(path: Path) -> list[Path]:
    """The files of a model: of a folder all, of a GGUF in parts each part."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    if _PART.search(path.name):
        return sorted(path.parent.glob(_PART.sub(r"-?????\1", path.name)))
    return [path] if path.is_file() else []


def sha256(files: Iterable[Path]) -> str:
    """Of one file its own sum, of several the sum of their sums and names."""
    sums = []
    for path in files:
        with path.open("rb") as file:
            sums.append((path.name, hashlib.file_digest(file, "sha256").hexdigest()))
    if len(sums) == 1:
        return sums[0][1]
    return hashlib.sha256(
        "".join(f"{found}  {name}\n" for name, found in sums).encode()
    ).hexdigest()


def _commit(spec: Spec) -> str | None:
    """Of a model that came from the hub the commit that was fetched."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(
        spec.path, "config.json", revision=spec.options.get("revision", "main")
    )
    return Path(found).parent.name if isinstance(found, str) else None


def versions(kinds: Iterable[str]) -> dict[str, str]:
    """Of this library, and of what computes in engines of these kinds."""
    names = sorted({name for kind in kinds for name in _PACKAGES.get(kind, ())})
    return {"nudging": __version__} | {name: importlib.metadata.version(name) for name in names}


def made_now() -> dict[str, Any]:
    """When and where."""
    machine = {
        "system": platform.platform(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    return {"started": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine}
