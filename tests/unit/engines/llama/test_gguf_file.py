"""What is told of a GGUF file that is no model to open, or not the whole of one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nudging import open_engine
from nudging.errors import ModelError
from tests.conftest import Lab

gguf = pytest.importorskip("gguf")

Write = Callable[[Any], None]


def written(path: Path, arch: str, *values: Write, tensors: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, arch)
    for value in values:
        value(writer)
    for number in range(tensors):
        writer.add_tensor(f"{number}.weight", np.zeros((32, 2), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def refused(path: Path, *, engines: tuple[str, ...] = ("llama", "hf")) -> ModelError:
    """Alike in every engine that opens such files; never by the advice to upgrade something."""
    errors = []
    for engine in engines:
        with pytest.raises(ModelError) as caught:
            open_engine(f"{engine}:{path}")
        assert caught.value.hint
        assert "pip" not in caught.value.hint
        assert "\n" not in f"{caught.value}{caught.value.hint}"
        errors.append(caught.value)
    assert len({str(error) for error in errors}) == 1
    return errors[0]


ADAPTER = [lambda w: w.add_type("adapter"), lambda w: w.add_string("adapter.type", "lora")]


@pytest.mark.parametrize(
    ("arch", "values", "told", "hint"),
    [
        ("llama", ADAPTER, "an adapter (LoRA), no model", "llama-export-lora"),
        ("clip", [], "the projector of a model that sees", "the model's own .gguf file"),
        ("clip", [lambda w: w.add_type("mmproj")], "the projector", "the model's own .gguf file"),
        ("none", [lambda w: w.add_type("imatrix")], "an importance matrix", "own .gguf file"),
        ("controlvector", [], "a control vector", "own .gguf file"),
        ("bert", [lambda w: w.add_causal_attention(False)], "makes embeddings", "chat model"),
        (
            "qwen3",
            [lambda w: w.add_pooling_type(gguf.PoolingType.LAST)],
            "makes embeddings",
            "chat model",
        ),
        (
            "qwen3",
            [lambda w: w.add_pooling_type(gguf.PoolingType.RANK)],
            "makes embeddings",
            "chat model",
        ),
    ],
)
def test_what_is_no_model_says_what_it_is(
    tmp_path: Path, arch: str, values: list[Write], told: str, hint: str
) -> None:
    error = refused(written(tmp_path / "model.gguf", arch, *values))
    assert told in str(error)
    assert hint in error.hint


@pytest.fixture
def parts(lab: Lab, tmp_path: Path) -> list[Path]:
    """A model of the laboratory in three files, as llama.cpp's own tool cuts it."""
    whole = gguf.GGUFReader(lab("b-small.gguf"))
    paths = [tmp_path / f"m-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    share = -(-len(whole.tensors) // len(paths))
    for number, path in enumerate(paths):
        writer = gguf.GGUFWriter(path, "llama")
        for field in whole.fields.values() if number == 0 else ():
            if field.name.startswith("GGUF.") or field.name == "general.architecture":
                continue
            kind, *inner = field.types
            writer.add_key_value(field.name, field.contents(), kind, *inner[:1])
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", len(paths))
        writer.add_int32("split.tensors.count", len(whole.tensors))
        for tensor in whole.tensors[number * share : (number + 1) * share]:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return paths


LLAMA = ("llama",)


def test_a_model_in_parts_opens_by_its_first(parts: list[Path], lab: Lab) -> None:
    pytest.importorskip("xllamacpp")
    from nudging import NudgedModel

    with NudgedModel(f"llama:{parts[0]}", f"llama:{lab('b-small.gguf')}") as model:
        assert model.answer("?", max_tokens=4).text is not None


@pytest.mark.parametrize("number", [2, 3])
def test_a_later_part_names_the_first(parts: list[Path], number: int) -> None:
    error = refused(parts[number - 1])
    assert f"is part {number} of a model in 3 files" in str(error)
    assert error.hint.endswith(f"llama:{parts[0]}")


@pytest.mark.parametrize(
    ("gone", "told"),
    [
        ([2], "m-00002-of-00003.gguf is not there"),
        ([3], "m-00003-of-00003.gguf is not there"),
        ([2, 3], "m-00002-of-00003.gguf and 1 more are not there"),
    ],
)
def test_a_part_that_is_missing_is_named(parts: list[Path], gone: list[int], told: str) -> None:
    for number in gone:
        parts[number - 1].unlink()
    error = refused(parts[0])
    assert told in str(error)
    assert f"all must lie in {parts[0].parent}" in error.hint


def test_a_part_that_is_damaged_or_another_is_named(parts: list[Path]) -> None:
    whole = parts[1].read_bytes()
    parts[1].write_bytes(whole[:50])
    error = refused(parts[0])
    assert str(error).startswith(f"{parts[1]} is incomplete or damaged")
    shutil.copy(parts[2], parts[1])
    assert str(refused(parts[0])).startswith(f"{parts[1]} is not part 2 of the model")


def test_parts_under_other_names(parts: list[Path]) -> None:
    for number in (0, 1):
        other = parts[number].rename(parts[number].with_name(f"other-{number}.gguf"))
        error = refused(other)
        assert "one of the 3 files of a model, and its name does not say so" in str(error)
        assert "NAME-00001-of-00003.gguf" in error.hint


def test_hf_reads_no_model_in_parts(parts: list[Path]) -> None:
    error = refused(parts[0], engines=("hf",))
    assert "in several files, which hf can't read" in str(error)
    assert f"llama:{parts[0]}" in error.hint


@pytest.mark.parametrize(
    "name", ["m.gguf.part1of2", "m.gguf-split-b", "m.gguf.001", "m.GGUF.parta"]
)
def test_a_piece_of_a_file_that_was_cut_is_joined_first(tmp_path: Path, name: str) -> None:
    whole = written(tmp_path / "m.gguf", "llama").read_bytes()
    for piece in (whole[: len(whole) // 2], whole[len(whole) // 2 :]):
        (tmp_path / name).write_bytes(piece)
        error = refused(tmp_path / name)
        assert "a piece of a file that was cut" in str(error)
        assert "cat FIRST SECOND" in error.hint


@pytest.mark.parametrize(
    ("name", "begin", "hint"),
    [
        ("m.gguf", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("m.gguf.gz", b"\x1f\x8b\x08", "gzip -d"),
        ("m.gguf.zst", b"\x28\xb5\x2f\xfd", "zstd -d"),
        ("m.zip", b"PK\x03\x04", "unzip"),
        ("m.gguf", b"\n<!DOCTYPE html>", "fetch the file again"),
        ("m.bin", b"tjgg", "before GGUF"),
        ("pytorch_model.bin", b"PK\x03\x04", "hf:NAME_OR_DIR"),
        ("model.safetensors", b"\x80\x00\x00\x00\x00\x00\x00\x00{", "hf:NAME_OR_DIR"),
    ],
)
def test_files_of_other_kinds(tmp_path: Path, name: str, begin: bytes, hint: str) -> None:
    path = tmp_path / name
    path.write_bytes(begin + bytes(99))
    error = refused(path)
    assert "is not a GGUF file" in str(error)
    assert hint in error.hint


def test_a_file_out_of_a_model_folder_names_the_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\x80\x00\x00\x00\x00\x00\x00\x00{")
    assert refused(path).hint.endswith(f"hf:{tmp_path}")
    assert refused(tmp_path / "config.json").hint.endswith(f"hf:{tmp_path}")


def test_a_folder_names_the_file_in_it(tmp_path: Path) -> None:
    assert f"is it hf:{tmp_path}?" in refused(tmp_path, engines=LLAMA).hint
    for number in (2, 1):
        (tmp_path / f"m-0000{number}-of-00002.gguf").write_bytes(b"GGUF")
    first = tmp_path / "m-00001-of-00002.gguf"
    assert refused(tmp_path, engines=LLAMA).hint == f"name the file in it: llama:{first}"
    (tmp_path / "other.gguf").touch()
    assert refused(tmp_path, engines=LLAMA).hint == "name the .gguf file in it"
