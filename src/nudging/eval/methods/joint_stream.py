"""One answer that several models write together: each token is drawn from what all of them say.

Every model reads its own prompt and then the same answer, each in its own tokens. The first is the
*writer*, in whose vocabulary the answer is written; one with another vocabulary reads the answer's
text afresh at each token, and its last token is healed (`healing.py`).

It goes on in the pass thread, where it waits for one model after the other: so many answers at once
wait for the same model, and share its passes.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Generator, Sequence
from dataclasses import replace

from ...engines.base import Capabilities, Want
from ...engines.local.grown_text import GrownText
from ...engines.local.in_process import InProcess
from ...engines.local.local_model import LocalModel, Need
from ...engines.local.local_stream import LocalStream
from ...engines.local.logits import Logits
from ...engines.local.pass_task import Claim
from ...engines.local.slots import Lease
from ...prompts.chat import Part, Prompt
from ...values.text import complete
from ...values.tokens import ModelUsage, Step
from .combination import Combination
from .healing import Healing

Reading = Generator[Need, None, Logits]
"""What a model says, by way of the passes that it needs."""


class TokenReader:
    """One model's part in an answer that is written in its own tokens."""

    def __init__(self, model: LocalModel, prompt: Prompt) -> None:
        self.model, self.prompt = model, prompt
        self.lease = Lease()
        self.ids: list[int] = []
        self._passes = 0
        self._seconds = 0.0

    def begin(self) -> None:
        self.ids = self.model.encoder.ids(self.prompt, "")

    def claim(self) -> Claim:
        if not self.ids:
            self.begin()
        return Claim(self.model, self.lease, self.ids)

    def add(self, token: int, text: bytes) -> None:
        """The writer's next token."""
        self.ids = [*self.ids, token]

    @property
    def is_full(self) -> bool:
        return len(self.ids) >= self.model.runtime.n_ctx

    def logits(self) -> Reading:
        """What it says of the next token."""
        return self._row(self.ids)

    def _row(self, ids: Sequence[int]) -> Reading:
        need, begun = Need(self.model, self.lease, ids, None), time.perf_counter()
        self._passes += 1
        while need.row is None:
            yield need
        self._seconds += time.perf_counter() - begun
        return need.row

    @property
    def usage(self) -> ModelUsage:
        return ModelUsage(0, self._passes, 1, self._passes, seconds=self._seconds)


class TextReader(TokenReader):
    """One model's part in an answer that another vocabulary writes: it reads its text."""

    def __init__(self, model: LocalModel, prompt: Prompt, healing: Healing) -> None:
        super().__init__(model, prompt)
        self._healing = healing
        self._grown = GrownText(model.encoder, prompt)
        self._text = b""
        self._last: tuple[Sequence[int], Logits] | None = None
        """The last row, and what it followed."""

    def add(self, token: int, text: bytes) -> None:
        self._text += text
        whole, rest, _ = complete(self._text)
        ids = self._read(whole.decode(errors="replace"))
        self.ids = [*ids, *self._healing.spelled(rest)]

    def _read(self, whole: str) -> list[int]:
        if whole:
            return self._grown.ids(whole)
        # Not as a prompt that nothing follows: what its template wrote last is not at the end.
        begun = replace(self.prompt, parts=(*self.prompt.parts, Part("", literal=True)))
        return self.model.encoder.ids(begun, "")

    def logits(self) -> Reading:
        last = self.ids[-1]
        if not self._healing.may_go_on(last, self._text):
            return (yield from self._known(self.ids))
        before = yield from self._known(self.ids[:-1])
        return self._healing(before, (yield from self._known(self.ids)), last)

    def _known(self, ids: Sequence[int]) -> Reading:
        if self._last is None or self._last[0] != ids:
            self._last = (ids, (yield from self._row(ids)))
        return self._last[1]


class JointEngine(InProcess):
    """All of the models as one engine, for one answer."""

    capabilities = Capabilities(kind="joint")

    def __init__(self, readers: Sequence[TokenReader], combination: Combination) -> None:
        self.spec = "+".join(reader.model.spec for reader in readers)
        self._readers, self._combination = readers, combination

    async def count(self, prompt: Prompt) -> None:
        """Each model has a prompt of its own, whose room is checked before."""

    def own_stream(self, prompt: Prompt, want: Want, *, must_write: bool) -> JointStream:
        return JointStream(self._readers, self._combination, want)


class JointStream(LocalStream):
    """The stream of an answer, from its beginning on."""

    def __init__(
        self, readers: Sequence[TokenReader], combination: Combination, want: Want
    ) -> None:
        super().__init__(readers[0].model, readers[0].prompt, want)
        self._readers, self._combination = readers, combination
        self._step: Generator[Need, None, Step | None] | None = None
        self._waits_for: Need | None = None

    @property
    def models(self) -> Collection[LocalModel]:
        return [reader.model for reader in self._readers]

    @property
    def leases(self) -> Collection[Lease]:
        return [reader.lease for reader in self._readers]

    def claims(self) -> Sequence[Claim]:
        for model in self.models:
            first, *others = (reader for reader in self._readers if reader.model is model)
            if not model.has_slots(1 + len(others)):  # they take turns on one
                for reader in others:
                    reader.lease = first.lease
        return [reader.claim() for reader in self._readers]

    def begin(self, start: bytes, n: int) -> None:
        super().begin(start, n)
        for reader in self._readers:
            reader.begin()

    def draw(self, need: Need | None = None) -> Step | Need | None:
        if self.has_ended:
            return None
        if self._waits_for is not None and self._waits_for.row is None:
            return self._waits_for
        self._step = self._step or self._next()
        try:
            self._waits_for = next(self._step)
        except StopIteration as made:
            self._step = self._waits_for = None
            step: Step | None = made.value
            if step is not None:
                self._take(step)
                for reader in self._readers:
                    if step.id is not None and not step.is_end:
                        reader.add(step.id, step.text)
            return step
        return self._waits_for

    def _next(self) -> Generator[Need, None, Step | None]:
        if any(reader.is_full for reader in self._readers):
            return None
        rows = []
        for reader in self._readers:
            rows.append((yield from reader.logits()))
        return self.model.reader.one(self._combination(rows), self._want, len(self._data))
