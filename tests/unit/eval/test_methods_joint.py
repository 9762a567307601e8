"""Ensemble and proxy-tuning against direct computations, and what is to be equal to what.

The models are small, random, saved and opened through `hf`. The direct computation keeps no cache:
for each token it reads the whole text afresh in every model.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nudging.drive.alone import alone
from nudging.engines.base import Capabilities, Engine, Want
from nudging.engines.local.local_engine import LocalEngine
from nudging.engines.local.logits import Logits
from nudging.engines.local.vocabulary import Vocabulary
from nudging.engines.scripted import ScriptedEngine
from nudging.errors import ConfigError, ContextOverflow
from nudging.eval.methods import Method, Role, open_method, open_method_async
from nudging.eval.methods.combination import Mean
from nudging.eval.methods.healing import Healing
from nudging.eval.methods.method import answer_of
from nudging.eval.methods.vocabulary_map import NONE, VocabularyMap
from nudging.model import PREFIX
from nudging.prompts.chat import Part, Prompt, base_prompt, conversation
from nudging.values.sampling import Sampling, draw, uniform
from nudging.values.text import complete
from nudging.values.tokens import Answer, Candidate, Step, StopReason
from tests.toys import ToyRuntime

QUESTIONS = ["What is the capital of France?", "naïve 漢字 👩‍🔬?", "a b  c"]
MOST = 32
END = 2
"""The token that ends a turn, in all vocabularies here."""
TALK = "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ '\n' }}{% endfor %}"
DRAWN = {"temperature": 0.9, "top_p": 0.97, "seed": 3}


# --- the direct computation -----------------------------------------------------------------

Probs = list[float]


@dataclass
class Direct:
    """A model and its vocabulary, by the plainest means: a pass over the whole text a token."""

    model: Any
    engine: LocalEngine
    pieces: Sequence[bytes]
    asked: Prompt
    prompt: list[int]
    tokens_of: list[list[int]] | None = None
    begin: list[list[int]] | None = None
    _begins: dict[bytes, int] = field(default_factory=dict)

    def probs(self, written: list[int]) -> Probs:
        return self.probs_of(self.prompt + written)

    def probs_of(self, ids: list[int]) -> Probs:
        from tests.tiny import afresh

        logits = afresh(self.model, ids)[-1].astype(np.float64)
        weights = np.exp(logits - logits.max())
        return list(weights / weights.sum())

    async def reads(self, text: bytes) -> Probs:
        """What it says after a text, which another vocabulary wrote."""
        whole, rest, _ = complete(text)
        parts = (*self.asked.parts, Part(whole.decode(errors="replace"), literal=True))
        ids = await self.engine.ids(replace(self.asked, parts=parts))
        ids += self.spelled(rest)
        own, after = self.pieces[ids[-1]], self.probs_of(ids)
        if not own or not text.endswith(own):
            return after
        before = self.probs_of(ids[:-1])
        joint = [p * before[ids[-1]] for p in after]
        for number, piece in enumerate(self.pieces):
            if piece.startswith(own) and piece != own:
                joint[self.begins(piece[len(own) :])] += before[number]
        return [p / sum(joint) for p in joint]

    @property
    def silent(self) -> list[int]:
        return [number for number, piece in enumerate(self.pieces) if not piece]

    def of_end(self, probs: Probs) -> float:
        return sum(probs[number] for number in self.silent)

    def begins(self, text: bytes) -> int:
        """The longest token that begins a text."""
        if text not in self._begins:
            fitting = [n for n, piece in enumerate(self.pieces) if piece and text.startswith(piece)]
            self._begins[text] = max(fitting, key=lambda n: (len(self.pieces[n]), -n))
        return self._begins[text]

    def spelled(self, text: bytes) -> list[int]:
        found = []
        while text:
            found.append(self.begins(text))
            text = text[len(self.pieces[found[-1]]) :]
        return found


def place(writer: Direct, other: Direct, number: int) -> int:
    """The writer's token for a token of another model."""
    piece = other.pieces[number]
    same = number < len(writer.pieces) and writer.pieces[number] == piece
    return number if same else writer.begins(piece)


