"""What one model reads and writes of one answer, on a slot of its own: a stream at a time.

The ids of a stream are those of the whole text, tokenised afresh where the stream begins, then the
model's own. What was drawn can be asked for again. Used from the pass thread only.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import replace

from ...errors import InputError
from ...prompts.chat import Prompt
from ...values.text import complete
from ...values.tokens import Candidate, ModelUsage, Step
from ..base import Want, no_answer
from .grown_text import GrownText
from .local_model import MOST_AHEAD, LocalModel, Need
from .pass_task import Claim
from .slots import Lease


class LocalStream:
    """The stream of one model in one answer. Beginning another ends it."""

    def __init__(
        self, model: LocalModel, prompt: Prompt, want: Want, *, must_write: bool = False
    ) -> None:
        """`must_write`: a control token in place of the first word is an error."""
        self.model, self.lease = model, Lease()
        self._text = GrownText(model.encoder, prompt)
        self._prompt, self._want, self._must_write = prompt, want, must_write
        self.is_open = False
        self.seconds = 0.0
        """Waited for the model."""
        self.steps: list[Step] = []
        """Drawn so far."""
        self._ids: list[int] = []
        self._start = 0
        """Length of the answer by which the rule knows where the stream begins."""
        self._ends: list[int] = []
        """Length of the answer before each step, and after the last."""
        self._data = b""
        self._limit = 0
        self._spaced = False
        self._calls = self._drafted = self._forwards = self._ahead = self._met = 0

    @property
    def models(self) -> Collection[LocalModel]:
        """Those that it needs."""
        return (self.model,)

    @property
    def leases(self) -> Collection[Lease]:
        """Of the slots that it needs."""
        return (self.lease,)

    def claims(self) -> Sequence[Claim]:
        """These slots."""
        self._ids = self._ids or self._text.ids("")
        return [Claim(self.model, self.lease, self._ids)]

    @property
    def written(self) -> bytes:
        """The answer up to the last step drawn."""
        return self._data

    def begin(self, start: bytes, n: int) -> None:
        """A stream of at most `n` steps after `start`.

        Raises:
            ContextOverflow: the prompt does not fit. InputError: there is nothing to continue.
        """
        model = self.model
        model.check_open()
        ids = self._text.ids(start.decode())
        if not ids:
            raise unreadable()
        if len(ids) >= model.runtime.n_ctx and not start:
            raise model.overflow(len(ids))
        self._ids, self._limit = ids, min(n, model.runtime.n_ctx - len(ids))
        self._spaced = not start and model.encoder.opens_with_space(self._prompt)
        self._start, self._data = len(start), start
        self.steps, self._ends = [], [len(start)]
        self._calls += 1
        self.is_open = True

    def index(self, start: bytes, text: bytes) -> int | None:
        """How many steps of the stream that began at `start` lie before `text`; None if it does
        not go through there."""
        if not self.is_open or self._start != len(start) or not self._data.startswith(text):
            return None
        place = bisect_left(self._ends, len(text))
        found = place < len(self._ends) and self._ends[place] == len(text)
        return place if found else None

    @property
    def has_ended(self) -> bool:
        return len(self.steps) >= self._limit or (bool(self.steps) and self.steps[-1].is_end)

    def draw(self, need: Need | None = None) -> Step | Need | None:
        """One more step, or the pass that it needs; None if the stream has ended. `need`: what
        this said before, if it is asked for again."""
        if self.has_ended:
            return None
        slot = self.lease.slot
        step = slot.recall(self._ids, len(self._data), self._want) if slot else None
        if step is None:
            if need is None or need.ids is not self._ids:
                need = Need(self.model, self.lease, self._ids, self._want, len(self._data))
            return need
        if self._spaced:
            step, self._spaced = _without_space(step), False
        if step.control and self._must_write and not self._data.strip():
            raise no_answer(self.model.spec, step.control)
        self._take(step)
        return step

    def _take(self, step: Step) -> None:
        self.steps.append(step)
        self._data += step.text
        self._ends.append(len(self._data))
        if step.id is not None and not step.is_end:
            self._ids = [*self._ids, step.id]
        self._drafted += 1
        self._forwards += step.pass_rows > 0
        self._ahead += max(0, step.pass_rows - 1)
        self._met += step.pass_rows == 0

    def ahead(self, words: bytes) -> Sequence[int]:
        """What is guessed to follow, in the model's tokens: as many as a pass looks through."""
        if not words or complete(self._data)[1]:
            return ()
        room = min(MOST_AHEAD, self.model.runtime.n_ctx - len(self._ids))
        text = complete(words)[0].decode()
        tokenize = self.model.runtime.tokenizer.tokenize
        return tokenize(text, controls=False, begin=False)[:room] if text else ()

    def goes_through(self, text: bytes) -> bool:
        """Whether `text` lies on the way of the stream, at its latest end included."""
        return self.is_open and self._ends[0] <= len(text) and self._data.startswith(text)

    def rest(self, text: bytes) -> bytes:
        """What was drawn beyond a text on its way."""
        return self._data[len(text) :]

    def beyond(self, text: bytes) -> list[tuple[int, Step]]:
        """The steps drawn that end after `text`, each with where it ends, counted from there."""
        return [
            (end - len(text), step)
            for end, step in zip(self._ends[1:], self.steps, strict=True)
            if end > len(text) and not step.is_end
        ]

    def close(self) -> None:
        """Give the slot back; what it holds stays until somebody else needs it."""
        self.is_open = False
        for lease in self.leases:
            if lease.slot is not None:
                lease.slot.free()

    def usage(self, emitted: int) -> ModelUsage:
        """What the model did, `emitted` of its tokens being in the answer."""
        return ModelUsage(
            emitted,
            self._drafted,
            self._calls,
            self._forwards,
            self._ahead,
            min(self._met, self._ahead),
            self.seconds,
        )


def _without_space(step: Step) -> Step:
    """A step whose tokens begin with a space that is the vocabulary's. A space alone is text."""

    def bare(text: bytes) -> bytes:
        return text[1:] if text.startswith(b" ") and len(text) > 1 else text

    top = tuple(Candidate(bare(text), prob) for text, prob in step.top)
    return replace(step, text=bare(step.text), top=top)


def unreadable() -> InputError:
    """The error of a text without tokens: there is nothing that a model could continue."""
    hint = "the base_form, or the chat template, must write at least one"
    return InputError("the prompt has no tokens", hint=hint)
