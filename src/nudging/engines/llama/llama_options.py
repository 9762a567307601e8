"""The options of the llama engine, read from a spec and checked as far as they can be before a
model is opened."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from ...errors import SpecError
from ...prompts.templates import NAMED
from ...values.variables import Scalar
from ..options import spec_number, template_variables
from ..spec import Spec
from .llama_params import FLASH, SPLITS, TYPES, WHOLE_TYPES, Setup


class LlamaOptions(NamedTuple):
    """The options of a spec, None where they are not given."""

    n_ctx: int | None
    parallel: int | None
    threads: int | None
    template: str | None
    variables: dict[str, Scalar]
    """Of the template."""
    setup: Setup


def llama_options(spec: Spec) -> LlamaOptions:
    """
    Raises:
        SpecError: a value that there is not, or two that exclude each other.
    """
    template = spec.options.get("template")
    if template is not None and template not in NAMED:
        raise SpecError(
            f"there is no built-in template {template!r}",
            hint=f"there are {', '.join(NAMED)}",
        )
    setup = Setup(
        n_gpu_layers=spec_number(spec.options, "n_gpu_layers", 0, 9999),
        main_gpu=spec_number(spec.options, "main_gpu", 0, 63),
        split=_word(spec.options, "split", SPLITS),
        flash_attn=_word(spec.options, "flash_attn", FLASH),
        type_k=_word(spec.options, "type_k", TYPES),
        type_v=_word(spec.options, "type_v", TYPES),
    )
    _check(setup)
    return LlamaOptions(
        spec_number(spec.options, "n_ctx", 1, 2**24),
        spec_number(spec.options, "parallel", 1, 256),
        spec_number(spec.options, "threads", 1, 512),
        template,
        template_variables(spec.options),
        setup,
    )


def _word(options: Mapping[str, str], name: str, known: Collection[str]) -> str | None:
    text = options.get(name)
    if text is not None and text not in known:
        raise SpecError(f"{name} is {text!r}", hint=f"one of {', '.join(known)}")
    return text


def _check(setup: Setup) -> None:
    if setup.main_gpu is not None and setup.split != "none":
        raise SpecError(
            "main_gpu names the GPU that holds the whole model",
            hint="add split=none; otherwise the model is divided among all GPUs",
        )
    if setup.flash_attn == "off" and setup.type_v not in (None, *WHOLE_TYPES):
        raise SpecError(
            f"a V cache of {setup.type_v} needs flash attention",
            hint="leave flash_attn out, or choose type_v=f16",
        )
