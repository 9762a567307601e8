"""Evaluates the scripted pair as lm_eval's functions do, and prints what came, as JSON:
ask_nudging_lm.py FOLDER, which holds the tasks `local`, `sampled`, `choices` and `begun`."""

from __future__ import annotations

import json
import sys
from typing import Any

from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from nudging.errors import NudgingError
from nudging.lm_eval import NudgingLM

manager = TaskManager(include_path=sys.argv[1], include_defaults=False)
PAIR: dict[str, Any] = {"base": "scripted:base", "nudge": "scripted:nudge"}


def evaluated(model: Any, task: str, **options: Any) -> Any:
    return simple_evaluate(model, tasks=[task], task_manager=manager, **options)


def answers(results: Any, task: str) -> list[list[str]]:
    return [sample["resps"][0] for sample in results["samples"][task]]


def refused(task: str, model: Any, **options: Any) -> str:
    try:
        evaluated(model, task, **options)
    except NudgingError as error:
        return str(error)
    return ""


with NudgingLM(**PAIR, gamma=0.4) as model:
    opened = evaluated(model, "local")
    found = {
        "score": opened["results"]["local"]["exact_match,none"],
        "text": answers(opened, "local"),
        "asked": opened["config"]["nudging"],
        "sampled": answers(evaluated(model, "sampled"), "sampled"),
        "again": answers(evaluated(model, "sampled"), "sampled"),
        "choices": refused("choices", model),
        "begun": refused("begun", model, apply_chat_template=True),
        "option": refused("local", model, gen_kwargs="repetition_penalty=1.2"),
        "beams": refused("local", model, gen_kwargs="num_beams=4"),
        "gamma": refused("local", model, gen_kwargs="gamma=7"),
        "short": answers(evaluated(model, "local", gen_kwargs="max_gen_toks=2"), "local"),
    }
named = "base=scripted:base,nudge=scripted:nudge,concurrency=2"
chat = evaluated("nudging", "local", model_args=named, apply_chat_template=True)
found["chat"] = answers(chat, "local")
found["prompt"] = chat["samples"]["local"][0]["arguments"][0][0]
sys.stdout.write("\n" + json.dumps(found))
