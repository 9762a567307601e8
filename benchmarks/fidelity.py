"""Preset `official` against recorded answers of the authors' code, on the same servers.

    python -m benchmarks.fidelity RECORDS.jsonl [--base SPEC --nudge SPEC] [--doc FILE.md]

Two figures: rounds that come out identical when each starts from the record's own text so far,
and whole answers that are identical. Beside them the same of the authors' way of calling, on the
servers of this run (`benchmarks.chunked`): what differs there too is not ours. Where a round
differs, the choice nearest to a tie up to the first difference is given: rounding can turn that
one. Without specs, both servers are started here. A line a record goes to `--out` as it comes, and
a run that was interrupted goes on from there; remove the file to begin anew.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import math
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

from nudging import Answer, Config, Decision, Engine, NudgedModel, open_engine_async
from nudging.bench.recording import TokenChoice, recorded
from nudging.drive.driver import drive
from nudging.drive.side import Side
from nudging.engines.base import Want
from nudging.engines.spec import Spec, parse_spec
from nudging.prompts.chat import Part, Prompt
from nudging.rule import rule_of
from nudging.values.text import common_prefix

from .chunked import Chunked
from .sections import add_line, read_lines, table, write_section
from .vllm_pair import vllm_pair

STOPS = {"nudging_model_stop": "nudge", "repeated_nudging_words": "repeated", "round": "rounds"}

BLOCKS = ("--block-size", "128")
"""Of the prefix cache: what vLLM takes on a CPU unless told otherwise. What is computed in other
portions rounds otherwise."""
NEAR = 0.26
"""Two steps of a bfloat16 near 20, where the logits of these models lie."""


class Pair(NamedTuple):
    base: Engine
    nudge: Engine

    def sides(self, record: dict[str, Any]) -> tuple[Side, Side]:
        return (
            Side(self.base, Prompt((Part(record["prompt_base"]),)), Want("base", top_k=4)),
            Side(self.nudge, Prompt((Part(record["prompt_nudge"]),)), Want("nudge", top_k=4)),
        )


def config_of(record: dict[str, Any]) -> Config:
    return Config.of("official", gamma=record["gamma"], max_tokens=record["max_token_total"])


async def one_round(record: dict[str, Any], place: int, pair: Pair) -> tuple[str, str]:
    """The nudging words and the whole text of one round, from the record's own text before it."""
    config = dataclasses.replace(config_of(record), max_rounds=1)
    flow = rule_of(config, text="".join(record["completions"][:place]))
    handovers = 0
    async with contextlib.aclosing(drive(flow, *pair.sides(record))) as events:
        async for event in events:
            if isinstance(event, Decision):
                handovers += event.kind == "handover"
            if handovers == 2 or isinstance(event, Answer):
                break
    texts = [span.text for span in flow.transcript.spans()]
    return "".join(texts[:1]), "".join(texts)


def nearest_tie(choices: list[TokenChoice], gamma: float, until: int) -> dict[str, Any]:
    """The choice that the least change of a logit would have turned, up to where the texts part.

    A later one where none is near: the authors' checks for repetition look at a whole call.
    """

    def gap(choice: TokenChoice) -> float:
        step = choice.step
        second = step.top[1].prob if len(step.top) > 1 else 0.0
        near = math.log(step.top1 / second) if second else math.inf
        return min(near, abs(math.log(step.top1 / gamma))) if choice.source == "base" else near

    before = min((c for c in choices if c.at <= until), key=gap)
    found = before if gap(before) <= NEAR else min(choices, key=gap)
    seen = [[c.text.decode(errors="replace"), round(c.prob, 4)] for c in found.step.top[:2]]
    return {"logits": round(gap(found), 3), "model": found.source, "top": seen}


class Servers(NamedTuple):
    base: Spec
    nudge: Spec

    def chunked(self, record: dict[str, Any]) -> Chunked:
        return Chunked(self.base, self.nudge, record["gamma"], record["max_token_total"])