def beginning_with(writer: Direct, other: Direct) -> list[list[int]]:
    """Of each token of another model, the writer's that begin with it there."""
    if other.begin is None:
        other.begin = [[] for _ in other.pieces]
        for number, piece in enumerate(writer.pieces):
            if piece:
                other.begin[place(other, writer, number)].append(number)
    return other.begin


def mean(base: Direct, probs: Probs, others: list[tuple[Direct, Probs]]) -> Probs:
    ((other, said),) = others
    joint = [p / 2 if piece else 0.0 for p, piece in zip(probs, base.pieces, strict=True)]
    for number, piece in enumerate(other.pieces):
        have = beginning_with(base, other)[number]
        whole = sum(probs[token] for token in have)
        for token in have:
            joint[token] += said[number] / 2 * probs[token] / whole
        if piece and not have:
            joint[place(base, other, number)] += said[number] / 2
    joint[END] = (base.of_end(probs) + other.of_end(said)) / 2
    return joint


def product(base: Direct, probs: Probs, others: list[tuple[Direct, Probs]]) -> Probs:
    (tuned, plus), (untuned, minus) = others
    joint = []
    for number, piece in enumerate(base.pieces):
        more, less = (tokens_of(base, other, number) for other in (tuned, untuned))
        joint.append(probs[number] * sum(plus[n] for n in more) / sum(minus[n] for n in less))
        if not piece:
            joint[number] = 0.0
    joint[END] = base.of_end(probs) * tuned.of_end(plus) / untuned.of_end(minus)
    return [p / sum(joint) for p in joint]


def tokens_of(writer: Direct, other: Direct, number: int) -> list[int]:
    """What says something of the writer's token: all tokens of which it is the beginning, or else
    the one that is its beginning."""
    if other.tokens_of is None:
        other.tokens_of = [[] for _ in writer.pieces]
        for own, piece in enumerate(other.pieces):
            if piece:
                other.tokens_of[place(writer, other, own)].append(own)
        for token, piece in enumerate(writer.pieces):
            if not piece:
                other.tokens_of[token] = [END]
            elif not other.tokens_of[token]:
                other.tokens_of[token] = [other.begins(piece)]
    return other.tokens_of[number]


COMBINED: Mapping[str, Callable[[Direct, Probs, list[tuple[Direct, Probs]]], Probs]] = {
    "ensemble": mean,
    "proxy-tuning": product,
}


async def steps(
    name: str, base: Direct, others: Sequence[Direct], sampling: Sampling
) -> AsyncGenerator[Step, None]:
    ids: list[int] = []
    text = b""
    for _ in range(MOST):
        said = [
            (o, o.probs(ids) if o.pieces == base.pieces else await o.reads(text)) for o in others
        ]
        probs = COMBINED[name](base, base.probs(ids), said)
        chosen = draw(probs, sampling, uniform(sampling.seed, "base", len(text)))
        piece = base.pieces[chosen]
        yield Step(piece, (Candidate(b"", max(probs)),), probs[chosen], not piece, id=chosen)
        if not piece:
            return
        ids.append(chosen)
        text += piece


class Made(Engine):
    """An engine that gives steps made elsewhere."""

    spec = "made"
    capabilities = Capabilities(kind="made")

    def __init__(self, made: AsyncGenerator[Step, None]) -> None:
        self._made = made

    async def count(self, prompt: Prompt) -> None:
        return None

    def stream(
        self, prompt: Prompt, start: bytes, n: int, want: Want
    ) -> AsyncGenerator[Step, None]:
        return self._made


# --- the models -----------------------------------------------------------------------------


@dataclass
class World:
    """Opened engines by role, and what the direct computation needs of each."""

    engines: dict[Role, str | LocalEngine]
    models: dict[Role, Any]

    def engine(self, role: Role) -> LocalEngine:
        engine = self.engines[role]
        assert isinstance(engine, LocalEngine)
        return engine


