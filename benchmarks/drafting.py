"""How well `auto` chooses the length of drafts: beside fixed lengths, on machines that are made up.

    python -m benchmarks.drafting [--at-once 1,16] [--tokens 40]

The built-in pair answers in `llama`, and every row of logits is remembered, so that each answer is
the same in all ways. What a pass costs is not measured but said, so the figures are the same
wherever they are made, but for the moments at which answers begin.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nudging import Answer, NudgedModel
from nudging.bench.questions import QUESTIONS
from nudging.engines.base import Want
from nudging.engines.local.local_engine import LocalEngine
from nudging.engines.local.local_model import LocalModel
from nudging.engines.local.logits import ThinRow
from nudging.engines.local.runtime import Rows, Runtime, SlotInput
from nudging.engines.pass_costs import PassCosts
from nudging.values.text import common_prefix

from .sections import table

SLOTS = 64
PACE = 0.003
"""Seconds that a pass takes here, so that answers that begin join as they do elsewhere."""
Cost = Callable[[int, int], float]
"""Of a pass, by its rows and ids."""


def flat(cost: float) -> Cost:
    return lambda rows, ids: cost * (1 + 0.002 * ids)


def processor(least: float, row: float, each: float) -> Cost:
    return lambda rows, ids: max(least, 0.55 * least + row * rows + each * ids)


def dear_rows(rows: int, ids: int) -> float:
    return 18 + (14 + 4 * rows) * (rows > 1) + 0.8 * ids


MACHINES: Mapping[str, tuple[Cost, Cost]] = {
    "more rows for nothing, equal models": (flat(1.0), flat(1.0)),
    "the same, nudging model 0.3": (flat(1.0), flat(0.3)),
    "the same, nudging model 0.1": (flat(1.0), flat(0.1)),
    "built-in pair in hf": (processor(78, 4.5, 2.2), processor(50, 1.5, 2.2)),
    "the same, base 4 times deeper": (processor(320, 5, 16), processor(50, 1.5, 2.2)),
    "built-in pair in llama": (dear_rows, lambda rows, ids: 8 + 1.2 * rows + 0.8 * ids),
}
WAYS: Sequence[Any] = ("off", 1, 2, 3, 4, 6, 8, "auto")


class Said(PassCosts):
    """Costs that are said, not measured."""

    def __init__(self, cost: Cost) -> None:
        super().__init__()
        self._cost, self.total = cost, 0.0

    def observe(
        self, answers: int, rows: int, ids: int, seconds: float, *, alone: bool = True
    ) -> None:
        time.sleep(PACE)
        said = self._cost(rows, ids)
        self.total += said
        super().observe(answers, rows, ids, said, alone=alone)


class Remembered(Runtime):
    """Another runtime, each of whose rows is computed once. A row is the ids before it."""

    def __init__(self, inner: Runtime) -> None:
        self._inner, self.tokenizer, self.n_ctx = inner, inner.tokenizer, inner.n_ctx
        self.kind, self.most_slots = inner.kind, SLOTS
        self._held: list[list[int]] = [[]]
        self._known: dict[tuple[tuple[int, ...], int], ThinRow] = {}
        inner.grow(SLOTS)
        self._computed: list[list[int]] = [[] for _ in range(SLOTS)]
        self._turn = 0

    def forward(self, ids: Sequence[int], rows: int, slot: int = 0) -> Rows:
        held = self._held[slot]
        held.extend(ids)
        return [Prefix(held[:end]) for end in range(len(held) - rows + 1, len(held) + 1)]

    def cut(self, length: int, slot: int = 0) -> int:
        del self._held[slot][length:]
        return len(self._held[slot])

    def copy(self, source: int, target: int, length: int) -> int:
        self._held[target] = self._held[source][:length]
        return length

    def grow(self, slots: int) -> bool:
        self._held += [[] for _ in range(slots - len(self._held))]
        self.slots = slots
        return True

    def thin(
        self, rows: Sequence[Prefix], want: Want, numbers: Sequence[float] | None = None
    ) -> list[ThinRow]:
        return [self._thin(row, want) for row in rows]

    def _thin(self, row: Prefix, want: Want) -> ThinRow:
        key = (row.ids, want.top_k)
        if key not in self._known:
            self._known[key] = self._compute([*row.ids], want)
        return self._known[key]

    def _compute(self, ids: list[int], want: Want) -> ThinRow:
        slot = max(range(SLOTS), key=lambda each: common_prefix(self._computed[each], ids))
        shared = common_prefix(self._computed[slot], ids)
        if 2 * shared < len(self._computed[slot]):
            self._turn += 1
            slot, shared = self._turn % SLOTS, 0
        keep = self._inner.cut(min(shared, len(ids) - 1), slot)
        rows = self._inner.forward(ids[keep:], 1, slot)
        self._computed[slot] = ids
        return self._inner.thin(rows, want)[0]

    def forward_many(self, works: Sequence[SlotInput]) -> list[Rows]:
        return [self.forward(work.ids, work.rows, work.slot) for work in works]

    def close(self) -> None:
        self._inner.close()


class Prefix:
    def __init__(self, ids: Sequence[int]) -> None:
        self.ids = tuple(ids)

    def __len__(self) -> int:
        return 2**31  # as long as any vocabulary


def remember(engine: LocalEngine) -> LocalEngine:
    return LocalEngine(engine.spec, Remembered(engine.model.runtime))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--at-once", default="1,16")
    parser.add_argument("--tokens", type=int, default=40)
    given = parser.parse_args()
    with NudgedModel("demo:base", "demo:nudge") as real:
        assert isinstance(real.base, LocalEngine)
        assert isinstance(real.nudge, LocalEngine)
        pair = (remember(real.base), remember(real.nudge))
        model = NudgedModel(*pair, max_tokens=given.tokens)
        rows = []
        for at_once in map(int, given.at_once.split(",")):
            for machine, costs in MACHINES.items():
                found = {way: measured(model, pair, costs, at_once, way) for way in WAYS}
                best = min(cost for way, cost in found.items() if way != "auto")
                figures = [f"{cost / best:.2f}" for cost in found.values()]
                rows.append([machine, at_once, *figures, f"{best / found['auto']:.2f}"])
                print(*rows[-1], flush=True)
    print(table(["machine", "at once", *map(str, WAYS), "auto over best"], rows))


def measured(
    model: NudgedModel,
    pair: tuple[LocalEngine, LocalEngine],
    costs: tuple[Cost, Cost],
    at_once: int,
    way: Any,
) -> float:
    """What a token costs, of twice as many questions as are asked at once, 8 at least."""
    said = []
    for engine, cost in zip(pair, costs, strict=True):
        asyncio.run(engine.forget())
        said.append(set_costs(engine.model, Said(cost)))
    questions = (list(QUESTIONS) * 9)[: max(8, 2 * at_once)]
    answers = list(model.map(questions, concurrency=at_once, speculate=way))
    tokens = sum(each.usage.tokens for each in answers if isinstance(each, Answer))
    return sum(each.total for each in said) / tokens


def set_costs(model: LocalModel, costs: Said) -> Said:
    model.costs = costs
    return costs


if __name__ == "__main__":
    main()
