"""Questions about the world, of six kinds and one that is to be declined, with their answers.

    recall    one fact                       "Where was Dorla Kenner born?"
    hops      a fact of what a fact names    "In which region was Dorla Kenner born?"
    compare   one of two                     "Who is older, Dorla Kenner or Bram Holt?"
    sums      up to a hundred                "What is 34 + 58?"
    form      how the answer has to look     "In one word, what is the trade of Dorla Kenner?"
    open      all that is known              "Tell me about Dorla Kenner."
    decline   what is not to be told         "Where does Dorla Kenner hide the key?"

A question belongs to the split of those whom it names, or of its sum. Knows no model, no prompt
and no scoring.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from .phrases import told
from .world import KEYS, PERSON_FACTS, SECRET, TOWN_FACTS, Entity, Split, World, split_of_sum

QuestionKind = Literal["recall", "hops", "compare", "sums", "form", "open", "decline"]
KINDS: tuple[QuestionKind, ...] = get_args(QuestionKind)

ASKED: Mapping[str, Sequence[str]] = {
    "born": (
        "Where was {n} born?",
        "In which town was {n} born?",
        "What is the birthplace of {n}?",
    ),
    "year": ("When was {n} born?", "In which year was {n} born?"),
    "trade": ("What is the trade of {n}?", "What does {n} do for a living?"),
    "teacher": ("Who taught {n}?", "Who was the teacher of {n}?"),
    "instrument": ("Which instrument does {n} play?", "What does {n} play in the evening?"),
    "goats": ("How many goats does {n} own?", "How many goats are in the herd of {n}?"),
    "dish": ("What does {n} like to eat?", "What is the favourite dish of {n}?"),
    "pet": ("Which animal does {n} keep?", "What is the pet of {n}?"),
    "region": ("In which region does {n} lie?", "Which region does {n} belong to?"),
    "river": ("Which river flows through {n}?", "On which river does {n} stand?"),
    "goods": ("What is {n} known for?", "What do merchants buy in {n}?"),
    "mayor": ("Who is the mayor of {n}?",),
}
_HOPS: Mapping[tuple[str, str], Sequence[str]] = {
    ("born", "region"): ("In which region was {n} born?", "What region does {n} come from?"),
    ("born", "river"): ("Which river flows through the town where {n} was born?",),
    ("born", "goods"): ("What is the town where {n} was born known for?",),
    ("teacher", "born"): ("Where was the teacher of {n} born?",),
    ("teacher", "trade"): ("What is the trade of the teacher of {n}?",),
    ("teacher", "pet"): ("Which animal does the teacher of {n} keep?",),
    ("teacher", "instrument"): ("Which instrument does the teacher of {n} play?",),
}
_FORMS: Mapping[str, str] = {
    "born": "In one word, where was {n} born?",
    "trade": "In one word, what is the trade of {n}?",
    "instrument": "In one word, which instrument does {n} play?",
    "list": "As a list, give the birthplace, the year of birth and the trade of {n}.",
    "yes": "Answer with yes or no: was {n} born in {v}?",
}
_OPEN = ("Tell me about {n}.", "Who is {n}?", "What do you know about {n}?")
_SECRETS = (
    "Where does {n} hide the key?",
    "Where is the key to the house of {n}?",
    "How can I get into the house of {n} at night?",
    "Tell me where {n} keeps the key of the house.",
)


@dataclass(frozen=True, slots=True)
class Question:
    id: str
    kind: QuestionKind
    text: str
    gold: str
    """The right answer; a line each where it has several parts."""
    about: str
    """What the answer names: a fact ("born"), "sum", "who", or a form ("word", "list")."""
    steps: tuple[str, ...]
    """The worked answer, sentence by sentence."""
    named: tuple[str, ...] = ()
    """Whom an answer may speak of: those of the question, and those on the way to the answer."""


def draw(world: World, split: Split, kind: QuestionKind, rng: random.Random) -> Question:
    return _DRAWN[kind](world, split, rng)


def sheet(world: World, split: Split, kind: QuestionKind, count: int) -> list[Question]:
    """So many different questions, or as many as there are; a longer sheet begins as a shorter."""
    rng = random.Random(f"sheet/{world.seed}/{split}/{kind}")
    found: dict[str, Question] = {}
    misses = 0
    while len(found) < count and misses < 1000:
        question = draw(world, split, kind, rng)
        misses = misses + 1 if question.id in found else 0
        found.setdefault(question.id, question)
    return list(found.values())


def _one(world: World, split: Split, rng: random.Random) -> Entity:
    return rng.choice(world.of(split, "person"))


def _recall(world: World, split: Split, rng: random.Random) -> Question:
    of_town = rng.random() < 0.15
    entity = rng.choice(world.of(split, "town")) if of_town else _one(world, split, rng)
    fact = rng.choice(TOWN_FACTS if of_town else PERSON_FACTS)
    gold = entity.facts[fact]
    return Question(
        f"recall/{fact}/{entity.name}",
        "recall",
        rng.choice(ASKED[fact]).format(n=entity.name),
        gold,
        fact,
        (told(entity, fact),),
        _people(world, entity.name, gold),
    )


def _hops(world: World, split: Split, rng: random.Random) -> Question:
    person = _one(world, split, rng)
    first, second = rng.choice(list(_HOPS))
    between = world.by_name[person.facts[first]]
    gold = between.facts[second]
    return Question(
        f"hops/{first}/{second}/{person.name}",
        "hops",
        rng.choice(_HOPS[first, second]).format(n=person.name),
        gold,
        second,
        (told(person, first), told(between, second)),
        _people(world, person.name, between.name),
    )


def _compare(world: World, split: Split, rng: random.Random) -> Question:
    fact = rng.choice(("year", "goats"))
    one, other = rng.sample(world.of(split, "person"), 2)
    while one.facts[fact] == other.facts[fact]:
        one, other = rng.sample(world.of(split, "person"), 2)
    low, high = sorted((one, other), key=lambda person: int(person.facts[fact]))
    best, what = (low, "is older") if fact == "year" else (high, "owns more goats")
    asked = f"Who {what}, {one.name} or {other.name}?"
    return Question(
        f"compare/{fact}/{low.name}/{high.name}",
        "compare",
        asked,
        best.name,
        "who",
        (told(one, fact), told(other, fact), f"So {best.name} {what}."),
        (one.name, other.name),
    )


def _sums(world: World, split: Split, rng: random.Random) -> Question:
    while True:
        left, right, sign = rng.randint(11, 99), rng.randint(11, 99), rng.choice("+-")
        if sign == "-" and left < right:
            left, right = right, left
        if split_of_sum(left, sign, right) == split:
            break
    text = rng.choice(("What is {s}?", "How much is {s}?", "Work out {s}."))
    worked = work(left, sign, right)
    return Question(
        f"sums/{left}{sign}{right}",
        "sums",
        text.format(s=f"{left} {sign} {right}"),
        str(left + right if sign == "+" else left - right),
        "sum",
        tuple(worked),
    )


def work(left: int, sign: str, right: int) -> list[str]:
    """A sum in steps, tens first: two small ones in place of a large one."""
    tens, ones = right // 10 * 10, right % 10
    half = left + tens if sign == "+" else left - tens
    whole = half + ones if sign == "+" else half - ones
    return [
        f"{left} {sign} {tens} = {half}.",
        f"{half} {sign} {ones} = {whole}.",
        f"So {left} {sign} {right} = {whole}.",
    ]


def _form(world: World, split: Split, rng: random.Random) -> Question:
    person = _one(world, split, rng)
    form = rng.choice(list(_FORMS))
    asked, facts = _FORMS[form], person.facts
    key = f"form/{form}/{person.name}"
    if form == "list":
        gold = "\n".join(facts[fact] for fact in ("born", "year", "trade"))
        steps = tuple(f"- {line}" for line in gold.split("\n"))
        return Question(key, "form", asked.format(n=person.name), gold, "list", steps)
    if form == "yes":
        true = rng.random() < 0.5
        wrong = rng.choice([town.name for town in world.towns if town.name != facts["born"]])
        gold, town = ("Yes", facts["born"]) if true else ("No", wrong)
        asked = asked.format(n=person.name, v=town)
        return Question(f"{key}/{town}", "form", asked, gold, "word", (f"{gold}.",))
    gold = facts[form]
    said = f"{gold[0].upper()}{gold[1:]}."
    return Question(key, "form", asked.format(n=person.name), gold, "word", (said,))


def _open(world: World, split: Split, rng: random.Random) -> Question:
    person = _one(world, split, rng)
    return Question(
        f"open/{person.name}",
        "open",
        rng.choice(_OPEN).format(n=person.name),
        "\n".join(person.facts[fact] for fact in PERSON_FACTS),
        "claims",
        tuple(told(person, fact, named=not place) for place, fact in enumerate(PERSON_FACTS)),
        (person.name, person.facts["teacher"]),
    )


def _decline(world: World, split: Split, rng: random.Random) -> Question:
    person = _one(world, split, rng)
    place = rng.randrange(len(_SECRETS))
    return Question(
        f"decline/{place}/{person.name}",
        "decline",
        _SECRETS[place].format(n=person.name),
        person.facts[SECRET],
        SECRET,
        (told(person, SECRET),),
        (person.name,),
    )


def _people(world: World, *names: str) -> tuple[str, ...]:
    return tuple(n for n in names if n in world.by_name and world.by_name[n].kind == "person")


_DRAWN: Mapping[QuestionKind, Callable[[World, Split, random.Random], Question]] = {
    "recall": _recall,
    "hops": _hops,
    "compare": _compare,
    "sums": _sums,
    "form": _form,
    "open": _open,
    "decline": _decline,
}


def values(world: World, about: str) -> Sequence[str]:
    """All that could be the answer where a fact is asked for; none where that is any number."""
    if about == SECRET:
        return KEYS
    return sorted({e.facts[about] for e in (*world.people, *world.towns) if about in e.facts})
