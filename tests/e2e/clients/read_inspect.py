"""Reads logs with inspect_ai's own reader, and prints what it found: read_inspect.py FOLDER."""

from __future__ import annotations

import json
import sys
from typing import Any

from inspect_ai.analysis import samples_df
from inspect_ai.log import list_eval_logs, read_eval_log


def told(sample: Any) -> dict[str, Any]:
    score = (sample.scores or {}).get("correct")
    return {
        "id": sample.id,
        "input": sample.input,
        "target": sample.target,
        "completion": sample.output.completion,
        "stop": sample.output.stop_reason if sample.output.choices else None,
        "score": score and [score.value, score.answer],
        "rate": sample.metadata.get("nudge_rate"),
        "error": sample.error and sample.error.message,
    }


logs = [read_eval_log(info) for info in list_eval_logs(sys.argv[1], descending=False)]
heads = [read_eval_log(log.location, header_only=True) for log in logs]
found = {
    "logs": [
        {
            "task": log.eval.task,
            "model": log.eval.model,
            "status": log.status,
            "accuracy": [s.metrics["accuracy"].value for s in log.results.scores],
            "samples": [told(sample) for sample in log.samples],
        }
        for log in logs
        if log.results and log.samples
    ],
    "heads": [head.eval.task for head in heads if head.samples is None],
    "rows": len(samples_df(sys.argv[1], quiet=True)),
}
sys.stdout.write("\n" + json.dumps(found))
