"""The header of a run: all that its lines depend on, and when and where it was made.

Runs can be resumed or merged where their headers agree in all but when and where.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

from ..errors import UsageError
from ..storage.resumable import Header, differences, some

FORMAT = 1
SAME = ("format", "options", "seed", "limit", "at_once", "judge", "rules")
"""What must be the same in runs that are merged. `rules`: the sum of the code that scores."""
TABLES, LISTS = ("versions", "models", "tasks"), ("methods", "variants")
"""What each of these may bring of its own: of tables, what several have must be the same."""
ALL = (*SAME, *TABLES, *LISTS)
"""What must be the same in a run that is resumed."""


def notes_of(header: Header, method: str) -> list[str]:
    """What a reader should know of a method's results."""
    start = f"{method}: "
    return [note.removeprefix(start) for note in header.get("notes", ()) if note.startswith(start)]


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
    found = differences(_but_scoring(old), _but_scoring(new), ALL)
    if found:
        raise UsageError(
            f"{folder} was made otherwise: {some(found)}",
            hint="give what it was made with, or name another folder",
        )
    _check_scoring(str(folder), "is used now", old, new)


def _check_scoring(folder: str, other: str, old: Header, new: Header) -> None:
    if changed := list(_scored_otherwise(old, new)):
        if old.get("rules") is None:
            told = f"{folder} does not say by which code its answers were scored"
        else:
            told = (
                f"{folder} was scored by other code than {other}: {' and '.join(changed)} changed"
            )
        raise UsageError(
            told,
            hint="nudge eval --rescore RUN scores a run's answers anew by today's code, and asks "
            "no model",
        )


def _scored_otherwise(old: Header, new: Header) -> Iterator[str]:
    if old.get("rules") != new.get("rules"):
        yield "nudging's own rules"
    tasks = old["tasks"]
    for name, facts in new["tasks"].items():
        if name in tasks and tasks[name].get("code") != facts.get("code"):
            yield f"the code of the task {name!r}"


def _but_scoring(header: Header) -> dict[str, Any]:
    rest = {name: value for name, value in header.items() if name != "rules"}
    if "tasks" in rest:
        rest["tasks"] = {
            name: {what: value for what, value in facts.items() if what != "code"}
            for name, facts in rest["tasks"].items()
        }
    return rest


def check_resumed(folder: object, old: Header, new: Header) -> None:
    """Refuse to resume a run with settings that are not its own. More samples of each task
    may be asked for: what there is are the first of them.

    Raises:
        UsageError: it names what has changed.
    """
    before, now = old.get("limit"), new.get("limit")
    if before is not None and (now is None or now > before):
        new = {**new, "limit": before}
    check_same(folder, old, new)


def merged(folders: Sequence[object], headers: Sequence[Header]) -> dict[str, Any]:
    """The header of several runs together. `folders`: where they are, for messages.

    Raises:
        UsageError: they were made otherwise in what must be the same. It names two such runs.
    """
    for (folder, old), (other, new) in combinations(zip(folders, headers, strict=True), 2):
        shared = _shared(old, new), _shared(new, old)
        if found := differences(_but_scoring(shared[0]), _but_scoring(shared[1]), (*SAME, *TABLES)):
            raise UsageError(
                f"{other} was made otherwise than {folder}: {some(found)}",
                hint="merge runs with the same options, seed, limit, concurrency and judge; what "
                "several have of models, tasks and versions must be the same, too",
            )
        _check_scoring(str(other), str(folder), *shared)
    whole = dict(headers[0])
    for header in headers[1:]:
        for part in TABLES:
            whole[part] = {**whole[part], **header[part]}
        for part in (*LISTS, "notes"):
            there = whole.get(part, [])
            whole[part] = [*there, *(item for item in header.get(part, ()) if item not in there)]
    made = [header.get("merged") or [_made(header)] for header in headers]
    return whole | {"merged": [each for several in made for each in several]}


def _shared(header: Header, other: Header) -> dict[str, Any]:
    """What of a header must be the same in another one, if their runs are to be merged."""
    tables = {
        part: {name: value for name, value in header[part].items() if name in other[part]}
        for part in TABLES
    }
    return {part: header.get(part) for part in SAME} | tables


def _made(header: Header) -> dict[str, Any]:
    return {name: header.get(name) for name in ("started", "machine")}
