"""The header of a GGUF file, as `gguf` writes it, cut off, and changed at any place."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nudging.engines.llama.gguf_header import MOST_ITEMS, VERSIONS, Array, read_header
from nudging.errors import ModelError

gguf = pytest.importorskip("gguf")

ANY_PLACE = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "all.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_string("text", "naïve 漢字")
    for kind, number in (("uint8", 200), ("int8", -7), ("uint16", 60000), ("int16", -700)):
        getattr(writer, f"add_{kind}")(kind, number)
    for kind, number in (("uint32", 2**32 - 1), ("int32", -(2**31)), ("uint64", 2**64 - 1)):
        getattr(writer, f"add_{kind}")(kind, number)
    writer.add_int64("int64", -(2**63))
    writer.add_float32("float32", 0.5)
    writer.add_float64("float64", 1e-300)
    writer.add_bool("yes", True)
    writer.add_array("layers", [1, 2, 3])
    writer.add_array("names", ["a", "bc"])
    writer.add_array("many names", ["x"] * (MOST_ITEMS + 1))
    writer.add_array("many numbers", [5] * (MOST_ITEMS + 1))
    writer.add_tensor("one.weight", np.zeros((3, 4), np.float32))
    writer.add_tensor("two.weight", np.zeros(7, np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_all_that_the_file_says_is_read(written: Path) -> None:
    header = read_header(written)
    assert header.version == 3
    assert dict(header.values) == {
        "general.architecture": "llama",
        "text": "naïve 漢字",
        "uint8": 200,
        "int8": -7,
        "uint16": 60000,
        "int16": -700,
        "uint32": 2**32 - 1,
        "int32": -(2**31),
        "uint64": 2**64 - 1,
        "int64": -(2**63),
        "float32": 0.5,
        "float64": 1e-300,
        "yes": True,
        "layers": Array(3, (1, 2, 3)),
        "names": Array(2, ["a", "bc"]),
        "many names": Array(MOST_ITEMS + 1, None),
        "many numbers": Array(MOST_ITEMS + 1, None),
    }
    one, two = header.tensors
    assert (one.name, one.shape, one.kind, one.offset) == ("one.weight", (4, 3), 0, 0)
    assert (two.name, two.shape, two.kind, two.offset) == ("two.weight", (7,), 1, 64)
    assert header.text("text") == "naïve 漢字"
    assert header.text("uint8") == ""
    assert (header.number("int8"), header.number("yes"), header.number("no")) == (-7, None, None)


@given(data=st.data())
@ANY_PLACE
def test_a_file_that_is_cut_off_is_incomplete(
    written: Path, tmp_path: Path, data: st.DataObject
) -> None:
    whole, length = written.read_bytes(), read_header(written).data
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(whole[: data.draw(st.integers(4, length - 1))])
    with pytest.raises(ModelError, match="incomplete or damaged") as caught:
        read_header(cut)
    assert "fetch the file again" in caught.value.hint


@given(at=st.integers(0, 2**20), put=st.binary(min_size=1, max_size=8))
@ANY_PLACE
def test_a_damaged_file_is_read_or_refused(
    written: Path, tmp_path: Path, at: int, put: bytes
) -> None:
    whole = bytearray(written.read_bytes())
    at %= read_header(written).data
    whole[at : at + len(put)] = put
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(whole)
    with contextlib.suppress(ModelError):
        assert read_header(damaged).version in VERSIONS


@pytest.mark.parametrize(
    ("rest", "told"),
    [
        (struct.pack("<I", 1), "of version 1"),
        (struct.pack("<I", 2**31), "of version 2147483648"),
        (struct.pack(">I", 3), "the other byte order"),
        (struct.pack("<IQQ", 3, 2**63, 0), "tells of 9223372036854775808 tensors"),
        (struct.pack("<IQQ", 3, 0, 2**40), "tells of 1099511627776 values"),
        (struct.pack("<IQQQ", 3, 0, 1, 2**50) + bytes(99), "bytes of text"),
        (struct.pack("<IQQQIQ", 3, 0, 1, 0, 99, 0), "a value of a kind 99"),
        (struct.pack("<IQQQIIQ", 3, 0, 1, 0, 9, 9, 0), "a value of a kind 9"),
        (struct.pack("<IQQQIIQ", 3, 0, 1, 0, 9, 8, 2**60), "texts, more than it has room for"),
        (struct.pack("<IQQQIIQ", 3, 0, 1, 0, 9, 4, 2**60), "numbers, more than it has room for"),
        (struct.pack("<IQQ", 3, 0, 2) + 2 * struct.pack("<Q1sIB", 1, b"k", 0, 5), "'k' twice"),
        (b"", "ends within its header"),
    ],
)
def test_what_a_hostile_file_tells_is_not_believed(tmp_path: Path, rest: bytes, told: str) -> None:
    path = tmp_path / "hostile.gguf"
    path.write_bytes(b"GGUF" + rest)
    with pytest.raises(ModelError) as caught:
        read_header(path)
    assert told in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"GG", b"PK\x03\x04" + bytes(99), b"<html>"])
def test_what_is_no_gguf_file(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "other.gguf"
    path.write_bytes(data)
    with pytest.raises(ModelError, match="is not a GGUF file"):
        read_header(path)