async def chunked_round(record: dict[str, Any], before: str, servers: Servers) -> tuple[str, str]:
    """What the authors' calls give in one round on these servers, as `one_round` gives ours."""
    async with servers.chunked(record) as chunked:
        rounds = chunked.rounds(record["prompt_base"], record["prompt_nudge"], before)
        async with contextlib.aclosing(rounds):
            async for found in rounds:
                return found.words, found.text
    return "", ""


async def rounds_of(record: dict[str, Any], pair: Pair, servers: Servers) -> list[dict[str, Any]]:
    found = []
    before = ""
    for place, (words, text) in enumerate(
        zip(record["nudging_words"], record["completions"], strict=True)
    ):
        choices: list[TokenChoice] = []
        watched = Pair(recorded(pair.base, choices), recorded(pair.nudge, choices))
        our_words, our_text = await one_round(record, place, watched)
        # The last round of an answer is trimmed with it, in theirs and in ours.
        last = place == len(record["completions"]) - 1
        same = our_words == words and our_text == text
        same = same or (last and our_text.strip() == text.strip())
        result: dict[str, Any] = {"round": place, "same": same}
        if not same:
            common = common_prefix(our_text, text)
            until = len((before + text[:common]).encode())
            result |= {
                "theirs": [words, text],
                "ours": [our_words, our_text],
                "here": list(await chunked_round(record, before, servers)),
                "tie": nearest_tie(choices, record["gamma"], until),
            }
        found.append(result)
        before += text
    return found


async def whole(record: dict[str, Any], pair: Pair, servers: Servers) -> dict[str, Any]:
    async with servers.chunked(record) as chunked:
        begun = time.perf_counter()
        here = await chunked.answer(record["prompt_base"], record["prompt_nudge"])
        here_seconds = time.perf_counter() - begun
        tally = chunked.tally
    model = NudgedModel(
        pair.base,
        pair.nudge,
        preset="official",
        gamma=record["gamma"],
        max_tokens=record["max_token_total"],
        prefix=record["question_prefix"],
    )
    begun = time.perf_counter()
    answer = await model.answer_async(record["question"], system=record["system"])
    usage = answer.usage
    return {
        "same": answer.text == record["answer"],
        "here_same": here == record["answer"],
        "as_here": answer.text == here,
        "stop": [STOPS.get(record["stop_reason"], record["stop_reason"]), str(answer.stop_reason)],
        "calls": [
            record["base_calls"] + record["nudge_calls"],
            tally["base"].calls + tally["nudge"].calls,
            usage.base.calls + usage.nudge.calls,
        ],
        "base_tokens": [record["base_tokens"], tally["base"].tokens, usage.base.drafted],
        "nudge_tokens": [record["nudge_tokens"], tally["nudge"].tokens, usage.nudge.drafted],
        "tokens": usage.tokens,
        "seconds": [round(here_seconds, 2), round(time.perf_counter() - begun, 2)],
        "text": answer.text,
        "here": here,
    }


async def compare(records: list[dict[str, Any]], base: str, nudge: str, out: Path) -> None:
    pair = Pair(await open_engine_async(base), await open_engine_async(nudge))
    servers = Servers(parse_spec(base), parse_spec(nudge))
    for record in records:
        rounds = await rounds_of(record, pair, servers)
        answer = await whole(record, pair, servers)
        result = {"id": record["id"], "rounds": rounds, "whole": answer}
        add_line(out, result)
        same = sum(r["same"] for r in rounds)
        print(f"{record['id']}: rounds {same}/{len(rounds)}, whole {result['whole']['same']}")
    await pair.base.aclose()
    await pair.nudge.aclose()