def world(folder: Path, shared: bool) -> World:
    """`shared`: one vocabulary for all, or one for the base model and one for the small ones."""
    from nudging.engines.hf.hf_loading import open_hf
    from nudging.engines.spec import parse_spec
    from tests import tiny

    makers: dict[Role, tuple[Any, int]] = {
        "base": (tiny.llama, 1),
        "nudge": (tiny.gpt2, 2),
        "untuned": (tiny.gpt2, 3),
    }
    found = World({}, {})
    for role, (config, seed) in makers.items():
        own = shared or role == "base"
        tokenizer = tiny.byte_level() if own else tiny.sentence_piece()
        tokenizer.chat_template = TALK
        path = tiny.saved(folder / role, config, tokenizer, seed)
        found.models[role] = tiny.made(config, tokenizer, seed)
        found.engines[role] = open_hf(parse_spec(f"hf:{path}?parallel=1"))
    return found


@pytest.fixture(scope="module", params=["one vocabulary", "two vocabularies"])
def models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    return world(tmp_path_factory.mktemp("models"), request.param == "one vocabulary")


async def directly(name: str, question: str, world: World, sampling: Sampling) -> Answer:
    messages = conversation(question)
    plain = base_prompt(messages, "plain", PREFIX)
    roles: list[Role] = ["base", "nudge"] if name == "ensemble" else ["base", "nudge", "untuned"]
    parts = []
    for role in roles:
        engine = world.engine(role)
        prompt = await engine.render(messages) if role == "nudge" else plain
        pieces = (await engine.vocabulary()).pieces
        ids = await engine.ids(prompt)
        parts.append(Direct(world.models[role], engine, pieces, prompt, ids))
    made = steps(name, parts[0], parts[1:], sampling)
    return await answer_of(alone(Made(made), plain, Want("base"), MOST, ()))


def same(one: Answer, other: Answer) -> None:
    assert one.text == other.text
    assert one.stop_reason == other.stop_reason
    mine, yours = ([t for span in each.spans for t in span.tokens] for each in (one, other))
    assert [token.id for token in mine] == [token.id for token in yours]
    assert [t.top1 for t in mine] == pytest.approx([t.top1 for t in yours], abs=1e-4)


@pytest.mark.hf
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("options", [{}, DRAWN], ids=["greedy", "drawn"])
@pytest.mark.parametrize("name", COMBINED)
def test_each_token_is_what_a_direct_computation_gives(
    models: World, name: str, options: dict[str, Any]
) -> None:
    async def check() -> None:
        method = await open_method_async(name, models.engines, options)
        sampling = Sampling(**options)
        for question in QUESTIONS:
            answer = await method.answer(question, max_tokens=MOST)
            same(answer, await directly(name, question, models, sampling))
            assert answer.usage.base.forwards >= answer.usage.base.emitted > 0

    asyncio.run(check())


@pytest.mark.hf
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", COMBINED)
def test_answers_that_share_a_cache_do_not_change_each_other(models: World, name: str) -> None:
    """Each engine has one cache, which is cut back at every step of every answer."""

    async def check() -> None:
        method = await open_method_async(name, models.engines, DRAWN)
        one_by_one = [await method.answer(q, max_tokens=MOST) for q in QUESTIONS]
        at_once = await asyncio.gather(*(method.answer(q, max_tokens=MOST) for q in QUESTIONS))
        for one, other in zip(one_by_one, at_once, strict=True):
            same(one, other)

    asyncio.run(check())


# --- what is equal to what ------------------------------------------------------------------


class OneEnd(ToyRuntime):
    """A toy with a single token that ends, and a template that is the plain form of a question."""

    controls = ("<|end|>",)
    template = "{{ messages[-1].content }}{{ '\n' }}"

    def __init__(self, seed: int, *, tuned: int | None = None, n_ctx: int = 4000) -> None:
        """`tuned`: another seed for what it says, in the same vocabulary."""
        super().__init__(seed, n_ctx=n_ctx)
        self._seed = seed if tuned is None else tuned


PLAIN = {"base_form": "{{ question }}\n", "max_tokens": 30}
draws = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.sampled_from([0.0, 0.7, 1.3]),
        "top_k": st.integers(0, 9),
        "top_p": st.sampled_from([0.5, 0.9, 1.0]),
        "seed": st.integers(0, 99),
    },
)


def answer(name: str, engines: Mapping[Role, LocalEngine], options: Mapping[str, Any]) -> Answer:
    method = open_method(name, dict(engines), {**PLAIN, **options})
    return asyncio.run(method.answer("why 東?", system=""))


