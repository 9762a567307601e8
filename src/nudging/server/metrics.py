"""Metrics of a running server, in Prometheus's text format."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence

Labels = tuple[str, ...]


class Counter:
    """Sums that only grow, one for each set of labels."""

    kind = "counter"

    def __init__(self, name: str, text: str, labels: Sequence[str] = ()) -> None:
        self.name, self.text = name, text
        self._labels = labels
        self._sums: dict[Labels, float] = {}

    def add(self, amount: float, *labels: str) -> None:
        self._sums[labels] = self._sums.get(labels, 0.0) + amount

    def samples(self) -> Iterator[str]:
        for labels, amount in sorted(self._sums.items()):
            yield _sample(self.name, zip(self._labels, labels, strict=True), amount)


class Gauge:
    """What is so at the moment that it is asked for."""

    kind = "gauge"

    def __init__(self, name: str, text: str, now: Callable[[], float]) -> None:
        self.name, self.text = name, text
        self._now = now

    def samples(self) -> Iterator[str]:
        yield _sample(self.name, (), self._now())


class Histogram:
    """How often a figure was at most each of some bounds."""

    kind = "histogram"

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self.name, self.text = name, text
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, figure: float) -> None:
        self._counts[bisect_left(self._bounds, figure)] += 1
        self._sum += figure

    def samples(self) -> Iterator[str]:
        count = 0
        for bound, more in zip((*self._bounds, "+Inf"), self._counts, strict=True):
            count += more
            name = bound if isinstance(bound, str) else f"{bound:g}"
            yield _sample(f"{self.name}_bucket", [("le", name)], count)
        yield _sample(f"{self.name}_sum", (), self._sum)
        yield _sample(f"{self.name}_count", (), count)


Family = Counter | Gauge | Histogram
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
SHARES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1)


class Metrics:
    """What a server of ours counts."""

    def __init__(self) -> None:
        self.requests = Counter(
            "nudging_requests_total", "Requests, by path and status.", ("path", "status")
        )
        self.failures = Counter(
            "nudging_failures_total",
            "Requests that failed, streams that broke off among them, by path and kind.",
            ("path", "kind"),
        )
        self.tokens = Counter(
            "nudging_tokens_total", "Tokens of answers, by their author.", ("model", "source")
        )
        self.drafts = Counter(
            "nudging_ahead_tokens_total",
            "Tokens computed ahead of need, by whether they were then needed.",
            ("outcome",),
        )
        self.first = Histogram(
            "nudging_first_text_seconds", "From a request to its first text.", SECONDS
        )
        self.whole = Histogram("nudging_answer_seconds", "Time of whole answers.", SECONDS)
        self.nudged = Histogram(
            "nudging_nudge_rate", "Share of nudged words in answers of the nudged model.", SHARES
        )
        self._families: list[Family] = [*vars(self).values()]

    def watch(self, name: str, text: str, now: Callable[[], float]) -> None:
        """Show a figure as it is when it is asked for."""
        self._families.append(Gauge(name, text, now))

    def text(self) -> str:
        lines = []
        for family in self._families:
            lines += [f"# HELP {family.name} {family.text}", f"# TYPE {family.name} {family.kind}"]
            lines += family.samples()
        return "\n".join(lines) + "\n"


def _sample(name: str, labels: Iterable[tuple[str, str]], amount: float) -> str:
    shown = ",".join(f'{label}="{_escaped(value)}"' for label, value in labels)
    return f"{name}{{{shown}}} {amount:.10g}" if shown else f"{name} {amount:.10g}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
