"""The header of a run: all that its lines depend on, and when and where it was made.

Two runs may be one (resumed, merged) where their headers agree in all but the latter. Knows no
folder and no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import UsageError
from ..headers import Header, differences, some

FORMAT = 1
SAME = ("format", "options", "seed", "limit", "judge")
"""What must be the same in runs that are merged."""
TABLES, LISTS = ("versions", "models", "tasks"), ("methods", "variants")
"""What each of these may bring of its own: of tables, what several have must be the same."""
ALL = (*SAME, *TABLES, *LISTS)
"""What must be the same in a run that is gone on with."""


def asked(header: Header, task: str) -> int:
    """How many samples of a task a run is to have, of each method and setting."""
    there: int = header["tasks"][task]["samples"]
    limit: int | None = header["limit"]
    return there if limit is None else min(limit, there)


def check_same(folder: object, old: Header, new: Header) -> None:
    """Refuse to join what was made under different settings.

    Raises:
        UsageError: it names what has changed.
    """
    found = differences(old, new, ALL)
    if found:
        raise UsageError(
            f"{folder} was made otherwise: {some(found)}",
            hint="give what it was made with, or name another folder",
        )


def check_resumed(folder: object, old: Header, new: Header) -> None:
    """Refuse to go on with a run under settings that are not its own. More samples of each task
    may be asked for: what there is are the first of them.

    Raises:
        UsageError: it names what has changed.
    """
    before, now = old.get("limit"), new.get("limit")
    if before is not None and (now is None or now > before):
        new = {**new, "limit": before}
    check_same(folder, old, new)


def merged(headers: Sequence[Header]) -> dict[str, Any]:
    """The header of several runs together.

    Raises:
        UsageError: they were made otherwise in what must be the same.
    """
    whole = dict(headers[0])
    for header in headers[1:]:
        check_same("the first run", whole, {part: header[part] for part in SAME})
        for part in TABLES:
            here = {name: header[part][name] for name in header[part] if name in whole[part]}
            both = {name: whole[part][name] for name in here}
            check_same("the first run", {part: both}, {part: here})
            whole[part] = {**whole[part], **header[part]}
        for part in (*LISTS, "notes"):
            there = whole.get(part, [])
            whole[part] = [*there, *(item for item in header.get(part, ()) if item not in there)]
    made = [header.get("merged") or [_made(header)] for header in headers]
    return whole | {"merged": [each for several in made for each in several]}


def _made(header: Header) -> dict[str, Any]:
    return {name: header.get(name) for name in ("started", "machine")}
