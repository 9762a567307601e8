"""Whether a file is a model that llama.cpp can open, and what it is and what to do if it is none.

llama.cpp says little, and some of it misleads.
"""

from __future__ import annotations

import re
from pathlib import Path

from ...errors import ModelError
from .gguf_header import MAGIC, Header, read_header

_PART = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf")
"""A part's name: llama.cpp finds the others by it."""
_PIECE = re.compile(r".*\.gguf[-._]?(split-[a-z]+|part[\w-]*|\d{3})", re.IGNORECASE)
"""Names of a file that was cut by bytes, as some are put on the hub."""
_LINK = b"version https://git-lfs"
_PACKED = {b"\x1f\x8b": "gzip -d", b"PK\x03\x04": "unzip", b"\xfd7zX": "xz -d"}
_PACKED |= {b"\x28\xb5\x2f\xfd": "zstd -d", b"BZh": "bzip2 -d"}
_OTHERS = {
    "adapter": (
        "an adapter (LoRA), no model",
        "merge it into its base model with llama.cpp's llama-export-lora, and name the file that "
        "comes of it",
    ),
    "mmproj": (
        "the projector of a model that sees or hears, no model",
        "name the model's own .gguf file, which lies beside it where both came from",
    ),
    "imatrix": (
        "what a quantization was weighted by (an importance matrix), no model",
        "name the model's own .gguf file",
    ),
    "controlvector": ("a control vector, no model", "name the model's own .gguf file"),
}


def check_gguf(path: Path) -> Header:
    """The header of a model's file, the first where it has several.

    Raises:
        ModelError: it is no such file, it can't be read, or another part of it is not there.
    """
    if path.is_dir():
        raise ModelError(f"{path} is a folder", hint=_of_folder(path))
    try:
        header = _read(path)
    except FileNotFoundError:
        raise ModelError(f"there is no file {path}", hint="a spec is llama:PATH.gguf") from None
    except OSError as error:
        raise ModelError(f"can't read {path}: {error.strerror}") from None
    _check_parts(path, header)
    _check_kind(path, header)
    return header


def first_part(path: Path, header: Header) -> Path | None:
    """Of a model in several files the first; None where it is one file.

    Raises:
        ModelError: its name does not tell the others.
    """
    count = header.number("split.count") or 0
    if count < 2:
        return None
    found = _PART.fullmatch(path.name)
    if not found or int(found[3]) != count:
        raise ModelError(
            f"{path} is one of the {count} files of a model, and its name does not say so",
            hint=f"give each the name that it had: NAME-00001-of-{count:05}.gguf, and so on",
        )
    return path.with_name(_part_name(found[1], 1, count))


def _part_name(stem: str, number: int, count: int) -> str:
    return f"{stem}-{number:05}-of-{count:05}.gguf"


def _read(path: Path) -> Header:
    if _PIECE.fullmatch(path.name):
        raise ModelError(
            f"{path} is a piece of a file that was cut",
            hint="join the pieces in their order: cat FIRST SECOND ... > MODEL.gguf",
        )
    with path.open("rb") as file:
        begin = file.read(64)
    if begin.startswith(MAGIC):
        return read_header(path)
    raise ModelError(f"{path} is not a GGUF file", hint=_hint(path, begin))


def _hint(path: Path, begin: bytes) -> str:
    """What to do with a file of another kind."""
    if begin.startswith(_LINK):
        return "it stands for one that Git has not fetched yet: git lfs pull"
    for magic, command in _PACKED.items():
        if begin.startswith(magic) and path.suffix not in (".bin", ".pt", ".pth"):
            return f"it is packed: {command} {path}"
    if begin[4:8] == b"ftyp" or begin.lstrip()[:1] == b"<":
        return "it is no model at all, but perhaps a page in its place: fetch the file again"
    if (path.parent / "config.json").is_file():
        return f"a model in other files is opened by its folder: hf:{path.parent}"
    if begin[:4] in (b"ggml", b"lmgg", b"tjgg", b"fmgg"):
        return "it is of the kind before GGUF: fetch the model as GGUF"
    return "other formats open as hf:NAME_OR_DIR, or are converted with llama.cpp's tools"


def _of_folder(path: Path) -> str:
    """What to name in place of a folder."""
    found = sorted(path.glob("*.gguf"))
    first = [file for file in found if int((_PART.fullmatch(file.name) or [0] * 3)[2]) < 2]
    if len(first) == 1:
        return f"name the file in it: llama:{first[0]}"
    return "name the .gguf file in it" if found else f"it holds no .gguf file; is it hf:{path}?"


def _check_parts(path: Path, header: Header) -> None:
    """Of a model in several files all must be there, and the first is to be named."""
    first = first_part(path, header)
    if first is None:
        return
    count = header.number("split.count") or 0
    if first != path:
        raise ModelError(
            f"{path} is part {(header.number('split.no') or 0) + 1} of a model in {count} files",
            hint=f"name the first, and the others are found: llama:{first}",
        )
    stem = path.name.removesuffix(f"-00001-of-{count:05}.gguf")
    parts = [path.with_name(_part_name(stem, number, count)) for number in range(1, count + 1)]
    if missing := [part.name for part in parts if not part.is_file()]:
        told = (
            f"{missing[0]} and {len(missing) - 1} more are" if missing[1:] else f"{missing[0]} is"
        )
        raise ModelError(
            f"{path} is the first of {count} files, and {told} not there",
            hint=f"all must lie in {path.parent}: fetch what is missing",
        )
    for number, part in enumerate(parts):
        if read_header(part).number("split.no") != number:
            raise ModelError(
                f"{part} is not part {number + 1} of the model", hint="fetch the file again"
            )


def _check_kind(path: Path, header: Header) -> None:
    family = header.text("general.architecture")
    kind = "mmproj" if family == "clip" else header.text("general.type")
    if found := _OTHERS.get(family) or _OTHERS.get(kind):
        raise ModelError(f"{path} is {found[0]}", hint=found[1])
    pools = header.number(f"{family}.pooling_type") or 0
    if pools > 0 or header.values.get(f"{family}.attention.causal") is False:
        raise ModelError(
            f"{path} is a model that makes embeddings or fills in gaps, and can't write on from a "
            "text",
            hint="name a model that writes, a base model or a chat model",
        )
