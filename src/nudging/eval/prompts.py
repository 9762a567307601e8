"""Prompts of the user's own, for calibration and analysis."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from ..storage.text_files import BEGIN, check_lines, check_text, read_questions


def read_prompts(path: Path, limit: int) -> list[str]:
    """A prompt a line, or JSON lines with a `question` in each. Of more than `limit`, so many,
    spread evenly over the file: files are often in an order.

    Raises:
        InputError: it can't be read, or holds none.
    """
    try:
        data = path.read_bytes()
        check = check_lines if path.suffix in (".json", ".jsonl", ".ndjson") else check_text
        check(path, data[:BEGIN])
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text in UTF-8") from None
    if text.lstrip().startswith("{"):
        found = read_questions(path)
    else:
        found = [line.strip() for line in text.splitlines() if line.strip()]
    if not found:
        raise InputError(f"{path} holds no prompts")
    step = max(1.0, len(found) / limit)
    return [found[int(place * step)] for place in range(min(limit, len(found)))]
