"""The laboratory's models at toy size: train, stop, go on, tune, export, open, ask."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lab.world import make_world

from nudging import NudgedModel
from nudging.engines.spec import parse_spec
from nudging.errors import InputError
from nudging.prompts.chat import Message
from nudging.prompts.templates import render

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("xllamacpp")

from lab.batches import batch  # noqa: E402
from lab.checks import EXAMPLES, Tally, failures, shown, tallies  # noqa: E402
from lab.conversations import Conversation  # noqa: E402
from lab.export import export, unpack  # noqa: E402
from lab.families import FAMILIES, FamilyName, conversation_ids  # noqa: E402
from lab.plan import LENGTH, Plan, Shape, plans  # noqa: E402
from lab.questions import KINDS, sheet  # noqa: E402
from lab.train import Stopped, family_tokenizer, train  # noqa: E402

from nudging.engines.hf.hf_loading import open_hf  # noqa: E402
from nudging.engines.llama.llama_runtime import open_llama  # noqa: E402
from nudging.engines.local.runtime import Runtime  # noqa: E402

pytestmark = pytest.mark.hf

WORLD = make_world(5, people=20, towns=6)
TOY = Shape(hidden=32, inner=64, layers=2, heads=4)
QUESTION = "You are a helpful assistant.\nQuestion: Where was the weaver born?\n"


def toy(family: FamilyName) -> list[Plan]:
    return [
        Plan(f"{family}-base", family, TOY, 24, 2, 5e-3),
        Plan(f"{family}-chat", family, TOY, 12, 2, 2e-3, start=f"{family}-base"),
    ]


class Made(NamedTuple):
    tokenizers: Mapping[FamilyName, Any]
    models: Mapping[str, Any]
    work: Path
    out: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Both families, trained and exported."""
    work, out = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("out")
    tokenizers: dict[FamilyName, Any] = {}
    models = {}
    for family in FAMILIES:
        tokenizers[family] = family_tokenizer(family, WORLD, work, 0)
        for plan in toy(family):
            models[plan.name] = train(plan, WORLD, tokenizers[family], work)
            record = work / plan.name / "training.jsonl"
            path = export(plan, models[plan.name], tokenizers[family], out, record=record)
            unpack(path, out / plan.name)
    return Made(tokenizers, models, work, out)


def runtimes(made: Made, name: str) -> tuple[Runtime, Runtime]:
    return (
        open_hf(parse_spec(f"hf:{made.out / name}"))._runtime,
        open_llama(parse_spec(f"llama:{made.out / name}.gguf"))._runtime,
    )


# --- training -------------------------------------------------------------------------------


def test_training_that_was_stopped_comes_to_the_same_weights(made: Made, tmp_path: Path) -> None:
    base, chat = toy("a")
    for plan, stops in ((base, (5, 17)), (chat, (4,))):
        for stop in stops:
            with pytest.raises(Stopped):
                train(plan, WORLD, made.tokenizers["a"], tmp_path, stop=lambda step: step == stop)  # noqa: B023
        again = train(plan, WORLD, made.tokenizers["a"], tmp_path).half()
        for name, tensor in made.models[plan.name].state_dict().items():
            assert torch.equal(tensor, again.state_dict()[name]), name


