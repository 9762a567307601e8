"""What all tests share: hypothesis's settings, the models that are trained, and servers of them.

A test that needs a trained model takes one of the laboratory's: it answers in milliseconds, and
what is right is known (`lab_facts.py`). The built-in pair is for what needs a real vocabulary, and
for a few tests from end to end.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn, get_args

import pytest
from hypothesis import settings

from nudging.engines.demo import demo_path
from nudging.values.tokens import Source

# A shell's background job ignores Ctrl-C, and so would the children that tests press it on.
signal.signal(signal.SIGINT, signal.default_int_handler)
# So it is with the end of a terminal under nohup. Ours stays deaf to it; the children are not.
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda number, frame: None)

settings.register_profile("nudging", deadline=None, print_blob=True)
settings.load_profile("nudging")

Demo = Callable[[Source], Path]
Lab = Callable[[str], Path]
LlamaServers = Callable[[Path], str]

MODELS = Path(__file__).parents[1] / "lab" / "models"

SLOTS, SLOT_CONTEXT = 2, 256


SLOW = (
    *("capacity", "eval_tasks", "fleet", "hostile", "openapi", "plan", "properties", "remote"),
    *("report_damaged", "sandbox", "server_held", "speculation", "whole_texts"),
)
"""How the names of test files begin that take long: servers that fall silent, processes that are
killed, thousands of random answers."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what takes long, or needs PyTorch, Ray, a model or vLLM: `make unit` and the
    checks of each pull request leave it out."""
    for item in items:
        named = item.path.stem.removeprefix("test_").startswith(SLOW)
        if named or any(map(item.get_closest_marker, ("models", "hf", "vllm", "scale"))):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def demo() -> Demo:
    """Where a model file of the built-in pair is: a test that asks for a missing one is skipped.

    `NUDGING_TEST_BASE` and `NUDGING_TEST_NUDGE` name other files. In CI, and where
    `NUDGING_REQUIRE_MODELS` is 1 (`make test`), a missing file is a failure.
    """
    paths: dict[Source, Path] = {}
    for source in get_args(Source):
        named = os.environ.get(f"NUDGING_TEST_{source.upper()}")
        paths[source] = Path(named) if named else demo_path(source)

    def path(source: Source) -> Path:
        if not paths[source].is_file():
            _missing(f"the {source} model is not at {paths[source]}: nudge pull demo")
        return paths[source]

    return path


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Where a model of the laboratory is: `a-small.gguf` its file, `a-small` a folder of it, which
    is unpacked when first asked for, by torch.

    The files are kept in the repository, though not in a source distribution.
    """

    def path(name: str) -> Path:
        if not MODELS.is_dir():
            _missing(f"the laboratory's models are not at {MODELS}")
        return MODELS / name if name.endswith(".gguf") else unpacked(name)

    @cache
    def unpacked(name: str) -> Path:
        from lab.export import unpack

        return unpack(MODELS / f"{name}.gguf", tmp_path_factory.mktemp("lab") / name)

    return path


def _missing(what: str) -> NoReturn:
    if os.environ.get("CI") or os.environ.get("NUDGING_REQUIRE_MODELS") == "1":
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def llama_servers() -> Iterator[LlamaServers]:
    """The address of a llama-server for a model's file, started when first asked for."""
    servers: dict[Path, Any] = {}

    def address(model: Path) -> str:
        if model not in servers:
            servers[model] = _serve(model)
        return f"{servers[model].listening_address}/v1"

    yield address
    servers.clear()  # a server stops when nothing holds it any more


def _serve(path: Path) -> Any:
    if find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed")
    from nudging.engines.llama.llama_c import library

    library()  # the first to import xllamacpp: it sets how long threads wait for each other
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = SLOTS * SLOT_CONTEXT
    params.n_parallel = SLOTS
    params.verbosity = -1
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads = max(1, (os.cpu_count() or 2) // 2)
        cpu.poll = 0
    return xllamacpp.Server(params)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """On models as small as those that tests make, threads of torch only wait for each other."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