@given(st.integers(0, 10**6), draws)
@settings(max_examples=30)
def test_an_ensemble_of_a_model_with_itself_is_that_model(seed: int, drawn: dict[str, Any]) -> None:
    toy, twin = (LocalEngine("toy", OneEnd(seed)) for _ in range(2))
    expected = answer("base", {"base": toy}, drawn)
    same(answer("ensemble", {"base": toy, "nudge": twin}, drawn), expected)
    same(answer("ensemble", {"base": toy, "nudge": toy}, drawn), expected)


@given(st.integers(0, 10**6), draws)
@settings(max_examples=30)
def test_tuning_that_changed_nothing_leaves_the_base_model(
    seed: int, drawn: dict[str, Any]
) -> None:
    toy, small = LocalEngine("toy", OneEnd(seed)), LocalEngine("small", OneEnd(seed + 1))
    engines: dict[Role, LocalEngine] = {"base": toy, "tuned": small, "untuned": small}
    same(answer("proxy-tuning", engines, drawn), answer("base", {"base": toy}, drawn))


@given(st.integers(0, 10**6), draws)
@settings(max_examples=30)
def test_tuning_of_the_base_model_itself_gives_the_tuned_one(
    seed: int, drawn: dict[str, Any]
) -> None:
    """Base plus tuned minus base is tuned."""
    base, tuned = LocalEngine("toy", OneEnd(7)), LocalEngine("toy", OneEnd(7, tuned=seed))
    engines: dict[Role, LocalEngine] = {"base": base, "tuned": tuned, "untuned": base}
    joint = answer("proxy-tuning", engines, drawn)
    alone = answer("base", {"base": tuned}, drawn)
    assert joint.text == alone.text
    assert joint.stop_reason == alone.stop_reason


# --- what it costs, and where it ends -------------------------------------------------------


def toys(seed: int = 1) -> dict[Role, str | LocalEngine]:
    return {
        "base": LocalEngine("toy:base", OneEnd(seed)),
        "nudge": LocalEngine("toy:nudge", OneEnd(seed + 1)),
        "untuned": LocalEngine("toy:untuned", OneEnd(seed + 2)),
    }


def asked(method: Method, **more: Any) -> Answer:
    return asyncio.run(method.answer("q", **more))


def test_work_is_counted_by_model() -> None:
    found = asked(open_method("proxy-tuning", toys(), {"max_tokens": 9}))
    base, others = found.usage.base, found.usage.nudge
    assert base.forwards == base.drafted <= 9
    assert (others.forwards, others.calls, others.emitted) == (2 * base.forwards, 2, 0)
    assert found.usage.seconds >= max(base.seconds, others.seconds / 2) > 0


