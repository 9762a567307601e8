"""Runs made by hand, for reports: a header, and lines with the answers that a test wants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nudging.eval.run_folder import SAMPLES
from nudging.storage.resumable import HEADER
from nudging.storage.safe_files import encode, write_json

Line = dict[str, Any]
Span = dict[str, Any]


def header(tasks: Sequence[str], methods: Sequence[str]) -> dict[str, Any]:
    return {
        "format": 1,
        "versions": {"nudging": "1.2.3"},
        "models": {"base": {"spec": "llama:base.gguf", "sha256": "abc"}},
        "tasks": {task: {"samples": 2, "sha256": "def"} for task in tasks},
        "methods": list(methods),
        "variants": [{}],
        "options": {"max_tokens": 32},
        "seed": 0,
        "limit": None,
        "judge": None,
        "started": "2026-01-01T00:00:00+00:00",
        "machine": {"cores": 2},
    }


def base(*tokens: str, top1: float = 0.9) -> Span:
    found = [{"text": token, "top1": top1} for token in tokens]
    return {"source": "base", "text": "".join(tokens), "tokens": found}


def nudge(*tokens: str, reason: str = "doubt", doubt: float = 0.2) -> Span:
    found = [{"text": token, "top1": 0.8} for token in tokens]
    handover: dict[str, Any] = {"reason": reason}
    if reason == "doubt":
        handover["top"] = [{"text": " um", "prob": doubt}, {"text": "", "prob": 0.1}]
    text = "".join(tokens)
    return {"source": "nudge", "text": text, "tokens": found, "handover": handover}


def line(
    task: str,
    method: str,
    sample: str,
    *spans: Span,
    correct: bool | None = True,
    setting: Mapping[str, Any] | None = None,
    question: str = "Why?",
    gold: str | None = "42",
) -> Line:
    """The line of an answer, or without spans, of one that failed."""
    found: Line = {
        "task": task,
        "method": method,
        "setting": dict(setting or {}),
        "id": sample,
        "question": question,
        "system": "Think.",
        "gold": gold,
        "answer": None,
        "score": None,
        "error": None,
    }
    if not spans:
        return found | {"error": {"kind": "ServerDown", "message": "no connection"}}
    tokens = sum(len(span["tokens"]) for span in spans)
    return found | {
        "answer": {
            "text": "".join(span["text"] for span in spans),
            "spans": list(spans),
            "stop_reason": "nudge",
            "usage": {"tokens": tokens, "base": {"emitted": 1}, "seconds": 0.5},
            "seconds": 0.5,
        },
        "score": {"correct": correct, "reading": "42", "measures": {"ended": 1.0}},
    }


def make_run(folder: Path, lines: Sequence[Line]) -> Path:
    tasks = list(dict.fromkeys(each["task"] for each in lines))
    methods = list(dict.fromkeys(each["method"] for each in lines))
    folder.mkdir(parents=True)
    write_json(folder / HEADER, header(tasks, methods))
    (folder / SAMPLES).write_bytes(b"".join(map(encode, lines)))
    return folder


def small_run(folder: Path) -> Path:
    """Two tasks, one of them open; the base model alone, and nudged at two gammas."""
    low, high = {"preset": "default", "gamma": 0.2}, {"preset": "default", "gamma": 0.4}
    return make_run(
        folder,
        [
            line("sums", "base", "a", base("It", " is", " 41."), correct=False),
            line("sums", "base", "b", base("It", " is", " 42.")),
            line("sums", "nudging", "a", base("It", " is", " 41."), correct=False, setting=low),
            line("sums", "nudging", "b", base("It", " is", " 42."), setting=low),
            line(
                *("sums", "nudging", "a"),
                *(nudge("So,", reason="opening"), base(" it", " is"), nudge(" 42.")),
                setting=high,
            ),
            line("sums", "nudging", "b", setting=high),
            line("talk", "base", "c", base("Hello", " hello"), correct=None, gold=None),
            line(
                *("talk", "nudging", "c"),
                *(nudge("Hi,", reason="opening"), base(" there")),
                correct=None,
                gold=None,
                setting=high,
            ),
        ],
    )
