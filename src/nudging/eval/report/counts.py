"""What is counted over the answers of one way to answer, beyond the figures of a run's summary."""

from __future__ import annotations

from collections import Counter

from ..sample_lines import Line

BINS = 20


class Counts:
    """Where nudges fall, what they say, and how sure the base model was."""

    def __init__(self) -> None:
        self.words = [0] * BINS
        """Words of the answers, by their place: the first twentieth, the second, ..."""
        self.nudged = [0] * BINS
        """Those of them that the nudging model wrote."""
        self.reasons: Counter[str] = Counter()
        """Why it got the word, by the number of its turns."""
        self.opening: Counter[str] = Counter()
        """Its words where it opened an answer."""
        self.later: Counter[str] = Counter()
        """Its words elsewhere."""
        self.wrote = [0] * BINS
        """Tokens that the base model wrote, by its top-1 there."""
        self.doubted = [0] * BINS
        """Places where it was in doubt and did not write, by its top-1 there."""

    @property
    def is_nudged(self) -> bool:
        """Both models wrote."""
        return any(self.nudged) and any(self.wrote)

    def add(self, line: Line) -> None:
        if line["answer"] is None:
            return
        spans = line["answer"]["spans"]
        words = [(word, span) for span in spans for word in span["text"].split()]
        for place, (word, span) in enumerate(words):
            part = place * BINS // len(words)
            self.words[part] += 1
            if span["source"] == "nudge":
                self.nudged[part] += 1
                reason = span.get("handover", {}).get("reason")
                (self.opening if reason == "opening" else self.later)[word] += 1
        for span in spans:
            if span["source"] == "base":
                for token in span["tokens"]:
                    self.wrote[_bin(token["top1"])] += 1
            elif handover := span.get("handover"):
                self.reasons[handover["reason"]] += 1
                if handover["reason"] == "doubt" and handover.get("top"):
                    self.doubted[_bin(handover["top"][0]["prob"])] += 1


def _bin(probability: float) -> int:
    return min(BINS - 1, max(0, int(probability * BINS)))
