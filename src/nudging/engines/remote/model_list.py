"""The model that a spec means, in a server's list."""

from __future__ import annotations

from typing import NamedTuple

from ...errors import ServerRefused, SpecError
from ..spec import Spec
from .dialect import Get
from .json_checks import array, string, table


class ListedModel(NamedTuple):
    """A model in a server's list."""

    name: str
    names: tuple[str, ...]
    owner: str
    n_ctx: int | None


def read_models(answer: object) -> list[ListedModel]:
    served = []
    for item in array(table(answer, "the list of models").get("data"), "list of models"):
        model = table(item, "a model")
        name = string(model.get("id"), "model id")
        aliases = model.get("aliases")
        others = [a for a in aliases if isinstance(a, str)] if isinstance(aliases, list) else []
        meta = model.get("meta")
        limit = model.get("max_model_len") or (isinstance(meta, dict) and meta.get("n_ctx"))
        served.append(
            ListedModel(
                name,
                (name, *others),
                str(model.get("owned_by") or ""),
                limit if isinstance(limit, int) and limit > 0 else None,
            )
        )
    return served


async def find_model(get: Get, spec: Spec) -> ListedModel:
    """The model that a spec means, as the server lists it."""
    try:
        models = read_models(await get("{url}/models"))
    except ServerRefused as error:
        if error.code != 404 or not spec.model:
            raise
        return ListedModel(spec.model, (spec.model,), "", None)
    found = [m for m in models if spec.model in m.names] if spec.model else models
    if len(found) == 1:
        return found[0]
    names = ", ".join(m.name for m in models[:20]) or "none"
    if spec.model:
        raise ServerRefused(
            f"{spec.path} has no model {spec.model!r}", code=404, hint=f"it has {names}"
        )
    raise SpecError(f"{spec.path} has several models", hint=f"add #MODEL; it has {names}")
