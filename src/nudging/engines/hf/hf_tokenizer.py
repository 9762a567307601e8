"""A Hugging Face tokenizer as `hf` needs it: text to ids and nothing more, ids to exact bytes.

The library hides spaces, adds some of its own, and gives text for tokens that are half a character.
Knows two kinds of vocabulary, byte-level BPE and SentencePiece, and no model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from itertools import pairwise, takewhile
from typing import Any

import tokenizers

from ...errors import ModelError
from ...values.text import any_of
from ..local.vocabulary import Tokenizer

_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")
_LOW_LINE = "▁"
"""How SentencePiece vocabularies write a space."""
# Control tokens that a vocabulary marks as plain: DeepSeek's <｜User｜>, Qwen's <|fim_prefix|>.
_CONTROL_LOOK = re.compile(r"<[|｜].+[|｜]>")
# What normalizers change: composition, compatibility forms, case, spaces, rare characters.
_PROBE = " A  b\t\n\n e\u0301 ﬁ Å ① “q” 漢字 \U0001f469\u200d\U0001f52c\u200b\r\n ▁ "


def _byte_signs() -> dict[str, int]:
    """The characters that byte-level BPE writes bytes with (GPT-2's `bytes_to_unicode`)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    signs = {chr(byte): byte for byte in plain}
    return signs | {chr(256 + place): byte for place, byte in enumerate(others)}


_BYTE_SIGNS = _byte_signs()


class HfTokenizer(Tokenizer):
    """A tokenizer of transformers."""

    def __init__(self, tokenizer: Any, ends: Collection[int] = ()) -> None:
        """`ends`: ids by which the model ends its turn."""
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise ModelError("the model has no fast tokenizer", hint="it needs a tokenizer.json")
        backend.no_truncation()
        backend.no_padding()
        special = set(tokenizer.all_special_ids)
        self._added = backend.get_added_tokens_decoder()
        self._control = {
            key: token.content
            for key, token in self._added.items()
            if token.special or key in special or _CONTROL_LOOK.fullmatch(token.content)
        }
        self.controls = tuple(self._control.values())
        self._written = any_of(self.controls)
        parts = f"{backend.normalizer!r} {backend.pre_tokenizer!r} {backend.decoder!r}"
        self._byte_level = "ByteLevel" in parts
        self._low_lines = not self._byte_level and _LOW_LINE in parts
        low_line = [backend.token_to_id(f"<0x{byte:02X}>") for byte in _LOW_LINE.encode()]
        self._low_line_ids = [] if None in low_line or not self._low_lines else low_line
        self.size = len(tokenizer)
        self.ends = frozenset(ends)
        template = tokenizer.chat_template
        self.template = template.get("default") if isinstance(template, dict) else template
        self.template_tokens = {
            "bos_token": tokenizer.bos_token or "",
            "eos_token": tokenizer.eos_token or "",
        }
        self._pieces: dict[int, bytes] = {}
        self._outer = self._inner = backend
        if self._text("a") != b"a":  # a space of its own goes first
            self._inner = _without_lead(backend)
        if self._text("a b") != b"a b":
            raise ModelError("the model's tokenizer is of a kind that can't be read as bytes")
        first = backend.encode("a")
        marked = zip(first.ids, first.special_tokens_mask, strict=True)
        self._begin = [key for key, _ in takewhile(lambda pair: pair[1], marked)]
        self.notes: tuple[str, ...] = ()
        if self._text(_PROBE) != _PROBE.encode():
            self.notes = (
                "The model's tokenizer rewrites some characters (such as accents put together "
                "from two), so the model may read a text slightly different from what it says.",
            )

    def _text(self, text: str) -> bytes:
        ids = self.tokenize(text, controls=False, begin=False)
        return b"".join(map(self.piece, ids))

    def piece(self, id: int) -> bytes:
        found = self._pieces.get(id)
        if found is None:
            found = self._pieces[id] = self._piece(id)
        return found

    def name(self, id: int) -> str:
        """A control token as it is written."""
        return str(self._control.get(id, ""))

    def is_end(self, id: int) -> bool:
        return id in self.ends or not self.piece(id)

    def _piece(self, id: int) -> bytes:
        token = None if id in self._control else self._outer.id_to_token(id)
        if token is None:
            return b""
        if self._byte_level:
            if id in self._added or not _BYTE_SIGNS.keys() >= set(token):
                return str(token).encode()
            return bytes(_BYTE_SIGNS[sign] for sign in token)
        byte = _BYTE_TOKEN.fullmatch(token)
        if byte:
            return bytes([int(byte[1], 16)])
        return str(token.replace(_LOW_LINE, " ") if self._low_lines else token).encode()

    def tokenize(self, text: str, *, controls: bool, begin: bool) -> list[int]:
        ids = list(self._begin) if begin else []
        # The vocabulary can't tell a low line from a space, but it has the low line's bytes.
        stretches = text.split(_LOW_LINE) if self._low_line_ids else [text]
        for place, stretch in enumerate(stretches):
            if place:
                ids += self._low_line_ids
            if begin and not place:
                ids += self._encode(self._outer, stretch, controls)
            else:
                ids += self._go_on(stretch, controls)
        return ids

    def _go_on(self, text: str, controls: bool) -> list[int]:
        """A text that goes on from another: no space goes first, but one may after a control
        token."""
        found = self._written.search(text) if controls and self._inner is not self._outer else None
        if found is None:
            return self._encode(self._inner, text, controls)
        # The control token is read with what is before it and with what is after it: it may take
        # the white space on either side.
        before = self._encode(self._inner, text[: found.end()], controls)
        return before + self._encode(self._outer, text[found.start() :], controls)[1:]

    def _encode(self, backend: Any, text: str, controls: bool) -> list[int]:
        backend.encode_special_tokens = not controls
        ids: list[int] = backend.encode(text, add_special_tokens=False).ids
        if controls or self._control.keys().isdisjoint(ids):
            return ids
        # Some vocabularies find control tokens even so (Unigram, tokens marked as plain): then
        # the text is divided inside of them.
        places = [0, *(found.start() + 1 for found in self._written.finditer(text)), len(text)]
        pieces = [text[a:b] for a, b in pairwise(places) if a < b]
        if len(pieces) < 2:
            return ids
        ids = self._encode(backend, pieces[0], False)
        for piece in pieces[1:]:
            ids += self._encode(self._inner, piece, False)
        return ids


def _without_lead(backend: Any) -> Any:
    """The same tokenizer without the space that it puts before a text."""

    def bare(part: Any) -> Any:
        if isinstance(part, list):
            return [bare(p) for p in part if not (isinstance(p, dict) and p["type"] == "Prepend")]
        if not isinstance(part, dict):
            return part
        changed = {key: bare(value) for key, value in part.items()}
        if part.get("type") == "Metaspace":
            changed["prepend_scheme"] = "never"
        if part.get("type") == "ByteLevel":
            changed["add_prefix_space"] = False
        return changed

    data = json.loads(backend.to_str())
    for step in ("normalizer", "pre_tokenizer"):
        (data[step],) = bare([data[step]]) or [None]
    return tokenizers.Tokenizer.from_str(json.dumps(data))