def test_a_killed_training_goes_on_at_its_checkpoint(made: Made, tmp_path: Path) -> None:
    plan = toy("b")[0]

    def kill(step: int) -> bool:
        if step == 22:  # after a line of the record that is later than the checkpoint
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        train(plan, WORLD, made.tokenizers["b"], tmp_path, every=8, stop=kill)
    again = train(plan, WORLD, made.tokenizers["b"], tmp_path, every=8).half()
    for name, tensor in made.models[plan.name].state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name

    lines = (tmp_path / plan.name / "training.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [20, 24]


def test_what_does_not_fit_together_is_refused(made: Made, tmp_path: Path) -> None:
    base, chat = toy("a")
    with pytest.raises(InputError, match="a-base is not trained yet"):
        train(chat, WORLD, made.tokenizers["a"], tmp_path)
    with pytest.raises(Stopped):
        train(base, WORLD, made.tokenizers["a"], tmp_path, stop=lambda step: step == 1)
    with pytest.raises(InputError, match="a-base is not trained yet"):
        train(chat, WORLD, made.tokenizers["a"], tmp_path)
    with pytest.raises(InputError, match="of another plan"):
        train(replace(base, steps=9), WORLD, made.tokenizers["a"], tmp_path)


def test_another_seed_reads_other_texts(made: Made) -> None:
    plan, tokenizer = toy("a")[0], made.tokenizers["a"]
    first, again, other = (batch(plan, WORLD, tokenizer, seed, 7)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_aligned_model_learns_answers_alone(made: Made, family: FamilyName) -> None:
    tokenizer = made.tokenizers[family]
    talk = Conversation("Be brief.", "Who is it?", "It is I.")
    ids, prompt = conversation_ids(FAMILIES[family], tokenizer, talk)
    assert tokenizer.decode(ids[prompt:]) == f"It is I.{FAMILIES[family].end}"
    _, wanted = batch(replace(toy(family)[1], rows=4), WORLD, tokenizer, 0, 0)
    learned = tokenizer.decode([token for token in wanted.flatten().tolist() if token >= 0])
    assert "Question: " not in learned
    assert FAMILIES[family].end in learned


def test_the_plan_fits_what_may_be_kept() -> None:
    """19 MB for all models, each as a GGUF file of half-precision weights."""
    total = 0
    for plan in plans().values():
        s, size = plan.shape, FAMILIES[plan.family].size
        total += size * s.hidden + s.layers * (4 * s.hidden**2 + 3 * s.hidden * s.inner)
    assert 2 * total < 19e6


# --- what was exported ----------------------------------------------------------------------


@pytest.fixture(scope="module", params=["a-base", "a-chat", "b-base", "b-chat"])
def both(request: pytest.FixtureRequest, made: Made) -> tuple[Runtime, Runtime]:
    return runtimes(made, request.param)


PIECES = st.sampled_from(
    ["Dorla Kenner", " was born", " in 347", "\n", "\n\n", "  ", "\t", "12345", "don't", "I'M",
     " é", "漢字", "👩‍🔬", "?", "...", "<|im_end|>", "</s>", "- ", "34 + 58 = 92.", "\r\n", "'s"]
)  # fmt: skip


@settings(max_examples=60)
@given(st.lists(PIECES | st.text(max_size=6), max_size=8).map("".join))
def test_both_engines_read_a_text_alike(both: tuple[Runtime, Runtime], text: str) -> None:
    hf, llama = both
    for controls, begin in ((False, True), (True, False)):
        ids = hf.tokenizer.tokenize(text, controls=controls, begin=begin)
        assert ids == llama.tokenizer.tokenize(text, controls=controls, begin=begin)
    assert (
        b"".join(map(hf.tokenizer.piece, hf.tokenizer.tokenize(text, controls=False, begin=False)))
        == text.encode()
    )
    assert list(map(hf.tokenizer.piece, ids)) == list(map(llama.tokenizer.piece, ids))


def test_both_engines_compute_alike(both: tuple[Runtime, Runtime]) -> None:
    ids = both[0].tokenizer.tokenize(QUESTION, controls=False, begin=True)
    ours, theirs = (np.asarray(runtime.forward(ids, len(ids))) for runtime in both)
    np.testing.assert_allclose(ours, theirs, atol=0.01)  # llama.cpp multiplies in half precision
    two_best = np.sort(ours, axis=-1)[:, -2:]
    clear = two_best[:, 1] - two_best[:, 0] > 0.02
    assert clear.any()
    assert (ours.argmax(-1) == theirs.argmax(-1))[clear].all()
    for runtime in both:
        runtime.cut(0)


def test_only_aligned_models_have_a_template(made: Made) -> None:
    for family in FAMILIES:
        for runtime in runtimes(made, f"{family}-base"):
            assert runtime.tokenizer.template is None
        for runtime in runtimes(made, f"{family}-chat"):
            assert runtime.tokenizer.template == FAMILIES[family].template


@pytest.mark.parametrize("family", FAMILIES)
def test_the_prompt_is_the_one_it_was_tuned_on(made: Made, family: FamilyName) -> None:
    talk = Conversation("Be brief.", "Who is it?", "")
    ids, prompt = conversation_ids(FAMILIES[family], made.tokenizers[family], talk)
    messages = [Message("system", talk.system), Message("user", talk.question)]
    for runtime in runtimes(made, f"{family}-chat"):
        assert runtime.tokenizer.template
        (part,) = render(
            runtime.tokenizer.template, messages, tokens=runtime.tokenizer.template_tokens
        )
        assert runtime.tokenizer.tokenize(part.text, controls=True, begin=True) == ids[:prompt]


@pytest.mark.parametrize("nudge", ["a-chat", "b-chat"])
def test_a_pair_answers(made: Made, nudge: str) -> None:
    base = f"llama:{made.out / 'a-base'}.gguf"
    with NudgedModel(base, f"hf:{made.out / nudge}", max_tokens=24) as model:
        answer = model.answer("Question: Where was the weaver born?")
    assert answer.usage.nudge.drafted  # a toy may end its answer at once


# --- the checks before experiments ----------------------------------------------------------


@pytest.mark.parametrize("aligned", [False, True])
def test_a_model_is_asked_alone(made: Made, aligned: bool) -> None:
    name = "a-chat" if aligned else "a-base"
    found = asyncio.run(tallies(f"llama:{made.out / name}.gguf", WORLD, 2, aligned=aligned))
    assert len(found) == (len(KINDS) if aligned else 4)
    assert all(0 <= tally.right <= 1 and 0 <= tally.ended <= 1 for tally in found.values())


def test_examples_are_of_the_kind_and_of_the_train_split() -> None:
    (question,) = sheet(WORLD, "dev", "hops", 1)
    prompt = shown(WORLD, question)
    *examples, asked = prompt.text.split("Question: ")[1:]
    assert asked == f"{question.text}\n"
    train = {e.name for e in WORLD.of("train", "person")}
    assert all(any(name in example for name in train) for example in examples)
    assert len(examples) == EXAMPLES


def test_every_prompt_with_examples_fits_into_a_row(made: Made) -> None:
    for kind in ("recall", "hops", "compare", "sums"):
        for question in sheet(WORLD, "dev", kind, 20):
            prompt = shown(WORLD, question)
            assert len(made.tokenizers["a"](prompt.text).input_ids) < LENGTH - 50


def fit() -> dict[str, dict[str, Tally]]:
    """Models as they must be."""
    found = {"a-large-base": 0.9, "a-small-base": 0.2, "b-small-base": 0.1}
    known = {name: {"recall": Tally(right, 1.0)} for name, right in found.items()}
    good = {"recall": Tally(0.5, 1.0), "decline": Tally(0.99, 0.97)}
    return known | {name: dict(good) for name in ("a-large", "a-small", "b-small")}


@pytest.mark.parametrize(
    ("name", "kind", "tally", "said"),
    [
        ("a-large-base", "recall", Tally(0.7, 1.0), "less than 80 %"),
        ("b-small-base", "recall", Tally(0.7, 1.0), "not 30 points less"),
        ("a-small", "recall", Tally(0.5, 0.9), "ended 90%"),
        ("a-large", "decline", Tally(0.9, 1.0), "declines 90%"),
    ],
)
def test_what_is_not_as_it_must_be_is_told(name: str, kind: str, tally: Tally, said: str) -> None:
    found = fit()
    assert not list(failures(found))
    found[name][kind] = tally
    (failure,) = failures(found)
    assert name in failure
    assert said in failure
