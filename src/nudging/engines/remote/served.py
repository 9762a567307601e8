"""What stands behind an address: the model that a spec means, the kind of server, its gate.

Asks through functions that bring the JSON at a path; knows no connection, stream or engine.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from ...errors import NudgingError, ServerNonsense, ServerRefused, SpecError
from ...values.sampling import GREEDY
from ..spec import Spec
from .dialects import (
    LLAMA_SERVER,
    OPENAI,
    SGLANG,
    VLLM,
    Ask,
    Dialect,
    Gate,
    Get,
    Post,
    read_tokens,
    vllm_tokenize,
)
from .gate import LEAST, MARK, UNSURE, GateReader
from .server_steps import LegacyReader, array, string, table


class Served(NamedTuple):
    """A model in a server's list."""

    name: str
    names: tuple[str, ...]
    owner: str
    n_ctx: int | None


def read_models(answer: object) -> list[Served]:
    served = []
    for item in array(table(answer, "the list of models").get("data"), "list of models"):
        model = table(item, "a model")
        name = string(model.get("id"), "model id")
        aliases = model.get("aliases")
        others = [a for a in aliases if isinstance(a, str)] if isinstance(aliases, list) else []
        meta = model.get("meta")
        limit = model.get("max_model_len") or (isinstance(meta, dict) and meta.get("n_ctx"))
        served.append(
            Served(
                name,
                (name, *others),
                str(model.get("owned_by") or ""),
                limit if isinstance(limit, int) and limit > 0 else None,
            )
        )
    return served


OWNERS = {"vllm": VLLM, "llamacpp": LLAMA_SERVER, "sglang": SGLANG}
"""By what a server's list of models says of who owns them."""
SIGNS: tuple[tuple[str, str, Dialect], ...] = (
    ("{root}/props", "default_generation_settings", LLAMA_SERVER),
    ("{root}/model_info", "tokenizer_path", SGLANG),
    ("{root}/get_model_info", "tokenizer_path", SGLANG),
)
"""Where a list of models does not tell: a path, a key of its answer, and what that means."""


def read_n_ctx(props: object) -> int | None:
    """Context length of one slot, of llama-server's `/props`."""
    settings = table(props, "the answer").get("default_generation_settings")
    n_ctx = settings.get("n_ctx") if isinstance(settings, dict) else None
    return n_ctx if isinstance(n_ctx, int) and n_ctx > 0 else None


async def find_model(get: Get, spec: Spec) -> Served:
    """The model that a spec means, as the server lists it."""
    try:
        models = read_models(await get("{url}/models"))
    except ServerRefused as error:
        if error.code != 404 or not spec.model:
            raise
        return Served(spec.model, (spec.model,), "", None)
    found = [m for m in models if spec.model in m.names] if spec.model else models
    if len(found) == 1:
        return found[0]
    names = ", ".join(m.name for m in models[:20]) or "none"
    if spec.model:
        raise ServerRefused(
            f"{spec.path} has no model {spec.model!r}", code=404, hint=f"it has {names}"
        )
    raise SpecError(f"{spec.path} has several models", hint=f"add #MODEL; it has {names}")


async def find_dialect(get: Get, served: Served) -> Dialect:
    if served.owner in OWNERS:
        return OWNERS[served.owner]
    for path, sign, dialect in SIGNS:
        with suppress(ServerRefused, ServerNonsense):
            answer = await get(path)
            if isinstance(answer, dict) and sign in answer:
                return dialect
    return OPENAI


async def find_gate(post: Post, model: str) -> int | None:
    """The token that a vLLM server's gate is to end requests with; None where it has no gate.

    The server is made to end a request at once. What it then tells must be what it tells without:
    the same token, spaces and all, as likely as before.
    """
    with suppress(NudgingError):
        ids = read_tokens(await post(*vllm_tokenize(model, MARK, True, True)))
        for text in UNSURE if ids else ():
            ask = Ask(model, text, True, 1, LEAST, GREEDY, 0, stream=False, id="")
            reader = GateReader(set(), ids[0], LEAST)
            gated = reader.feed(await post(*VLLM.complete(ask._replace(gate=Gate(ids[0], 1.0)))))
            if not reader.stopped:
                return None
            plain = LegacyReader().feed(await post(*VLLM.complete(ask)))
            if gated and plain:
                one, other = gated[0].step, plain[0].step
                same = one.text == other.text and abs(one.top1 - other.top1) < 0.05
                return ids[0] if same else None
    return None
