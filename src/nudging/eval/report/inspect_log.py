"""Runs as logs of inspect_ai: a file for each task and way to answer, which `inspect view` shows.

The format is version 2 of its JSON one (inspect.aisi.org.uk/eval-logs.html); its reader wants the
parts in this order. inspect_ai is not needed to write it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...storage.resumable import Header
from ...storage.safe_files import write_whole
from ...values.tokens import StopReason
from ..header import asked
from ..run_folder import read_header, read_samples
from ..sample_lines import Line, canonical, nudge_rate
from ..summary import ENDED, summary
from .gather import Cell, Way, run_names, way_name

SCORER = "correct"
"""What the one score of a sample is called."""
_VERSION = 2


def write_logs(folders: Sequence[Path], out: Path) -> list[Path]:
    """Write the logs of runs, finished or not, into a folder.

    Raises:
        InputError: a folder is no run, or has no samples.
    """
    found: list[tuple[Header, Way, Cell, list[Line]]] = []
    for run, folder in zip(run_names(folders), folders, strict=True):
        header = read_header(folder)
        lines = list(read_samples(folder, header))
        if not lines:
            raise InputError(f"{folder} has no samples yet")
        for cell in summary(header, lines)["cells"]:
            own = [line for line in lines if _cell(line) == _cell(cell)]
            shown = run if len(folders) > 1 else ""
            found.append((header, Way(shown, cell["method"], cell["setting"]), cell, own))
    ways = [way for _, way, _, _ in found]
    out.mkdir(parents=True, exist_ok=True)
    return [
        _write(out, header, way_name(way, ways), cell, lines) for header, way, cell, lines in found
    ]


def _cell(of: Mapping[str, Any]) -> list[str]:
    return [of["task"], of["method"], canonical(of["setting"])]


def _write(out: Path, header: Header, way: str, cell: Cell, lines: Sequence[Line]) -> Path:
    number = hashlib.sha256(canonical([header, _cell(cell)]).encode()).hexdigest()[:22]
    started = re.sub("[^0-9T-]", "-", header["started"])
    task = re.sub("[^A-Za-z0-9.-]", "-", cell["task"])
    path = out / f"{started}_{task}_{number}.json"
    text = json.dumps(_log(header, way, cell, lines, number), ensure_ascii=False, indent=1)
    write_whole(path, text.encode(errors="backslashreplace"))
    return path


def _log(
    header: Header, way: str, cell: Cell, lines: Sequence[Line], number: str
) -> dict[str, Any]:
    wanted = asked(header, cell["task"])
    return {
        "version": _VERSION,
        "status": "success" if len(lines) == wanted else "cancelled",
        "eval": {
            "eval_id": number,
            "run_id": number,
            "task_id": number,
            "created": header["started"],
            "task": cell["task"],
            "dataset": {
                "name": cell["task"],
                "samples": wanted,
                "sample_ids": [line["id"] for line in lines],
            },
            "model": way,
            "model_args": {name: model.get("spec") for name, model in header["models"].items()},
            "config": {"limit": header["limit"]},
            "packages": header["versions"],
            "metadata": {"header": header},
        },
        "plan": {"steps": [{"solver": cell["method"], "params": cell["setting"]}]},
        "results": {
            "total_samples": len(lines),
            "completed_samples": cell["n"],
            "scores": _scores(cell),
            "metadata": dict(cell),
        },
        "stats": {"started_at": header["started"]},
        "samples": [_sample(line, way) for line in lines],
    }


def _scores(cell: Cell) -> list[dict[str, Any]]:
    """The accuracy, of a task that has one. All figures of the cell are in the metadata."""
    if cell["accuracy"] is None:
        return []
    metrics = {"accuracy": {"name": "accuracy", "value": cell["accuracy"]}}
    counted = {"scored_samples": cell["scored"], "unscored_samples": cell["n"] - cell["scored"]}
    return [{"name": SCORER, "scorer": SCORER, **counted, "metrics": metrics}]


def _sample(line: Line, way: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": line["id"],
        "epoch": 1,
        "input": line["question"],
        "target": line["gold"] or "",
        "messages": [
            {"role": "system", "content": line["system"], "source": "input"},
            {"role": "user", "content": line["question"], "source": "input"},
        ],
    }
    if error := line["error"]:
        told = f"{error['kind']}: {error['message']}"
        found["error"] = {"message": told, "traceback": told, "traceback_ansi": told}
    score = line["score"] or {}
    if answer := line["answer"]:
        said = {"role": "assistant", "content": answer["text"], "source": "generate"}
        found["messages"].append(said)
        found["output"] = {
            "model": way,
            "choices": [{"message": said, "stop_reason": _stop(answer["stop_reason"])}],
        }
        found["total_time"] = answer["seconds"]
        found["metadata"] = {
            "nudge_rate": nudge_rate(line),
            "stop_reason": answer["stop_reason"],
            "spans": [[span["source"], span["text"]] for span in answer["spans"]],
            "measures": score.get("measures", {}),
            "usage": answer["usage"],
        }
    if score.get("correct") is not None:
        value = "C" if score["correct"] else "I"
        found["scores"] = {SCORER: {"value": value, "answer": score["reading"]}}
    return found


def _stop(reason: str) -> str:
    """In inspect_ai's words; the metadata has our own."""
    if reason == StopReason.LENGTH:
        return "max_tokens"
    return "stop" if reason in (*ENDED, StopReason.STOP) else "unknown"
