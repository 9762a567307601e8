"""Options of the llama engine that say how to compute: asked for, and what llama.cpp reports."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("gguf")
if find_spec("xllamacpp") is None:
    pytest.skip("xllamacpp is not installed", allow_module_level=True)

from nudging.engines import open_engine
from nudging.engines.llama.llama_c import library
from nudging.engines.llama.llama_log import Log, Report, kept_log, read_report
from nudging.engines.llama.llama_open import check_report, open_context, open_model
from nudging.engines.llama.llama_params import TYPES, Setup, layouts_known
from nudging.engines.llama.llama_runtime import LlamaRuntime
from nudging.errors import ModelError, SpecError
from tests.conftest import Lab

from .tiny_gguf import tiny


@pytest.fixture(scope="module")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("n_gpu_layers=-1", "n_gpu_layers is '-1'"),
        ("n_gpu_layers=all", "n_gpu_layers is 'all'"),
        ("split=tensor", "split is 'tensor'"),
        ("main_gpu=1", "main_gpu names the GPU that holds the whole model"),
        ("main_gpu=1&split=layer", "main_gpu names the GPU that holds the whole model"),
        ("flash_attn=true", "flash_attn is 'true'"),
        ("type_k=q4_K", "type_k is 'q4_K'"),
        ("type_v=Q8_0", "type_v is 'Q8_0'"),
        ("type_v=q8_0&flash_attn=off", "a V cache of q8_0 needs flash attention"),
    ],
)
def test_options_are_checked(tiny_path: Path, options: str, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        open_engine(f"llama:{tiny_path}?{options}")
    assert caught.value.hint


def test_the_layouts_are_those_of_the_library() -> None:
    assert layouts_known(library())


@pytest.mark.parametrize(
    ("setup", "found"),
    [
        (Setup(), Report(None, None, True, "f16", "f16")),
        (Setup(flash_attn="on"), Report(None, None, True, "f16", "f16")),
        (Setup(flash_attn="off", type_k="q8_0"), Report(None, None, False, "q8_0", "f16")),
        (Setup(type_v="q4_0"), Report(None, None, True, "f16", "q4_0")),
        *((Setup(type_k=name), Report(None, None, True, name, "f16")) for name in TYPES),
    ],
)
def test_llama_cpp_reports_what_was_asked_for(lab: Lab, setup: Setup, found: Report) -> None:
    log = Log()
    model = open_model(lab("a-small.gguf"), setup, log)
    context = open_context(model, 256, 2, setup, log, unified=True)
    library().llama_free(context)
    library().llama_model_free(model)
    assert read_report(log) == found
    assert check_report(setup, found) == ()


def test_a_model_writes_with_caches_of_another_type(lab: Lab) -> None:
    sizes = []
    for setup in (Setup(), Setup(type_k="q8_0", type_v="q8_0")):
        runtime = LlamaRuntime(lab("a-small.gguf"), n_ctx=256, slots=2, setup=setup)
        assert runtime.notes == ()
        assert runtime.bytes_per_token
        sizes.append(runtime.bytes_per_token)
        runtime.close()
    assert sizes[1] < 0.6 * sizes[0]


def test_a_type_that_the_model_can_not_have(tiny_path: Path) -> None:
    with pytest.raises(ModelError, match="block size 32 does not divide") as caught:
        LlamaRuntime(tiny_path, setup=Setup(type_k="q8_0"))
    assert caught.value.hint == "leave type_k out"


@pytest.mark.parametrize("options", ["n_gpu_layers=1", "split=none", "split=none&main_gpu=0"])
def test_without_a_gpu_in_the_build(
    tiny_path: Path, options: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library(), "llama_supports_gpu_offload", lambda: False)
    with pytest.raises(ModelError, match="computes on the CPU only") as caught:
        open_engine(f"llama:{tiny_path}?{options}")
    assert "install a build for your GPU" in caught.value.hint


def test_no_layers_on_a_gpu_need_no_gpu(tiny_path: Path) -> None:
    LlamaRuntime(tiny_path, setup=Setup(n_gpu_layers=0)).close()


def test_lines_of_a_build_for_a_gpu() -> None:
    log = Log()
    log.lines += [
        "offloading 18 repeating layers to GPU",
        "offloaded 19/19 layers to GPU",
        "flash_attn            = auto",
        "size =    4.88 MiB (  4096 cells,   3 layers,  1/1 seqs), K (q8_0):    3.19 MiB, "
        "V (q4_0):    1.69 MiB",
        "Flash Attention enabled",
    ]
    assert read_report(log) == Report(19, 19, True, "q8_0", "q4_0")
    log.lines[-1] = "Flash Attention was auto, set to disabled"
    assert read_report(log).flash_attn is False


@pytest.mark.parametrize(
    ("setup", "report", "message"),
    [
        (Setup(n_gpu_layers=5), Report(3, 19), "n_gpu_layers was to be 5, .* made it 3"),
        (Setup(n_gpu_layers=99), Report(18, 19), "n_gpu_layers was to be 19, .* made it 18"),
        (Setup(flash_attn="on"), Report(flash_attn=False), "flash_attn was to be on, .* it off"),
        (Setup(type_v="q8_0"), Report(type_v="f16"), "type_v was to be q8_0, .* made it f16"),
    ],
)
def test_what_was_not_done_is_an_error(setup: Setup, report: Report, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        check_report(setup, report)


@pytest.mark.parametrize(
    ("setup", "report", "note"),
    [
        (Setup(n_gpu_layers=99), Report(19, 19), "19 of 19 layers are on the GPU."),
        (Setup(), Report(19, 19), "19 of 19 layers are on the GPU."),
        (Setup(), Report(flash_attn=False), "llama.cpp can't use flash attention here"),
        (Setup(type_k="q8_0"), Report(), "llama.cpp does not say whether it heeds type_k."),
    ],
)
def test_what_a_user_should_know_is_noted(setup: Setup, report: Report, note: str) -> None:
    (found,) = check_report(setup, report)
    assert found.startswith(note)


def test_the_log_is_kept_no_longer_than_asked(tiny_path: Path) -> None:
    lib = library()
    with kept_log(lib) as log:
        pass
    lib.llama_model_free(open_model(tiny_path, Setup(), Log()))
    assert not log.lines
