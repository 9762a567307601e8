"""Files that llama.cpp would not survive are refused before it opens them."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from nudging.engines.llama.gguf_file import check_gguf
from nudging.engines.llama.gguf_header import Header, read_header
from nudging.engines.llama.gguf_limits import check_limits
from nudging.errors import ModelError
from tests.conftest import Demo, Lab

pytest.importorskip("gguf")
if find_spec("xllamacpp") is None:
    pytest.skip("xllamacpp is not installed", allow_module_level=True)

from tests.unit.engines.llama.tiny_gguf import tiny

Patch = Callable[[bytes, Header], tuple[int, int, bytes]]
"""From a file and its header, what to replace in it: from where to where, by what."""


def number(key: str, form: str, value: float) -> Patch:
    def patch(_: bytes, header: Header) -> tuple[int, int, bytes]:
        begin = header.places[key] + 4
        return begin, begin + struct.calcsize(form), struct.pack("<" + form, value)

    return patch


def text(key: str, value: bytes) -> Patch:
    def patch(data: bytes, header: Header) -> tuple[int, int, bytes]:
        begin = header.places[key] + 4
        (length,) = struct.unpack_from("<Q", data, begin)
        return begin, begin + 8 + length, struct.pack("<Q", len(value)) + value

    return patch


def token(old: bytes, new: bytes) -> Patch:
    def patch(data: bytes, header: Header) -> tuple[int, int, bytes]:
        before = struct.pack("<Q", len(old)) + old
        begin = data.index(before, header.places["tokenizer.ggml.tokens"])
        return begin, begin + len(before), struct.pack("<Q", len(new)) + new

    return patch


def kind(tensor: bytes, value: int) -> Patch:
    def patch(data: bytes, _: Header) -> tuple[int, int, bytes]:
        at = data.index(struct.pack("<Q", len(tensor)) + tensor) + 8 + len(tensor)
        (dimensions,) = struct.unpack_from("<I", data, at)
        at += 4 + 8 * dimensions
        return at, at + 4, struct.pack("<I", value)

    return patch


def patched(path: Path, out: Path, patch: Patch) -> Path:
    """The file with something replaced in its header, and its data where they belong."""
    data, header = path.read_bytes(), read_header(path)
    begin, end, new = patch(data, header)
    head = data[:begin] + new + data[end : header.data]
    out.write_bytes(head + bytes(-len(head) % 32) + data[-(-header.data // 32) * 32 :])
    return out


VALUES = [
    *(("gemma3.block_count", "I", value) for value in (0, 513, 1000, 2**31, 2**32 - 1)),
    *(("gemma3.attention.head_count", "I", n) for n in (2**28 + 2, 2**31 + 2)),
    *(("gemma3.attention.head_count_kv", "I", n) for n in (2**16, 2**28 + 2, 2**31 + 2)),
    *(("gemma3.attention.key_length", "I", n) for n in (2**31 + 16, 2**32 - 16)),
    *(("gemma3.attention.value_length", "I", n) for n in (2**31 + 16, 2**32 - 16)),
    *(("gemma3.context_length", "I", value) for value in (0, 2**31, 2**32 - 1)),
    *(("gemma3.rope.dimension_count", "I", n) for n in (0, 1, 3, 18, 64, 2**31, 2**32 - 1)),
    *(
        ("gemma3.attention.layer_norm_rms_epsilon", "f", value)
        for value in (-1.0, float("nan"), float("-inf"))
    ),
]
TABLE: dict[str, Patch] = {
    **{f"{key} {value}": number(key, form, value) for key, form, value in VALUES},
    **{
        f"vocabulary {n!r}": text("tokenizer.ggml.model", n)
        for n in (b"none", b"no_vocab", b"bert")
    },
    "token twice": token(b"hello", b"hell"),
    "no byte": token(b"<0xE6>", b"<0xGG>"),
    **{
        f"{name.decode()} {type_}": kind(name, type_)
        for name in (b"token_embd.weight", b"blk.0.attn_q.weight", b"blk.0.ffn_down.weight")
        for type_ in (9, 15, 24, 25, 26, 27, 28)
    },
    **{
        f"{name.decode()} {type_}": kind(name, type_)
        for name in (b"output_norm.weight", b"blk.0.attn_k_norm.weight", b"blk.0.ffn_norm.weight")
        for type_ in (1, 2, 8, 24, 26, 28, 30)
    },
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("limits") / "good.gguf", "gemma3")


@pytest.mark.parametrize("name", TABLE)
def test_what_llama_does_not_survive_is_refused(good: Path, tmp_path: Path, name: str) -> None:
    path = patched(good, tmp_path / "bad.gguf", TABLE[name])
    with pytest.raises(ModelError, match=re.escape(f"{path} is damaged, or no model")) as caught:
        check_limits(path, check_gguf(path))
    assert "fetch the file again" in caught.value.hint


OPEN = """
import sys
from nudging import open_engine
from nudging.errors import ModelError
for path in sys.argv[1:]:
    try:
        open_engine(f"llama:{path}")
        print("opened")
    except ModelError:
        print("refused")
"""


def test_the_process_survives_them_all(good: Path, tmp_path: Path) -> None:
    paths = [
        patched(good, tmp_path / f"{number}.gguf", patch)
        for number, patch in enumerate(TABLE.values())
    ]
    command = [sys.executable, "-c", OPEN, *map(str, paths), str(good)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["refused"] * len(paths) + ["opened"]


def test_a_later_part_is_looked_at(good: Path, tmp_path: Path) -> None:
    bad = patched(good, tmp_path / "m-00002-of-00002.gguf", TABLE["blk.0.attn_q.weight 26"])
    first = bad.with_name("m-00001-of-00002.gguf")
    header = read_header(good)
    told = header._replace(values={**header.values, "split.count": 2})
    first.write_bytes(good.read_bytes())
    with pytest.raises(ModelError, match="attn_q"):
        check_limits(first, told)


def test_sound_models_pass(good: Path, lab: Lab, demo: Demo) -> None:
    names = ("a-small.gguf", "a-large.gguf", "b-small.gguf")
    for path in (good, *map(lab, names), demo("base"), demo("nudge")):
        check_limits(path, check_gguf(path))
