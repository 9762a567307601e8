"""Suite `remote`: two servers, one answer at a time and sixteen at once.

`benchmarks/beside_chunked.py` measures the authors' way of calling by the same means.
"""

from __future__ import annotations

from typing import Any

from ..engines.spec import parse_spec
from ..errors import UsageError
from .suite import MEASURED_TOKENS, Stage, Workload
from .together import FEWEST_ASKED, Ways, opened_specs, turns, warmed, ways

AT_ONCE = (1, 16)


def remote(request: Workload) -> list[Stage[Any]]:
    """
    Raises:
        UsageError: base and nudging model are no servers.
    """
    if any(parse_spec(spec).kind != "http" for spec in (request.base, request.nudge)):
        raise UsageError(
            "the suite remote needs two servers: --base and --nudge",
            hint="nudge bench --suite remote --base http://HOST:PORT/v1#MODEL --nudge ...",
        )
    return stages(request, ways(request.speculate, nudge=True))


def stages(request: Workload, found: Ways) -> list[Stage[Any]]:
    request = request._replace(tokens=request.tokens or MEASURED_TOKENS)
    numbers = request.at_once or AT_ONCE
    parts = turns("remote", "", request, numbers, found)
    asked = request.questions[
        : max(*numbers, FEWEST_ASKED)
    ]  # what is measured finds the prompts read
    return [Stage(lambda: warmed(opened_specs(request), asked, found, request.options), parts)]
