"""llama.cpp's C API, as far as a runtime needs it, out of the shared object of `xllamacpp`.

Of llama.cpp's parameter structures it needs only what a context's begin with, and checks that;
`llama_params.py` knows more of them.
"""

from __future__ import annotations

import ctypes as c
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import MissingExtra, ModelError
from ..local.openmp import short_waits
from .llama_log import drop_log
from .llama_params import SIZES, Params


class LlamaUnavailable(ModelError):
    """This build of xllamacpp can't be bound from here; its own server may still work."""


class _BatchStruct(c.Structure):
    """`llama_batch`. The runtime's self-check would notice if it changed."""

    _fields_ = (
        ("n_tokens", c.c_int32),
        ("token", c.c_void_p),
        ("embd", c.c_void_p),
        ("pos", c.c_void_p),
        ("n_seq_id", c.c_void_p),
        ("seq_id", c.c_void_p),
        ("logits", c.c_void_p),
    )


class TokenBatch:
    """A `llama_batch` over arrays of numpy's, one sequence a token."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._token = np.zeros(size, np.int32)
        self._pos = np.zeros(size, np.int32)
        self._logits = np.zeros(size, np.int8)
        self._n_seq_id = np.ones(size, np.int32)
        self._sequence = np.zeros(size, np.int32)
        first, step = self._sequence.ctypes.data, self._sequence.itemsize
        self._seq_id = np.arange(first, first + size * step, step, dtype=np.uintp)
        arrays = (self._pos, self._n_seq_id, self._seq_id, self._logits)
        self.struct = _BatchStruct(
            0, self._token.ctypes.data, None, *(a.ctypes.data for a in arrays)
        )

    def clear(self) -> None:
        self.struct.n_tokens = 0

    def add(self, tokens: npt.NDArray[np.int32], position: int, wanted: int, sequence: int) -> None:
        """`tokens` of a sequence from `position` on, with logits of the last `wanted`."""
        begin = self.struct.n_tokens
        end = self.struct.n_tokens = begin + len(tokens)
        self._token[begin:end] = tokens
        self._pos[begin:end] = np.arange(position, position + len(tokens))
        self._sequence[begin:end] = sequence
        self._logits[begin : end - wanted] = 0
        self._logits[end - wanted : end] = 1


ATTR_UNKNOWN, ATTR_CONTROL, ATTR_USER_DEFINED = 1, 8, 16
"""Token attributes. The first two are read as special only where `parse_special` says so, the
third, where it stands alone, everywhere."""

_INT, _BOOL, _TEXT, _AT = c.c_int32, c.c_bool, c.c_char_p, c.c_void_p
_SYMBOLS: Mapping[str, tuple[Any, ...]] = {
    "llama_backend_init": (None,),
    "llama_log_set": (None, _AT, _AT),
    "llama_max_devices": (c.c_size_t,),
    "llama_supports_gpu_offload": (_BOOL,),
    "llama_model_default_params": (Params,),
    "llama_model_load_from_file": (_AT, _TEXT, Params),
    "llama_model_free": (None, _AT),
    "llama_model_has_encoder": (_BOOL, _AT),
    "llama_model_n_ctx_train": (_INT, _AT),
    "llama_model_n_swa": (_INT, _AT),
    "llama_model_is_recurrent": (_BOOL, _AT),
    "llama_model_is_hybrid": (_BOOL, _AT),
    "llama_model_chat_template": (_TEXT, _AT, _TEXT),
    "llama_model_get_vocab": (_AT, _AT),
    "llama_vocab_n_tokens": (_INT, _AT),
    "llama_vocab_get_text": (_TEXT, _AT, _INT),
    "llama_vocab_get_attr": (c.c_int, _AT, _INT),
    "llama_vocab_is_control": (_BOOL, _AT, _INT),
    "llama_vocab_is_eog": (_BOOL, _AT, _INT),
    "llama_vocab_bos": (_INT, _AT),
    "llama_vocab_eos": (_INT, _AT),
    "llama_vocab_get_add_bos": (_BOOL, _AT),
    "llama_tokenize": (_INT, _AT, _TEXT, _INT, _AT, _INT, _BOOL, _BOOL),
    "llama_token_to_piece": (_INT, _AT, _INT, _AT, _INT, _INT, _BOOL),
    "llama_context_default_params": (Params,),
    "llama_init_from_model": (_AT, _AT, Params),
    "llama_free": (None, _AT),
    "llama_set_n_threads": (None, _AT, _INT, _INT),
    "llama_n_batch": (c.c_uint32, _AT),
    "llama_n_ctx": (c.c_uint32, _AT),
    "llama_decode": (_INT, _AT, _BatchStruct),
    "llama_get_logits_ith": (_AT, _AT, _INT),
    "llama_get_memory": (_AT, _AT),
    "llama_memory_clear": (None, _AT, _BOOL),
    "llama_memory_seq_rm": (_BOOL, _AT, _INT, _INT, _INT),
    "llama_memory_seq_cp": (None, _AT, _INT, _INT, _INT, _INT),
    "llama_memory_seq_pos_min": (_INT, _AT, _INT),
    "llama_memory_seq_pos_max": (_INT, _AT, _INT),
    "llama_state_seq_get_size": (c.c_size_t, _AT, _INT),
    "llama_state_seq_get_data": (c.c_size_t, _AT, _AT, c.c_size_t, _INT),
    "llama_state_seq_set_data": (c.c_size_t, _AT, _AT, c.c_size_t, _INT),
}
"""Result and arguments of every function used."""


@functools.cache
def library() -> c.CDLL:
    """The C API, loaded once, checked, and silent."""
    try:
        with short_waits():
            import xllamacpp.xllamacpp as extension
    except ModuleNotFoundError:
        raise MissingExtra("the llama engine", "llama") from None
    except ImportError as error:
        hint = "apt install libgomp1, or its like" if "libgomp" in str(error) else ""
        raise ModelError(f"xllamacpp does not load: {error}", hint=hint) from error
    try:
        lib = c.CDLL(extension.__file__)
        for name, (result, *arguments) in _SYMBOLS.items():
            function = getattr(lib, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise LlamaUnavailable(f"xllamacpp does not export llama.cpp's C API: {error}") from error
    sizes = tuple(lib.llama_context_default_params().words[: len(SIZES)])
    if sizes != SIZES:
        raise LlamaUnavailable(f"llama.cpp's context parameters begin with {sizes}, unknown here")
    drop_log(lib)
    lib.llama_backend_init()
    return lib
