"""Each upstream made to fail in each way, in turn, while questions keep coming.

Every request must end in the known answer or in a proper error, within its time; and when the
upstream is back, all that is asked from some moment on must be answered, without a restart.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from .asking import QUESTIONS, STORY, Told, ask
from .client import Client, fetch, request
from .pair import FAULTS, Upstream, pair
from .served import Served, serving

SHORT = [question for question in QUESTIONS if question != STORY]
FIRST, WHOLE, WIRE = 3.0, 6.0, 2.0
"""Limits of the server in seconds: the first text, the end, the silence of an upstream."""
MARGIN = 1.0
"""Seconds by which an end may be late: two cores have much to do here."""
BACK = 5.0
"""Seconds in which the service must be well again."""
PROPER = ("502 ", "503 ", "504 ", "200 server_error", "200 timeout")
"""How errors begin that mean the upstream; 200 is a stream that had begun."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A request, and when it was made and over."""

    begun: float
    over: float
    told: Told


@dataclass
class Fault:
    """What one fault of one upstream led to."""

    source: str
    kind: str
    answers: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0
    """Seconds that a request took."""
    back: float = 0.0
    """Seconds from the upstream's return until all that is asked is answered."""
    problems: list[str] = field(default_factory=list)


def faults(
    kinds: Sequence[str] = FAULTS,
    *,
    sources: Sequence[str] = ("base", "nudge"),
    clients: int = 16,
    lasting: float = 4.0,
    after: float = BACK + 1,
) -> list[Fault]:
    """`lasting`: seconds of each fault; `after`: that are looked at when it is over."""
    limits = (f"--first-limit={FIRST}", f"--time-limit={WHOLE}")
    found = []
    with pair(delay=0.001) as models, serving(models.specs(timeout=WIRE), *limits) as served:
        for source in sources:
            upstream = models.base if source == "base" else models.nudge
            for kind in kinds:
                fault = _Trial(served, upstream, kind, clients, lasting, after)
                found.append(asyncio.run(fault.run()))
        found[-1].problems += served.strange_lines()
    return found


class _Trial:
    def __init__(
        self,
        served: Served,
        upstream: Upstream,
        kind: str,
        clients: int,
        lasting: float,
        after: float,
    ) -> None:
        self._served, self._upstream = served, upstream
        self._found = Fault(upstream.source, kind)
        self._clients, self._lasting, self._after = clients, lasting, after
        self._ended: list[Ended] = []
        self._going_on = True

    async def run(self) -> Fault:
        found = self._found
        asking = [asyncio.create_task(self._ask(number)) for number in range(self._clients)]
        await asyncio.sleep(0.5)
        await self._upstream.fail(found.kind)
        failed = time.monotonic()
        await self._is_ready(found.kind == "slow")
        await asyncio.sleep(max(0.0, failed + self._lasting - time.monotonic()))
        await self._upstream.recover(found.kind)
        back = time.monotonic()
        await self._is_ready(True)
        await asyncio.sleep(max(0.0, back + self._after - time.monotonic()))
        self._going_on = False
        await asyncio.gather(*asking)
        self._judge(failed, back)
        for name in ("nudging_answers_running", "nudging_answers_waiting"):
            if left := await self._served.figure(name):
                found.problems.append(f"{left:g} at {name}")
        return found

    async def _ask(self, number: int) -> None:
        """Questions one after another, streamed by every second client."""
        client: Client | None = None
        while self._going_on:
            begun = time.monotonic()
            client = client or await Client.open(self._served.address)
            question = SHORT[(number + len(self._ended)) % len(SHORT)]
            try:
                async with asyncio.timeout(WHOLE + 10):
                    told = await ask(client, question, stream=number % 2 == 0)
            except TimeoutError:
                told = Told("wrong", "no end")
            self._ended.append(Ended(begun, time.monotonic(), told))
            if told.kind != "answer":
                client.hang_up()
                client = None
                await asyncio.sleep(0.05)  # as a client that tries again would
        if client is not None:
            client.hang_up()

    async def _is_ready(self, expected: bool) -> None:
        """`/ready` says how it is."""
        head, body = await fetch(self._served.address, request("/ready"))
        if (head.status == 200) != expected:
            self._found.problems.append(f"/ready says {head.status}: {body.decode()[:200]}")

    def _judge(self, failed: float, back: float) -> None:
        found = self._found
        for ended in self._ended:
            match ended.told.kind:
                case "answer":
                    found.answers += 1
                case "error":
                    found.errors[ended.told.what] += 1
                    if ended.over < failed or not ended.told.what.startswith(PROPER):
                        found.problems.append(f"an error out of place: {ended.told.what}")
                case "wrong":
                    found.problems.append(ended.told.what)
        found.longest = max(ended.over - ended.begun for ended in self._ended)
        if found.longest > WHOLE + MARGIN:
            found.problems.append(f"a request took {found.longest:.1f} s")
        later = [ended for ended in self._ended if ended.begun >= back]
        well = [ended.over for ended in later if ended.told.kind == "answer"]
        ill = [ended.over for ended in later if ended.told.kind != "answer"]
        found.back = max(min(well, default=back + WHOLE), *ill, back) - back
        if found.back > BACK:
            found.problems.append(f"it took {found.back:.1f} s to recover")
