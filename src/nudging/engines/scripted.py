"""Models with known distributions, for tests, documents and load tests. Needs nothing.

`ScriptedEngine` takes any function from (prompt, answer so far) to a distribution. The shipped
pair, `scripted:base` and `scripted:nudge`, gives known answers with known nudges and can stand in
for models anywhere: `?delay=0.02` makes each token take that long.
"""

from __future__ import annotations

import asyncio
import functools
import math
import re
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

from ..errors import ModelError, SpecError
from ..prompts.chat import Message, Part, Prompt
from ..values.sampling import draw, uniform
from ..values.tokens import Candidate, Step
from ..values.variables import NONE, Variables
from .base import Capabilities, Engine, Want
from .kinds import EngineKind, Spec

_TURN = 0.001
"""Seconds."""
Distribution = Sequence[Candidate]
"""The next token of a model: texts with probabilities, an empty text being the end."""


class ScriptedEngine(Engine):
    """A model whose next token is a function of the text."""

    def __init__(
        self,
        following: Callable[[str, bytes], Distribution],
        *,
        spec: str = "scripted",
        delay: float = 0.0,
        n_ctx: int | None = None,
        concurrency: int = 1024,
    ) -> None:
        """`following(prompt, text)`: what comes after an answer so far. `delay`: seconds a token.
        `n_ctx`: what it can hold: words of the prompt and of the answer so far, plus tokens."""
        self.spec = spec
        self.capabilities = Capabilities(
            kind="scripted",
            entropy=True,
            keyed_draws=True,
            concurrency=concurrency,
            n_ctx=n_ctx,
            tokenizer=False,
        )
        self._following = following
        self._delay = delay
        self._closed = False

    async def stream(
        self, prompt: Prompt, start: bytes, n: int, want: Want
    ) -> AsyncGenerator[Step, None]:
        if not start:
            await self.check_room(prompt)
        limit = self.capabilities.n_ctx
        room = n if limit is None else limit - await self.count(prompt) - len(start.split())
        asked, text, since = prompt.text, start, time.perf_counter()
        for _ in range(min(n, room)):
            # Without a delay, too, others get their turn, as they do while real models compute.
            if self._delay or time.perf_counter() > since + _TURN:
                await asyncio.sleep(self._delay)
                since = time.perf_counter()
            if self._closed:
                raise ModelError(f"{self.spec} is closed")
            step = self._step(self._following(asked, text), len(text), want)
            yield step
            if step.is_end:
                return
            text += step.text

    async def count(self, prompt: Prompt) -> int:
        text = prompt.text
        if len(text) < 100_000:
            return len(text.split())
        return await asyncio.to_thread(lambda: len(text.split()))

    async def render(self, messages: Sequence[Message], variables: Variables = NONE) -> Prompt:
        lines = [f"<{m.role}>{m.content}\n" for m in messages]
        return Prompt((*(Part(line, literal=True) for line in lines), Part("<assistant>")))

    async def aclose(self) -> None:
        self._closed = True

    def _step(self, options: Distribution, position: int, want: Want) -> Step:
        probs = [option.prob for option in options]
        number = uniform(want.sampling.seed, want.source, position)
        chosen = options[draw(probs, want.sampling, number)]
        ranked = sorted(options, key=lambda option: -option.prob)
        entropy = -sum(p * math.log(p) for p in probs if p > 0) if want.entropy else None
        return Step(
            chosen.text,
            tuple(ranked[: max(1, want.top_k)]),
            chosen.prob,
            is_end=not chosen.text,
            end=sum(option.prob for option in options if not option.text),
            entropy=entropy,
        )


# --- the shipped pair -----------------------------------------------------------------------

