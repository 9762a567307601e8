"""What a file is that should be text or JSON lines and is not, and the command that converts it.

Recognised by its first bytes.
"""

from __future__ import annotations

import codecs
import json
import shlex
from pathlib import Path, PurePath

from ..errors import InputError

BEGIN = 4096
"""Bytes from the beginning of a file that suffice to tell its kind."""
_PACKED = {
    b"\x1f\x8b": "gzip -dc",
    b"\x28\xb5\x2f\xfd": "zstd -dc",
    b"\xfd7zXZ": "xz -dc",
    b"BZh": "bzip2 -dc",
    b"PK\x03\x04": "unzip -p",
}
_WIDE = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_FROM_CSV = "import csv, json, sys; [print(json.dumps(row)) for row in csv.DictReader(sys.stdin{})]"
_BY_NAME = {
    ".json": "jq -c 'if type == \"array\" then .[] else . end' {}",
    ".gz": "gzip -dc {}",
    ".zst": "zstd -dc {}",
    ".xz": "xz -dc {}",
    ".bz2": "bzip2 -dc {}",
    ".zip": "unzip -p {}",
    ".csv": f"python3 -c {shlex.quote(_FROM_CSV.format(''))} < {{}}",
    ".tsv": f"python3 -c {shlex.quote(_FROM_CSV.format(', delimiter=chr(9)'))} < {{}}",
}


def check_text(name: object, begin: bytes) -> None:
    """Refuse a file that begins so and is no text in UTF-8.

    Raises:
        InputError: it says what the file is, and which command makes it text.
    """
    for magic, command in _PACKED.items():
        if begin.startswith(magic):
            raise InputError(f"{name} is packed", hint=_written(f"{command} {_quoted(name)}", name))
    if begin.startswith(b"PAR1"):
        raise InputError(f"{name} is Parquet", hint="give it a name that ends in .parquet")
    if found := _wide(begin):
        raise InputError(
            f"{name} is in {found.upper()}, not UTF-8",
            hint=_written(f"iconv -f {found} -t utf-8 {_quoted(name)}", name),
        )


def check_lines(name: object, begin: bytes) -> None:
    """The same of a file that should be JSON lines, an object on each.

    Raises:
        InputError: it is no text, or JSON but not in lines.
    """
    check_text(name, begin)
    first = begin.removeprefix(codecs.BOM_UTF8).lstrip().split(b"\n", 1)[0].strip()
    if first.startswith(b"["):
        raise InputError(
            f"{name} is one JSON array, and JSON lines are expected: an object on each line",
            hint=_written(f"jq -c '.[]' {_quoted(name)}", name),
        )
    if first == b"{":
        raise InputError(
            f"{name} is JSON over several lines, and an object on each line is expected",
            hint=_written(f"jq -c . {_quoted(name)}", name),
        )


def no_object(name: object, begin: bytes) -> InputError:
    """What is to be said of a file none of whose lines is an object with something in it."""
    first = begin.lstrip().split(b"\n", 1)[0]
    table = not first.startswith(b"{") and (b"," in first or b"\t" in first)
    told = f"no line of {name} is a JSON object with something in it"
    if not table:
        return InputError(told, hint="JSON lines are expected: an object on each line")
    return InputError(
        f"{told}; is it CSV?", hint=as_lines(name, ".tsv" if b"\t" in first else ".csv")
    )


def as_lines(name: object, suffix: str) -> str:
    """The command that makes JSON lines of a file with such a name; empty if there is none."""
    command = _BY_NAME.get(suffix)
    return _written(command.format(_quoted(name)), name) if command else ""


def _wide(begin: bytes) -> str:
    for mark, encoding in _WIDE.items():
        if begin.startswith(mark):
            return encoding
    if begin[1:2] == b"\0" or begin[:1] == b"\0":
        return "utf-16le" if begin[1:2] == b"\0" else "utf-16be"
    return ""


def _quoted(name: object) -> str:
    return shlex.quote(str(name))


def _written(command: str, name: object) -> str:
    return (
        f"convert it: {command} > {shlex.quote(PurePath(str(name)).stem.split('.')[0])}-lines.jsonl"
    )


def read_questions(path: Path) -> list[str]:
    """The `question` of each line of a JSONL file."""
    try:
        data = path.read_bytes()
        check_lines(path, data[:BEGIN])
        lines = data.decode("utf-8-sig").splitlines()
        found = [json.loads(line)["question"] for line in lines if line.strip()]
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror}") from None
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError):
        found = []
    if not found or not all(isinstance(question, str) for question in found):
        raise InputError(f'{path} must be JSON lines such as {{"question": "..."}}')
    return found
