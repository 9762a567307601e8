"""Preset `official` against recorded answers of the authors' code, on the same servers.

    python -m benchmarks.fidelity RECORDS.jsonl [--base SPEC --nudge SPEC] [--out FILE.json]

Two figures: rounds that come out identical when each starts from the record's own text so far,
and whole answers that are identical. Differences are printed with the probabilities at the place
where they begin, so that each can be traced. Without specs, both servers are started here.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

from nudging import Answer, Config, Decision, Engine, Step, open_engine_async
from nudging.chat import Part, Prompt
from nudging.drive import Side, drive
from nudging.engines.base import Want
from nudging.flow import Nudging

from .vllm_pair import vllm_pair

STOPS = {"nudging_model_stop": "nudge", "repeated_nudging_words": "repeated", "round": "rounds"}


def sides(record: dict[str, Any], base: Engine, nudge: Engine) -> tuple[Side, Side]:
    return (
        Side(base, Prompt((Part(record["prompt_base"]),)), Want("base", top_k=4)),
        Side(nudge, Prompt((Part(record["prompt_nudge"]),)), Want("nudge", top_k=4)),
    )


def config_of(record: dict[str, Any]) -> Config:
    return Config.of("official", gamma=record["gamma"], max_tokens=record["max_token_total"])


async def one_round(
    record: dict[str, Any], place: int, base: Engine, nudge: Engine
) -> tuple[str, str, list[Decision]]:
    """The nudging words and the whole text of one round, from the record's own text before it."""
    config = dataclasses.replace(config_of(record), max_rounds=1)
    flow = Nudging(config, text="".join(record["completions"][:place]))
    decisions: list[Decision] = []
    words = text = ""
    handovers = 0
    async with contextlib.aclosing(drive(flow, *sides(record, base, nudge))) as events:
        async for event in events:
            if isinstance(event, Decision):
                decisions.append(event)
                handovers += event.kind == "handover"
            if handovers == 2 or isinstance(event, Answer):
                spans = flow.transcript.spans()
                words = "".join(span.text for span in spans[:1])
                text = "".join(span.text for span in spans)
                break
    return words, text, decisions


async def whole(record: dict[str, Any], base: Engine, nudge: Engine) -> tuple[Answer, float]:
    begun = time.perf_counter()
    flow = Nudging(config_of(record))
    async for event in drive(flow, *sides(record, base, nudge)):
        if isinstance(event, Answer):
            return event, time.perf_counter() - begun
    raise RuntimeError("a run without an answer")


def near(decisions: list[Decision], gamma: float) -> str:
    """The decision nearest to a tie: to gamma, or between the two best candidates."""

    def gap(step: Step) -> float:
        return min(abs(step.top1 - gamma), step.margin)

    steps = [d.step for d in decisions if d.step is not None]
    if not steps:
        return "no base decision"
    step = min(steps, key=gap)
    seen = ", ".join(f"{c.text.decode(errors='replace')!r} {c.prob:.4f}" for c in step.top[:2])
    return f"nearest tie {gap(step):.4f} (gamma {gamma}): {seen}"


async def compare(records: list[dict[str, Any]], base_spec: str, nudge_spec: str) -> dict[str, Any]:
    base, nudge = await open_engine_async(base_spec), await open_engine_async(nudge_spec)
    rounds: list[dict[str, Any]] = []
    answers: list[dict[str, Any]] = []
    for record in records:
        for place, (words, text) in enumerate(
            zip(record["nudging_words"], record["completions"], strict=True)
        ):
            our_words, our_text, decisions = await one_round(record, place, base, nudge)
            # The last round of an answer is trimmed with it, in theirs and in ours.
            last = place == len(record["completions"]) - 1
            same = our_words == words and our_text == text
            same = same or (last and our_text.strip() == text.strip())
            rounds.append({"id": record["id"], "round": place, "same": same})
            if not same:
                rounds[-1] |= {
                    "theirs": [words, text],
                    "ours": [our_words, our_text],
                    "cause": near(decisions, record["gamma"]),
                }
                print(json.dumps(rounds[-1], ensure_ascii=False), flush=True)
        answer, seconds = await whole(record, base, nudge)
        stop = STOPS.get(record["stop_reason"], record["stop_reason"])
        answers.append(
            {
                "id": record["id"],
                "same": answer.text == record["answer"],
                "stop": [stop, str(answer.stop_reason)],
                "calls": [
                    record["base_calls"] + record["nudge_calls"],
                    answer.usage.base.calls + answer.usage.nudge.calls,
                ],
                "base_tokens": [record["base_tokens"], answer.usage.base.drafted],
                "nudge_tokens": [record["nudge_tokens"], answer.usage.nudge.drafted],
                "seconds": [record["seconds"], round(seconds, 2)],
            }
        )
        if not answers[-1]["same"]:
            answers[-1] |= {"theirs": record["answer"], "ours": answer.text}
        print(
            f"{record['id']}: same={answers[-1]['same']} rounds "
            f"{sum(r['same'] for r in rounds)}/{len(rounds)} {seconds:.1f} s",
            flush=True,
        )
    await base.aclose()
    await nudge.aclose()
    return {
        "rounds": {"same": sum(r["same"] for r in rounds), "of": len(rounds)},
        "answers": {"same": sum(a["same"] for a in answers), "of": len(answers)},
        "differing_rounds": [r for r in rounds if not r["same"]],
        "each": answers,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("records", type=Path)
    parser.add_argument("--base", help="spec of a running base server")
    parser.add_argument("--nudge", help="spec of a running nudging server")
    parser.add_argument("--out", type=Path, default=Path("build/fidelity.json"))
    given = parser.parse_args()
    if not given.records.exists():
        raise SystemExit(f"there are no records at {given.records}; nothing was compared")
    records = [json.loads(line) for line in given.records.read_text().splitlines()]
    running = (
        contextlib.nullcontext((given.base, given.nudge))
        if given.base and given.nudge
        else vllm_pair(given.out.parent)
    )
    with running as (base, nudge):
        result = asyncio.run(compare(records, base, nudge))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    for name in ("rounds", "answers"):
        same, of = result[name]["same"], result[name]["of"]
        print(f"{name}: {same} of {of} identical ({same / of:.1%})")


if __name__ == "__main__":
    main()