def test_stop_strings_and_the_next_question_end_it() -> None:
    text = asked(open_method("ensemble", toys(), {"max_tokens": 30})).text
    places = range(len(text) // 4, len(text))
    middle = next(found for at in places if "\ufffd" not in (found := text[at : at + 3]))
    stopped = asked(open_method("ensemble", toys(), {"max_tokens": 30, "stop_strings": [middle]}))
    assert stopped.text == text[: text.index(middle)]
    assert stopped.stop_reason is StopReason.STOP
    ended = asked(open_method("ensemble", toys(), {"max_tokens": 30}), prefix="")
    assert ended.stop_reason in (StopReason.LENGTH, StopReason.BASE)


def test_it_ends_where_the_context_of_any_model_does() -> None:
    models = toys()
    prompt = asyncio.run(_nudge_prompt(models))
    small = LocalEngine("toy:nudge", OneEnd(2, n_ctx=prompt + 5))
    method = open_method("ensemble", {**models, "nudge": small}, {"max_tokens": 60})
    found = asked(method, system="")
    assert found.stop_reason is StopReason.LENGTH
    assert found.usage.nudge.forwards == 5
    tight = LocalEngine("toy:nudge", OneEnd(2, n_ctx=2))
    with pytest.raises(ContextOverflow):
        asked(open_method("ensemble", {**models, "nudge": tight}))


async def _nudge_prompt(models: Mapping[Role, str | LocalEngine]) -> int:
    engine = models["nudge"]
    assert isinstance(engine, LocalEngine)
    return await engine.count(await engine.render(conversation("q", "")))


# --- vocabularies ---------------------------------------------------------------------------


def test_a_token_is_spelled_by_the_longest_there_are() -> None:
    vocabulary_map = VocabularyMap(
        [b"Paris", b"", b"P", b"s!"], [b"P", b"Par", b"is", b"i", b"s", b"a"]
    )
    assert [vocabulary_map.tokens(number) for number in range(4)] == [(1, 2), (), (0,), ()]
    assert list(vocabulary_map.first) == [1, NONE, 0, NONE]
    assert (vocabulary_map.whole, vocabulary_map.lost) == (1 / 3, 1 / 3)


def test_the_same_bytes_twice_keep_their_numbers() -> None:
    pieces = [b"a", b"", b"a", b"ab"]
    vocabulary_map = VocabularyMap(pieces, pieces)
    assert list(vocabulary_map.first) == [0, NONE, 2, 3]


@given(st.lists(st.binary(max_size=3), max_size=12), st.lists(st.binary(max_size=3), max_size=12))
def test_a_spelling_has_the_bytes_of_its_token(one: list[bytes], other: list[bytes]) -> None:
    vocabulary_map = VocabularyMap(one, other)
    for number, piece in enumerate(one):
        found = vocabulary_map.tokens(number)
        assert b"".join(other[n] for n in found) == (piece if found else b"")
        assert all(other[n] for n in found)
        assert vocabulary_map.first[number] == (found[0] if found else NONE)


def test_a_mean_loses_nothing_but_what_can_not_be_written() -> None:
    writer = Vocabulary((b"a", b"b", b"", b"ab", b"!"), 2)
    other = Vocabulary((b"ab", b"", b"bb", b"b", b"?", b"a"), 1)
    rows = [
        np.log(np.array(probs, np.float32))
        for probs in ([0.1, 0.2, 0.3, 0.2, 0.2], [0.3, 0.1, 0.2, 0.1, 0.2, 0.1])
    ]
    joint = np.exp(Mean(writer, other)(rows))
    # The other's "?" is not there: the rest is 0.8. Its "bb" begins with "b". It can't read "!".
    expected = [(0.1 + 0.1 / 0.8) / 2, (0.2 + 0.3 / 0.8) / 2, (0.3 + 0.1 / 0.8) / 2]
    assert joint == pytest.approx([*expected, (0.2 + 0.3 / 0.8) / 2, 0.0])


def test_what_is_said_of_a_beginning_is_divided_as_the_writer_would() -> None:
    """The other spells " Zeisik" by tokens of which the first is " Z": what it says of " Z" is said
    of both, and of the end nothing."""
    writer = Vocabulary((b" Z", b" Zeisik", b" Zell", b"", b"x"), 3)
    other = Vocabulary((b"", b" Z", b"eisik", b"ell", b"x"), 0)
    rows = [
        np.log(np.array(probs, np.float32))
        for probs in ([0.01, 0.3, 0.09, 0.5, 0.1], [0.01, 0.97, 0.005, 0.005, 0.01])
    ]
    joint = np.exp(Mean(writer, other)(rows))
    assert joint[1] == pytest.approx((0.3 + 0.97 * 0.3 / 0.4) / 2, abs=0.01)
    assert joint.argmax() == 1
    assert joint.sum() == pytest.approx(1.0, abs=0.02)  # "eisik" begins nothing here


def test_a_token_that_was_cut_short_goes_on_as_it_would_have() -> None:
    """The writer wrote "3"; the other would have written "35", and after a lone "3" says "3"."""
    pieces = (b"", b"3", b"5", b"35", b"9")
    healing = Healing(pieces)
    before = np.log(np.array([0.01, 0.01, 0.01, 0.95, 0.02], np.float32))
    after = np.log(np.array([0.05, 0.8, 0.05, 0.05, 0.05], np.float32))
    healed = np.exp(healing(before, after, 1))
    assert healed.argmax() == 2
    expected = [0.0005, 0.008, 0.9505, 0.0005, 0.0005]  # of 0.96
    assert healed == pytest.approx([each / 0.96 for each in expected], rel=1e-4)
    assert healing(before, after, 4) is after  # nothing goes on from a "9"
    assert [healing.may_go_on(token, b"3") for token in range(5)] == [False, True, *[False] * 3]


@given(st.lists(st.binary(min_size=1, max_size=3), min_size=1, max_size=12, unique=True), st.data())
def test_healing_gives_a_distribution_and_leaves_what_is_whole(
    pieces: list[bytes], data: st.DataObject
) -> None:
    healing = Healing([*pieces, b""])
    rows = [
        np.array([data.draw(st.floats(-9, 9)) for _ in range(len(pieces) + 1)], np.float32)
        for _ in range(2)
    ]
    token = data.draw(st.integers(0, len(pieces) - 1))
    healed = healing(rows[0], rows[1], token)
    longer = [p for p in pieces if p != pieces[token] and p.startswith(pieces[token])]
    assert (healed is rows[1]) >= (not longer)
    if healed is not rows[1]:
        assert np.exp(healed.astype(np.float64)).sum() == pytest.approx(1.0, abs=1e-4)


# --- what is refused ------------------------------------------------------------------------


def test_engines_that_show_only_the_best_are_refused() -> None:
    scripted = ScriptedEngine(lambda prompt, text: [Candidate(b"", 1.0)], spec="scripted:x")
    with pytest.raises(ConfigError, match="whole distributions, which scripted:x") as caught:
        open_method("ensemble", {**toys(), "nudge": scripted})
    assert "hf:" in caught.value.hint


def test_vocabularies_that_can_not_read_each_other_are_refused() -> None:
    class Latin(OneEnd):
        def piece(self, id: int) -> bytes:
            piece = super().piece(id)
            return piece if piece.isascii() else b""

        def is_end(self, id: int) -> bool:
            return not self.piece(id)

    latin = LocalEngine("toy:latin", Latin(1))
    with pytest.raises(ConfigError, match=r"nudge model has no tokens for \d+%"):
        open_method("ensemble", {**toys(), "nudge": latin})
    with pytest.raises(ConfigError, match=r"base model has no tokens for \d+%"):
        open_method("ensemble", {**toys(), "base": latin})


def test_what_is_only_in_one_vocabulary_is_told() -> None:
    (note,) = open_method("ensemble", toys()).notes
    assert "of the nudge model's tokens are tokens of the base model too" in note
    same = toys()
    assert open_method("ensemble", {**same, "nudge": same["base"]}).notes == ()


def test_a_mean_is_finite_where_a_model_is_sure() -> None:
    vocabulary = Vocabulary((b"a", b""), 1)
    row = np.array([0.0, -2000.0], np.float32)
    assert math.isclose(Mean(vocabulary, vocabulary)([row, row])[0], 0.0, abs_tol=1e-6)


def test_whole_rows_are_those_that_steps_are_read_from() -> None:
    async def check() -> None:
        engine = LocalEngine("toy", OneEnd(5))
        prompt = base_prompt(conversation("why 東?", ""), "text")
        ids, text = await engine.ids(prompt), b""
        want = Want(sampling=Sampling(temperature=1.0), top_k=3)
        async for step in engine.stream(prompt, b"", 12, want):
            row = await engine.logits(prompt, ids)
            assert await engine.read(row, len(text), want) == step
            assert step.id is not None
            ids.append(step.id)
            text += step.text
        assert text

    asyncio.run(check())


def test_a_row_stays_what_it_was_when_the_next_is_computed() -> None:
    """As runtimes may give a view of what their next pass overwrites."""

    class Overwriting(OneEnd):
        buffer: Logits

        def forward(self, ids: Sequence[int], rows: int, slot: int = 0) -> Logits:
            found = super().forward(ids, rows, slot)
            if not hasattr(self, "buffer"):
                self.buffer = found.copy()
            self.buffer[:rows] = found
            return self.buffer[:rows]

    async def check() -> None:
        engine = LocalEngine("toy", Overwriting(5))
        prompt = base_prompt(conversation("q", ""), "text")
        first = await engine.logits(prompt, [65])
        kept = first.copy()
        assert (await engine.logits(prompt, [65, 66]) != kept).any()
        assert (first == kept).all()

    asyncio.run(check())
