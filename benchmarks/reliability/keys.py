"""Requests without a key that is good: 401 everywhere but at `/health`, and no model is asked.

The paths are those of the application itself, so none can be forgotten.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from .asking import STORY, ask, body_of
from .client import Client, request
from .pair import Pair, pair
from .paths import routes
from .served import Served, serving

OPEN = ("/", "/health")
"""What anybody may ask: a page that holds no secret, and whether the server is up."""
GOOD, REVOKED = "sk-good-0123456789", "sk-revoked-0123456789"
BAD: dict[str, str | None] = {
    "missing": None,
    "empty": "",
    "no key": "Bearer ",
    "wrong": "Bearer sk-wrong",
    "revoked": f"Bearer {REVOKED}",
    "shorter": f"Bearer {GOOD[:-1]}",
    "longer": f"Bearer {GOOD}0",
    "in capitals": f"Bearer {GOOD.upper()}",
    "twice": f"Bearer {GOOD} {GOOD}",
    "without its scheme": GOOD,
    "another scheme": f"Basic {GOOD}",
    "of no letters": "Bearer \xff\xfe",
}


@dataclass
class Refusals:
    paths: list[str] = field(default_factory=list)
    requests: int = 0
    problems: list[str] = field(default_factory=list)


def keys() -> Refusals:
    with tempfile.TemporaryDirectory() as folder, pair() as models:
        file = Path(folder) / "keys"
        file.write_text(f"{GOOD}\n{REVOKED}\n")
        with serving(models.specs(), f"--api-key-file={file}") as served:
            return asyncio.run(_keys(models, served, file))


async def _keys(models: Pair, served: Served, file: Path) -> Refusals:
    found = Refusals()
    if (told := await _ask_with(served, REVOKED)) != "answer":
        found.problems.append(f"a key that is good yet is refused: {told}")
    _write(file, f"{GOOD}\n")
    before = await _asked(models)
    for path, method in routes():
        found.paths += [path] if path not in found.paths else []
        for name, header in BAD.items():
            headers = {} if header is None else {"Authorization": header}
            body = body_of(STORY, prompt=STORY, input=STORY) if method == "POST" else None
            data = request(path, body, method=method, headers=headers)
            head = await _head(served, data)
            found.requests += 1
            if (head == 401) == (path in OPEN):
                found.problems.append(f"{method} {path} with a key that is {name}: {head}")
    if (more := await _asked(models) - before) > 0:
        found.problems.append(f"the models were asked {more} times")
    if (told := await _ask_with(served, GOOD)) != "answer":
        found.problems.append(f"a good key is refused: {told}")
    return found


def _write(file: Path, text: str) -> None:
    """As a careful operator does: never half a file."""
    new = file.with_suffix(".new")
    new.write_text(text)
    os.replace(new, file)


async def _head(served: Served, data: bytes) -> int:
    client = await Client.open(served.address)
    await client.send(data)
    head = await client.head()
    client.hang_up()
    return head.status


async def _ask_with(served: Served, key: str) -> str:
    client = await Client.open(served.address)
    told = await ask(client, STORY, headers={"Authorization": f"Bearer {key}"})
    client.hang_up()
    return told.what or told.kind


async def _asked(models: Pair) -> int:
    return sum([(await model.seen())["asked"] for model in (models.base, models.nudge)])
