"""Answers as plain data, for JSON: who wrote what, how sure they were, what was in doubt.

Knows neither who asks for it nor where it goes.
"""

from __future__ import annotations

from typing import Any

from .tokens import Answer, Decision, Handover, Step, whole_tokens


def decision_data(decision: Decision) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": decision.kind, "at": decision.at, "note": decision.note}
    if decision.step:
        found["top"] = candidates_data(decision.step)
    return found


def candidates_data(step: Step) -> list[dict[str, Any]]:
    """The candidates for JSON; an empty text is the end."""
    return [{"text": c.text.decode(errors="replace"), "prob": c.prob} for c in step.top]


def handover_data(handover: Handover) -> dict[str, Any]:
    found: dict[str, Any] = {"reason": handover.reason}
    if handover.step:
        found["top"] = candidates_data(handover.step)
    return found


def answer_data(answer: Answer) -> dict[str, Any]:
    """An answer for JSON. The texts of its spans joined are its text."""
    spans = []
    for span in answer.spans:
        tokens = [{"text": text, "top1": top1} for text, top1 in whole_tokens(span)]
        data: dict[str, Any] = {"source": span.source, "text": span.text, "tokens": tokens}
        if span.handover:
            data["handover"] = handover_data(span.handover)
        spans.append(data)
    return {"text": answer.text, "spans": spans, "stop_reason": answer.stop_reason.value}
