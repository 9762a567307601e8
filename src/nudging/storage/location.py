"""Where files lie: a path, or the URL of an object store (`s3://`, `gs://`, whatever Arrow reads).

Needs the extra `parquet`, whose Arrow brings the file systems.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.fs

from ..errors import UsageError

_HIDDEN = ("_", ".")
"""Names that begin so are no data: so it is for Spark, Arrow and Ray."""


class Location(NamedTuple):
    system: Any
    path: str

    @classmethod
    def of(cls, text: str) -> Location:
        """
        Raises:
            UsageError: it is nothing that Arrow knows.
        """
        try:
            if "://" in text:
                return cls(*pa.fs.FileSystem.from_uri(text.rstrip("/")))
            return cls(pa.fs.LocalFileSystem(), os.path.abspath(text))
        except (pa.lib.ArrowException, OSError) as error:
            raise UsageError(f"can't use {text}: {' '.join(str(error).split())}") from None

    def inside(self, name: str) -> Location:
        return Location(self.system, f"{self.path}/{name}")

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def info(self) -> Any:
        return self.system.get_file_info(self.path)

    @property
    def is_file(self) -> bool:
        return bool(self.info().is_file)

    @property
    def exists(self) -> bool:
        return bool(self.info().type != pa.fs.FileType.NotFound)

    def files(self) -> Iterator[tuple[str, Any]]:
        """The data files in a folder and below, by their names within it, in order. Of a folder
        that is not there none."""
        selector = pa.fs.FileSelector(self.path, recursive=True, allow_not_found=True)
        start = len(self.path.rstrip("/")) + 1
        found = {
            info.path[start:]: info for info in self.system.get_file_info(selector) if info.is_file
        }
        for name in sorted(found):
            if not any(part.startswith(_HIDDEN) for part in name.split("/")):
                yield name, found[name]

    def read(self) -> bytes:
        with self.system.open_input_stream(self.path) as file:
            return bytes(file.read())

    def write(self, data: bytes) -> None:
        """The whole file at once: nobody ever sees half of it. An object store shows a file when
        it is closed, a file system as it grows."""
        if not isinstance(self.system, pa.fs.LocalFileSystem):
            self._write(self.path, data)
            return
        folder, _, name = self.path.rpartition("/")
        new = f"{folder}/.{name}.{secrets.token_hex(4)}"  # two may write it at the same time
        os.makedirs(folder, exist_ok=True)
        self._write(new, data)
        os.replace(new, self.path)

    def _write(self, path: str, data: bytes) -> None:
        with self.system.open_output_stream(path) as file:
            file.write(data)
