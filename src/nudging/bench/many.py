"""Suite `many`: a pair at several numbers of answers at once, beside the base model alone."""

from __future__ import annotations

from typing import Any

from ..engines.spec import parse_spec
from .suite import Stage, Workload
from .together import opened_specs, turns, warmed, ways

AT_ONCE = (1, 4, 8, 16, 32)


def many(request: Workload) -> list[Stage[Any]]:
    spec = parse_spec(request.base)
    in_hf = "hf" in (spec.kind, spec.options.get("engine"))
    found = ways(request.speculate, generate=in_hf)
    parts = turns("many", "", request, request.at_once or AT_ONCE, found)
    asked, options = request.questions[:1], request.options
    return [Stage(lambda: warmed(opened_specs(request), asked, found, options), parts)]
