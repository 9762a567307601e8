"""llama.cpp's parameter structures, as far as options set them.

Their layout moves between versions of llama.cpp, so it is known for one, and known again by its
defaults. Where the defaults are others, only what has stood first for long is set: the sizes of a
context. Options that need more are then refused.
"""

from __future__ import annotations

import ctypes as c
from typing import NamedTuple

from ...errors import ModelError, pip

BUILD = "2026.10.11549"
"""The release of xllamacpp whose layouts these are."""


class Params(c.Structure):
    """`llama_model_params` or `llama_context_params`: larger than any version's, which C passes as
    copies in memory."""

    _fields_ = (("words", c.c_uint32 * 256),)

    @property
    def flags(self) -> c.Array[c.c_uint8]:
        """The same memory in bytes, one a flag."""
        return (c.c_uint8 * c.sizeof(self)).from_buffer(self)


class Setup(NamedTuple):
    """How llama.cpp is to compute; None leaves it the choice. In its own words."""

    n_gpu_layers: int | None = None
    main_gpu: int | None = None
    split: str | None = None
    flash_attn: str | None = None
    type_k: str | None = None
    type_v: str | None = None

    @property
    def given(self) -> list[str]:
        return [name for name, value in self._asdict().items() if value is not None]


SPLITS = {"none": 0, "layer": 1, "row": 2}
FLASH = {"auto": -1, "off": 0, "on": 1}
TYPES = {
    "f32": 0,
    "f16": 1,
    "bf16": 30,
    "q8_0": 8,
    "q5_1": 7,
    "q5_0": 6,
    "q4_1": 3,
    "q4_0": 2,
    "iq4_nl": 20,
}
"""Numbers of ggml's types that a cache can have. The first three are no quantizations."""
WHOLE_TYPES = ("f32", "f16", "bf16")

SIZES = (512, 2048, 512, 1)
"""The defaults that a context's parameters begin with: n_ctx, n_batch, n_ubatch, n_seq_max."""
_MINUS, _MINUS_ONE = 2**32 - 1, 0xBF800000  # -1, as a whole number and as a float
_N_CTX, _N_SEQ_MAX, _FLASH_ATTN, _TYPE_K, _TYPE_V = 0, 3, 13, 26, 27
_KV_UNIFIED = 141
_CONTEXT = (
    (*SIZES, 0, 0, 1, 4, 4, 0),  # further sizes, threads, the kind of context
    (_MINUS, _MINUS, _MINUS, _MINUS),  # rope, pooling, attention, flash attention
    (0, 0, *4 * (_MINUS_ONE,), 0, _MINUS_ONE),  # rope and yarn
    (0, 0, 0, 0, 1, 1, *6 * (0,)),  # a callback, types of the cache, three pointers
)
_CONTEXT_FLAGS = (136, (0, 1, 1, 1, 1, 0))
_N_GPU_LAYERS, _SPLIT, _MAIN_GPU = 4, 5, 8
_MODEL = ((0, 0, 0, 0), (_MINUS, 1, _MINUS, 1, 0))
_MODEL_FLAGS = (72, (0, 0, 1, 0, 0, 0))


def layouts_known(lib: c.CDLL) -> bool:
    """Whether the library's defaults are where this file expects them."""
    return _agrees(lib.llama_context_default_params(), _CONTEXT, _CONTEXT_FLAGS) and _agrees(
        lib.llama_model_default_params(), _MODEL, _MODEL_FLAGS
    )


def _agrees(
    params: Params, groups: tuple[tuple[int, ...], ...], flags: tuple[int, tuple[int, ...]]
) -> bool:
    words = [word for group in groups for word in group]
    begin, values = flags
    found = tuple(params.flags[begin : begin + len(values)])
    return list(params.words[: len(words)]) == words and found == values


def model_params(lib: c.CDLL, setup: Setup) -> Params:
    """
    Raises:
        ModelError: the layout is not known, and something is to be set.
    """
    if setup.given and not layouts_known(lib):
        raise ModelError(
            f"this build of llama.cpp takes its parameters otherwise than xllamacpp {BUILD}, so "
            f"{setup.given[0]} can't be set",
            hint=f"leave it out, or install that release: {pip(f'xllamacpp=={BUILD}')}",
        )
    params: Params = lib.llama_model_default_params()
    if setup.n_gpu_layers is not None:
        params.words[_N_GPU_LAYERS] = setup.n_gpu_layers
    if setup.split is not None:
        params.words[_SPLIT] = SPLITS[setup.split]
    if setup.main_gpu is not None:
        params.words[_MAIN_GPU] = setup.main_gpu
    return params


def context_params(lib: c.CDLL, setup: Setup, cells: int, sequences: int, unified: bool) -> Params:
    """`unified`: the sequences share the cells, in place of an equal part for each; only where the
    layouts are known."""
    params: Params = lib.llama_context_default_params()
    params.words[_N_CTX], params.words[_N_SEQ_MAX] = cells, sequences
    if setup.flash_attn is not None:
        params.words[_FLASH_ATTN] = FLASH[setup.flash_attn] % 2**32
    if setup.type_k is not None:
        params.words[_TYPE_K] = TYPES[setup.type_k]
    if setup.type_v is not None:
        params.words[_TYPE_V] = TYPES[setup.type_v]
    if unified:
        params.flags[_KV_UNIFIED] = 1
    return params