def figures(results: list[dict[str, Any]]) -> str:
    rounds = [r for result in results for r in result["rounds"]]
    same = sum(r["same"] for r in rounds)
    wholes = [result["whole"] for result in results]
    parted = [r for r in rounds if not r["same"]]
    as_ours = sum(r["here"] == r["ours"] for r in parted)
    as_theirs = sum(r["here"] == r["theirs"] for r in parted)
    rows: list[list[object]] = []
    for result in results:
        own, answer = result["rounds"], result["whole"]
        kept = ("here_same", "same", "as_here")
        triples = [answer[k] for k in ("calls", "base_tokens", "nudge_tokens")]
        rows.append(
            [
                result["id"],
                f"{sum(r['same'] for r in own)}/{len(own)}",
                " / ".join("yes" if answer[k] else "no" for k in kept),
                " / ".join(answer["stop"]),
                *(" / ".join(map(str, triple)) for triple in triples),
                " / ".join(f"{seconds:.1f}" for seconds in answer["seconds"]),
            ]
        )
    head = ["record", "rounds identical", "whole answer: B = A / C = A / C = B", "end (A / C)"]
    head += ["calls (A / B / C)", "base tokens", "nudge tokens", "seconds (B / C)"]
    faster = statistics.median(w["seconds"][0] / w["seconds"][1] for w in wholes)
    base_tokens = sum(w["base_tokens"][2] for w in wholes) / sum(w["tokens"] for w in wholes)

    def count(key: str) -> str:
        return f"{sum(w[key] for w in wholes)} of {len(wholes)}"

    return (
        "A: the records. B: the authors' way of calling, on the servers of this run. C: ours, on "
        "the same servers.\n\n"
        f"* Rounds of C identical to A: **{same} of {len(rounds)} ({same / len(rounds):.1%})**.\n"
        f"* Of the {len(parted)} others, B from the same text gives what C gives in {as_ours}, "
        f"what A has in {as_theirs}, and something else in {len(parted) - as_ours - as_theirs}.\n"
        f"* Rounds in which C differs from both A and B: "
        f"**{len(parted) - as_ours} of {len(rounds)}**.\n"
        f"* Whole answers identical: C to A **{count('same')}**, B to A {count('here_same')}, "
        f"C to B {count('as_here')}.\n"
        f"* C is {faster:.1f} times faster than B (median), and computes {base_tokens:.2f} base "
        f"tokens for a token of the answer.\n\n"
        f"{table(head, rows)}"
    )


def differences(results: list[dict[str, Any]]) -> str:
    rows: list[list[object]] = []
    for result in results:
        for r in result["rounds"]:
            if not r["same"]:
                top = ", ".join(f"`{text!r}` {prob}" for text, prob in r["tie"]["top"])
                texts = [f"`{r[who][1]!r}`".replace("|", "\\|") for who in ("theirs", "ours")]
                here = "as C" if r["here"] == r["ours"] else f"`{r['here'][1]!r}`"
                here = "as A" if r["here"] == r["theirs"] else here.replace("|", "\\|")
                tie = f"{r['tie']['logits']} ({r['tie']['model']}: {top})"
                rows.append([result["id"], r["round"], *texts, here, tie.replace("|", "\\|")])
    return table(["record", "round", "A", "C", "B", "nearest tie of C, in logits"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("records", type=Path)
    parser.add_argument("--base", help="spec of a running base server")
    parser.add_argument("--nudge", help="spec of a running nudging server")
    parser.add_argument("--out", type=Path, default=Path("build/fidelity.jsonl"))
    parser.add_argument("--so-far", action="store_true", help="report what is there, run nothing")
    parser.add_argument("--doc", type=Path, help="a document with sections for the results")
    given = parser.parse_args()
    if not given.records.exists():
        raise SystemExit(f"there are no records at {given.records}; nothing was compared")
    records = [json.loads(line) for line in given.records.read_text().splitlines()]
    done = {result["id"] for result in read_lines(given.out)}
    todo = [record for record in records if record["id"] not in done]
    if todo and not given.so_far:
        running = (
            contextlib.nullcontext((given.base, given.nudge))
            if given.base and given.nudge
            else vllm_pair(given.out.parent, *BLOCKS)
        )
        with running as (base, nudge):
            asyncio.run(compare(todo, base, nudge, given.out))
    results = read_lines(given.out)
    print(figures(results))
    if given.doc:
        write_section(given.doc, "fidelity", figures(results))
        write_section(given.doc, "differences", differences(results))


if __name__ == "__main__":
    main()
