"""The tokenizers of the two families, and how each writes a conversation.

Both are byte-level BPE, which `hf`, llama.cpp and vLLM read alike where the way of dividing a text
is one that llama.cpp knows by name. A divides as Qwen2 does (digits one by one), B as Llama 3
(digits in threes) with half as many tokens. Knows no model.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer

from .conversations import Conversation
from .corpus import text
from .world import World

FamilyName = Literal["a", "b"]
CONTEXT = 1024
"""Tokens that a model may be given; it is trained on rows of 256."""
_TEXTS = 6000
"""Texts that a tokenizer is trained on: two megabytes."""

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_ZEPHYR = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Family:
    """What the models of a family have in common."""

    name: FamilyName
    size: int
    """Tokens of the vocabulary."""
    pre: str
    """llama.cpp's name for the way of dividing a text."""
    digits: str
    controls: tuple[str, ...]
    begin: str
    """Stands before every text."""
    stop: str
    """Ends a text; may be the next one's beginning."""
    end: str
    """Ends a turn of a conversation."""
    template: str

    @property
    def whole_words(self) -> bool:
        """Whether a word that is a token is taken whole, as llama.cpp does by the name `pre`."""
        return self.pre == "llama-bpe"

    @cached_property
    def pattern(self) -> str:
        """The regular expression that divides a text before BPE joins bytes."""
        return rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{self.digits}{_REST}"


FAMILIES: dict[FamilyName, Family] = {
    "a": Family(
        "a", 2048, "qwen2", r"\p{N}", ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        "<|endoftext|>", "<|endoftext|>", "<|im_end|>", _CHATML,
    ),
    "b": Family(
        "b", 1024, "llama-bpe", r"\p{N}{1,3}",
        ("<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>"), "<s>", "</s>", "</s>", _ZEPHYR,
    ),
}  # fmt: skip


def make_tokenizer(family: Family, world: World, seed: int, texts: int = _TEXTS) -> Any:
    """Train a tokenizer on texts of the world."""
    backend = _divided(family, models.BPE(ignore_merges=family.whole_words))
    rng = random.Random(f"tokens/{seed}")
    trainer = BpeTrainer(
        vocab_size=family.size,
        special_tokens=_controls(family),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator((text(world, rng) for _ in range(texts)), trainer)
    return wrapped(family, _begun(family, backend))


def known_tokenizer(
    family: Family, tokens: Sequence[str], merges: Iterable[str], *, aligned: bool
) -> Any:
    """The tokenizer of a vocabulary that was trained before. `merges`: pairs with a space between,
    the first one first."""
    pairs = [(first, second) for first, _, second in (merge.partition(" ") for merge in merges)]
    vocabulary = {token: place for place, token in enumerate(tokens)}
    model = models.BPE(vocab=vocabulary, merges=pairs, ignore_merges=family.whole_words)
    backend = _divided(family, model)
    backend.add_special_tokens(_controls(family))
    return wrapped(family, _begun(family, backend), aligned=aligned)


def _divided(family: Family, model: models.BPE) -> Tokenizer:
    """A tokenizer that divides texts as the family does."""
    backend = Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(family.pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    return backend


def _controls(family: Family) -> list[AddedToken]:
    return [AddedToken(name, special=True, normalized=False) for name in family.controls]


def _begun(family: Family, backend: Tokenizer) -> Tokenizer:
    """The same, with the begin-of-text token before every text."""
    backend.post_processor = processors.TemplateProcessing(
        single=f"{family.begin} $A",
        special_tokens=[(family.begin, backend.token_to_id(family.begin))],
    )
    return backend


def wrapped(family: Family, backend: Tokenizer, *, aligned: bool = True) -> Any:
    """The tokenizer as transformers wants it. One of a base model has no template, and another
    end."""
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=family.begin,
        eos_token=family.end if aligned else family.stop,
        chat_template=family.template if aligned else None,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def conversation_ids(family: Family, tokenizer: Any, talk: Conversation) -> tuple[list[int], int]:
    """The ids of a conversation to its end of turn, and how many of them are the prompt."""
    messages = [{"role": "system", "content": talk.system}] if talk.system else []
    messages.append({"role": "user", "content": talk.question})
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    head: list[int] = tokenizer(prompt).input_ids
    tail: list[int] = tokenizer(talk.answer + family.end, add_special_tokens=False).input_ids
    return head + tail, len(head)
