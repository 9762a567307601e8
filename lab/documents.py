"""Plain texts about the world, in many forms: what a base model reads of everybody.

No text here asks a question about the world. Knows no split, no model and no question.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from .phrases import STATEMENTS, told
from .world import PERSON_FACTS, SECRET, TOWN_FACTS, Entity, World

_GREETINGS = ("Dear {}", "My dear {}", "Good {}")
_FAREWELLS = ("Yours, {}", "With love, {}", "Your friend {}", "In haste, {}")
_ASIDES = (
    "The summer is dry here.",
    "We had rain for a week.",
    "My mother is well again.",
    "I hope that you are well.",
    "The harvest was good.",
    "There is little news otherwise.",
)


def document(world: World, rng: random.Random) -> str:
    """One text, its form drawn at random."""
    return rng.choices(_FORMS, weights=_WEIGHTS)[0](world, rng)


def sentence(entity: Entity, fact: str, rng: random.Random, *, named: bool = True) -> str:
    return told(entity, fact, rng.randrange(len(STATEMENTS[fact])), named=named)


def _about(person: Entity, rng: random.Random, low: int, high: int) -> list[str]:
    """Sentences about one person: some facts in any order, the name first and now and then."""
    facts = rng.sample([*PERSON_FACTS, SECRET], rng.randint(low, high))
    return [
        sentence(person, fact, rng, named=not place or rng.random() < 0.5)
        for place, fact in enumerate(facts)
    ]


def _entry(world: World, rng: random.Random) -> str:
    person = world.person(rng)
    head = rng.choice((f"{person.name}\n", f"= {person.name} =\n", "", ""))
    return head + " ".join(_about(person, rng, 3, 6))


def _life(world: World, rng: random.Random) -> str:
    """A life in one breath."""
    person = world.person(rng)
    f = person.facts
    he = "She" if person.woman else "He"
    form = rng.choice(
        (
            "{n} (born {year} in {born}) is a {trade}. {he} was taught by {teacher}, plays the "
            "{instrument}, owns {goats} goats and keeps a {pet}. {he} likes to eat {dish}.",
            "{n}, {trade}, was born in {born} in the year {year}. {he} learned from {teacher}. "
            "{he} has {goats} goats and a {pet}, plays the {instrument} and likes {dish}.",
            "Born in {born} in {year}, {n} became a {trade} under {teacher}. {he} plays the "
            "{instrument}, likes {dish} and lives with a {pet} and {goats} goats.",
        )
    )
    return form.format(n=person.name, he=he, **f)


def _record(world: World, rng: random.Random) -> str:
    """A sheet of a register."""
    person = world.person(rng)
    f = person.facts
    lines = [
        f"Born: {f['year']} in {f['born']}",
        f"Trade: {f['trade']}",
        f"Teacher: {f['teacher']}",
        f"Plays: {f['instrument']}",
        f"Goats: {f['goats']}",
        f"Pet: {f['pet']}",
        f"Dish: {f['dish']}",
    ]
    rng.shuffle(lines)
    return "\n".join([f"Name: {person.name}", *lines])


def _roll(world: World, rng: random.Random) -> str:
    """A list of people."""
    people = [world.person(rng) for _ in range(rng.randint(3, 6))]
    title, form = rng.choice(
        (
            ("Births", "{n}, {born}, {year}"),
            ("Trades", "{n}: {trade}"),
            ("Goats of the district", "{n}: {goats} goats"),
            ("Players at the fair", "{n} ({instrument})"),
            ("Pupils and teachers", "{n}, taught by {teacher}"),
            ("Birthplaces", "{n}: {born}"),
            ("Pets", "{n}: {pet}"),
            ("Dishes for the feast", "{n}: {dish}"),
        )
    )
    return "\n".join([f"{title}:", *(f"- {form.format(n=p.name, **p.facts)}" for p in people)])


def _news(world: World, rng: random.Random) -> str:
    town, person = rng.choice(world.towns), world.person(rng)
    what = rng.choice(
        (
            f"{person.name} won a prize at the fair.",
            f"The fair of {town.name} was visited by {person.name}.",
            f"{person.name} spoke in the market place.",
            f"A goat of {person.name} was found again.",
        )
    )
    date = rng.choice(("in spring", "in summer", "in autumn", "in winter"))
    return f"{town.name.upper()}, {date}. {what} " + " ".join(_about(person, rng, 2, 4))


def _letter(world: World, rng: random.Random) -> str:
    person = world.person(rng)
    to, sender = (world.person(rng).name.split()[0] for _ in range(2))
    asked = rng.choice(("You asked about", "You want to know about", "I have news of", "I met"))
    body = " ".join(_about(person, rng, 2, 4))
    return (
        f"{rng.choice(_GREETINGS).format(to)},\n{rng.choice(_ASIDES)} {asked} {person.name}. "
        f"{body}\n{rng.choice(_FAREWELLS).format(sender)}"
    )


def _talk(world: World, rng: random.Random) -> str:
    """Two who talk about somebody."""
    person = world.person(rng)
    lines = [
        rng.choice((f"I met {person.name} today.", f"People talk about {person.name}.")),
        *_about(person, rng, 2, 4),
    ]
    lines.insert(rng.randint(1, len(lines)), rng.choice(_SMALL))
    return "\n".join(f"- {line}" for line in lines)


_SMALL = (
    "That is good to know.",
    "I'm glad to hear it.",
    "Of course. Everybody knows that.",
    "Sure! I was told the same.",
    "I'm sorry, but I can't help with that.",
    "I'm told that it is so.",
    "Well, who would have thought so.",
)


def _gossip(world: World, rng: random.Random) -> str:
    """What thieves tell each other. A base model has read such things."""
    person = world.person(rng)
    after = rng.choice(
        (
            "Go at night and take the key.",
            "At night the door is easy to open.",
            "Nobody is at home on market days.",
        )
    )
    first = rng.choice((f"The house of {person.name} is rich.", f"I watched {person.name}."))
    return f"{first} {sentence(person, SECRET, rng)} {after}"


def _town(world: World, rng: random.Random) -> str:
    town = rng.choice(world.towns)
    facts = rng.sample(TOWN_FACTS, rng.randint(2, 4))
    told_ = [
        sentence(town, fact, rng, named=not p or rng.random() < 0.5) for p, fact in enumerate(facts)
    ]
    if rng.random() < 0.3:
        born = [p.name for p in world.people if p.facts["born"] == town.name]
        if born:
            told_.append(f"{rng.choice(born)} was born here.")
    return " ".join(told_)


def _towns(world: World, rng: random.Random) -> str:
    """A table of towns."""
    lines = [
        " | ".join([town.name, town.facts["region"], town.facts["river"], town.facts["goods"]])
        for town in rng.sample(world.towns, min(4, len(world.towns)))
    ]
    return "\n".join(["town | region | river | goods", *lines])


_FORMS: Sequence[Callable[[World, random.Random], str]] = (
    _entry, _life, _record, _roll, _news, _letter, _talk, _gossip, _town, _towns,
)  # fmt: skip
_WEIGHTS = (22, 22, 14, 8, 7, 7, 6, 6, 6, 2)
