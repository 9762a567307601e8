"""Answers in parts: a folder, here or in an object store, that many write to at the same time.

    OUT/PART.jsonl, .parquet       rows with their answers
    OUT/_nudge/header.json         what they depend on
    OUT/_nudge/bad/PART.jsonl      rows that could not be asked
    OUT/_nudge/done/PART.json      the counts of its results; written last: the part is done
    OUT/_nudge/whole.json          the same for all parts: nothing is left to do

A part always has the same name, so whoever answers it once more replaces it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..errors import InputError, UsageError
from ..storage.location import Location
from ..storage.resumable import HEADER, parse_header
from ..storage.safe_files import encode
from .work_folder import FORMAT

_AT_ONCE = 32
"""Small files read at the same time: a store far away takes its time for each."""


class PartsFolder:
    def __init__(self, text: str) -> None:
        self.text = text
        self._location = Location.of(text)
        own = self._location.inside("_nudge")
        self._header, self._whole = own.inside(HEADER), own.inside("whole.json")
        self._bad, self._done = own.inside("bad"), own.inside("done")

    @property
    def bad(self) -> str:
        return f"{self.text}/_nudge/bad"

    # --- all of it ------------------------------------------------------------------------------

    def header_to_resume(self, *, resume: bool) -> Mapping[str, Any] | None:
        """The header of the work to resume, or None where it is to begin.

        Raises:
            UsageError: there is something already, and it is not to be resumed.
        """
        if self._location.is_file:
            raise UsageError(f"{self.text} is a file", hint="with --ray, OUT is a folder")
        if not self._header.is_file:
            if next(self._location.files(), None):
                raise UsageError(f"{self.text} is not empty", hint="name another folder")
            return None
        if not resume:
            raise UsageError(
                f"{self.text} has been begun", hint="--resume goes on; or name another folder"
            )
        found = parse_header(self._header.read(), FORMAT)
        if found is None:
            raise InputError(
                f"{self.text} is of another version, or damaged", hint="name another folder"
            )
        return found

    def begin(self, header: Mapping[str, Any]) -> None:
        self._header.write(encode(header))

    def finish(self, counts: Mapping[str, int]) -> None:
        self._whole.write(encode(counts))

    def is_whole(self) -> bool:
        return self._whole.is_file

    # --- parts ----------------------------------------------------------------------------------

    def put(self, name: str, out: Path, bad: Path, counts: Mapping[str, int]) -> None:
        self._location.inside(name + out.suffix).write(out.read_bytes())
        if bad.exists():
            self._bad.inside(f"{name}.jsonl").write(bad.read_bytes())
        self._done.inside(f"{name}.json").write(encode(counts))

    def counts_of(self, name: str) -> Counter[str] | None:
        """Of a part that is done."""
        path = self._done.inside(f"{name}.json")
        return Counter(json.loads(path.read())) if path.is_file else None

    def done(self) -> dict[str, Counter[str]]:
        names = [name.removesuffix(".json") for name, _ in self._done.files()]
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            counts = threads.map(self.counts_of, names)
            return {name: each for name, each in zip(names, counts, strict=True) if each}
