"""The vocabulary of a GGUF model, by llama.cpp's C API."""

from __future__ import annotations

import ctypes
import re

from ...errors import ModelError
from ...values.text import any_of
from ..local.vocabulary import Tokenizer
from .llama_c import ATTR_CONTROL, ATTR_UNKNOWN, ATTR_USER_DEFINED, library

# A code point that Unicode keeps for private marks: no vocabulary has it, so it joins nothing.
_GUARD = "\ufdd0"


class LlamaTokenizer(Tokenizer):
    def __init__(self, model: int) -> None:
        """`model`: of `llama_c.open_model`; the tokenizer is usable for as long as it is open."""
        self._lib = lib = library()
        self._pieces: dict[int, bytes] = {}
        self._vocab = vocab = lib.llama_model_get_vocab(model)
        self.size = lib.llama_vocab_n_tokens(vocab)
        attributes = [lib.llama_vocab_get_attr(vocab, i) for i in range(self.size)]
        marks = ATTR_CONTROL | ATTR_UNKNOWN
        self.ends = [i for i in range(self.size) if lib.llama_vocab_is_eog(vocab, i)]
        self.controls = [self.name(i) for i, found in enumerate(attributes) if found & marks]
        template = lib.llama_model_chat_template(model, None)
        self.template = template.decode(errors="replace") if template else None
        bos, eos = lib.llama_vocab_bos(vocab), lib.llama_vocab_eos(vocab)
        named = {"bos_token": bos, "eos_token": eos}
        self.template_tokens = {name: self.name(i) for name, i in named.items() if i >= 0}
        self._begin = [bos] if lib.llama_vocab_get_add_bos(vocab) and bos >= 0 else []
        # Some vocabularies put a space at the beginning, and llama.cpp then one after each token
        # of the user-defined kind. A guard before each stretch takes the space on itself.
        pads = b"".join(map(self.piece, self._read("a", False))) != b"a"
        self._guard = self._read(_GUARD, False) if pads else []
        joints = (self.name(i) for i, found in enumerate(attributes) if found & ATTR_USER_DEFINED)
        self._joints = re.compile(f"({any_of(joints).pattern})")

    def tokenize(self, text: str, *, controls: bool, begin: bool) -> list[int]:
        if begin:
            return self._begin + self._read(text, controls)
        if not self._guard:
            return self._read(text, controls)
        ids: list[int] = []
        for stretch in self._joints.split(text):
            ids += self._read(_GUARD + stretch, controls)[len(self._guard) :]
        return ids

    def piece(self, id: int) -> bytes:
        found = self._pieces.get(id)
        if found is None:
            found = self._pieces[id] = b"" if self.is_end(id) else self._spell(id)
        return found

    def name(self, id: int) -> str:
        text: bytes = self._lib.llama_vocab_get_text(self._vocab, id)
        return text.decode(errors="replace")

    def is_end(self, id: int) -> bool:
        lib, vocab = self._lib, self._vocab
        return bool(lib.llama_vocab_is_eog(vocab, id) or lib.llama_vocab_is_control(vocab, id))

    def _read(self, text: str, controls: bool) -> list[int]:
        """Ids of a text; the space that a vocabulary puts first is the only thing added."""
        data = text.encode()
        ids = (ctypes.c_int32 * (len(data) + 1))()
        while True:
            n = self._lib.llama_tokenize(
                self._vocab, data, len(data), ids, len(ids), False, controls
            )
            if n >= 0:
                if min(ids[:n], default=0) < 0:  # llama.cpp does not survive to be asked for it
                    raise ModelError("the model's vocabulary has no token for some of the text")
                return ids[:n]
            ids = (ctypes.c_int32 * -n)()

    def _spell(self, id: int) -> bytes:
        buffer = ctypes.create_string_buffer(64)
        while True:
            n = self._lib.llama_token_to_piece(self._vocab, id, buffer, len(buffer), 0, False)
            if n >= 0:
                return buffer.raw[:n]
            buffer = ctypes.create_string_buffer(-n)
