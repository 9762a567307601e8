"""Suite `pair`: a pair as it is, the built-in one or another, one answer at a time."""

from __future__ import annotations

from functools import partial
from typing import Any

from .measure import one_by_one
from .suite import Stage, Workload
from .together import opened_specs


def pair(request: Workload) -> list[Stage[Any]]:
    return [Stage(partial(opened_specs, request), one_by_one("pair", "", request))]