ANSWERS: Mapping[str, str] = {
    "What is the capital of France?": "[The capital] of France is[ Paris.]",
    "Count to five.": "[Sure!] Here you go: one, two,[ three,] four, five.",
    "Write in many scripts.": "[Voilà:] naïve café, 東京 and Ελλάδα,[ 👩\u200d🚀] e\u0301t.",
    "Tell me a story.": (
        "[Once there] was a lighthouse on a rock[ far out] in the bay, and its keeper had one "
        "habit: each evening, before she lit the lamp, she wrote down what the sea had brought."
        "[ Mostly] it was wood.[ Now] and then a bottle, a glove,[ once] a drawer full of buttons "
        "sorted by colour.\n\n[One night] the fog came in so thick that the light reached no "
        "further than the railing.[ So she] took the horn and blew it, three long notes every "
        "minute,[ until] her lips were numb. Towards morning somebody answered:[ two short] "
        "notes, quite near. A fishing boat lay under the cliff, its crew asleep but for the "
        "youngest, who held a kettle to his mouth like a trumpet.[ They] stayed for breakfast."
        "\n\n[Years later,] when machines tended the lamp, a parcel came to the rock.[ Inside] "
        "lay a dented kettle and a note: \u201cIt still plays.\u201d[ She wrote] that down, too."
    ),
}
"""Known answers by question. In brackets: where the base model is in doubt, and thus nudged."""
OTHERWISE = (
    "[Here is] a scripted answer: the base model writes most of it,[ and] the small model puts "
    "in a word[ where] the base model is in doubt.[ That is all.]"
)
"""The answer to any other question."""


Doubts = Sequence[tuple[int, int]]


@functools.lru_cache(maxsize=8)  # to look through megabytes takes a while
def known_answer(question: str) -> tuple[str, Doubts]:
    """The pair's answer to a question, and the byte ranges in which the base model is in doubt.
    Of a conversation the known question that was asked last counts."""
    last = max(ANSWERS, key=question.rfind)
    return _read(ANSWERS[last] if last in question else OTHERWISE)


@functools.cache
def _read(script: str) -> tuple[str, Doubts]:
    text = b""
    doubts = []
    for piece in re.split(r"(\[[^\]]*\])", script):
        data = piece.strip("[]").encode() if piece.startswith("[") else piece.encode()
        if piece.startswith("["):
            doubts.append((len(text), len(text) + len(data)))
        text += data
    return text.decode(), doubts


def _base(prompt: str, text: bytes) -> Distribution:
    """Tokens of at most four characters. In doubt where the script says so; never ends by itself,
    as base models do, but invents a further question."""
    answer, doubts = known_answer(prompt)
    data = answer.encode()
    if not data.startswith(text):
        data += b"\n\nQuestion: and what else?"
        if not data.startswith(text):
            return [Candidate(b"", 0.6), Candidate(b"\n", 0.4)]
    elif text == data:
        return [Candidate(b"\n\n", 0.7), Candidate(b"", 0.3)]
    rest = data[len(text) :].decode()
    found = re.match(r"\s*\S{1,4}", rest)
    token = (found[0] if found else rest).encode()
    if any(begin <= len(text) < end for begin, end in doubts):
        return [Candidate(b" um", 0.25), Candidate(token, 0.2), Candidate(b" er", 0.15)]
    return [Candidate(token, 0.9), Candidate(b" um", 0.05)]


def _nudge(prompt: str, text: bytes) -> Distribution:
    """Tokens of whole words; ends where the answer does."""
    data = known_answer(prompt)[0].encode()
    if text == data or not data.startswith(text):
        return [Candidate(b"", 0.95), Candidate(b" more", 0.05)]
    found = re.match(r"\s*\S+", data[len(text) :].decode())
    token = found[0].encode() if found else data[len(text) :]
    return [Candidate(token, 0.8), Candidate(b" um", 0.1)]


def open_scripted(spec: Spec) -> ScriptedEngine:
    """`scripted:base` or `scripted:nudge`, with `?delay=SECONDS` and `?n_ctx=WORDS`."""
    try:
        delay = float(spec.options.get("delay", "0"))
        n_ctx = int(spec.options["n_ctx"]) if "n_ctx" in spec.options else None
    except ValueError:
        raise SpecError(
            f"the options of {spec.text!r} must be numbers", hint="such as ?delay=0.1&n_ctx=512"
        ) from None
    if not 0 <= delay <= 60 or (n_ctx is not None and n_ctx < 1):
        raise SpecError(
            f"the options of {spec.text!r} are out of range",
            hint="delay is from 0 to 60 seconds, n_ctx is 1 or more",
        )
    following = _base if spec.path == "base" else _nudge
    return ScriptedEngine(following, spec=spec.text, delay=delay, n_ctx=n_ctx)


async def _open(spec: Spec) -> ScriptedEngine:
    return open_scripted(spec)


KIND = EngineKind(
    form="scripted:base, scripted:nudge",
    who="a scripted model",
    options=("delay", "n_ctx"),
    models=("base", "nudge"),
    open=_open,
)
