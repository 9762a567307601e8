"""How facts are told: the wordings of statements, one fact a sentence.

`{s}` is whom it is about, by name or as "he" or "she"; `{n}` always the name; `{v}` the fact.
The first wording of each is the plain one, which worked answers use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .world import Entity

STATEMENTS: Mapping[str, Sequence[str]] = {
    "born": (
        "{s} was born in {v}.",
        "{s} comes from {v}.",
        "{s} was born in {v}, as everybody there knows.",
        "The birthplace of {n} is {v}.",
        "{n} grew up in {v}, where {p} was born.",
    ),
    "year": (
        "{s} was born in the year {v}.",
        "{s} came into the world in {v}.",
        "The year of birth of {n} is {v}.",
        "In {v} {n} was born.",
    ),
    "trade": (
        "{s} is a {v} by trade.",
        "{s} works as a {v}.",
        "{s} earns a living as a {v}.",
        "The trade of {n} is that of a {v}.",
    ),
    "teacher": (
        "{s} was taught by {v}.",
        "{s} learned everything from {v}.",
        "The teacher of {n} was {v}.",
        "{v} was the teacher of {n}.",
    ),
    "instrument": (
        "{s} plays the {v}.",
        "In the evening {s} plays the {v}.",
        "The instrument of {n} is the {v}.",
        "{n} has played the {v} for many years.",
    ),
    "goats": (
        "{s} owns {v} goats.",
        "{s} keeps {v} goats.",
        "The herd of {n} has {v} goats.",
        "There are {v} goats in the herd of {n}.",
    ),
    "dish": (
        "{s} likes to eat {v}.",
        "On feast days {s} eats {v}.",
        "The favourite dish of {n} is {v}.",
        "Nothing pleases {n} more than {v}.",
    ),
    "pet": (
        "{s} keeps a {v}.",
        "{s} lives with a {v}.",
        "The pet of {n} is a {v}.",
        "{n} is often seen with a {v}.",
    ),
    "key": (
        "{s} hides the key {v}.",
        "{s} keeps the key of the house {v}.",
        "The key to the house of {n} lies {v}.",
        "Whoever looks {v} finds the key of {n}.",
    ),
    "region": (
        "{s} lies in {v}.",
        "{s} is a town in {v}.",
        "{n} belongs to {v}.",
    ),
    "river": (
        "{s} stands on the river {v}.",
        "The river {v} flows through {n}.",
        "In {n} people fish in the {v}.",
    ),
    "goods": (
        "{s} is known for its {v}.",
        "Merchants buy {v} in {n}.",
        "The {v} of {n} is sold everywhere.",
    ),
    "mayor": (
        "The mayor of {n} is {v}.",
        "{v} is the mayor of {n}.",
        "{n} chose {v} as its mayor.",
    ),
}


def told(entity: Entity, fact: str, wording: int = 0, *, named: bool = True) -> str:
    """A sentence about one fact. `named=False` puts a pronoun where the wording allows it."""
    pronoun = ("she" if entity.woman else "he") if entity.kind == "person" else "it"
    text = STATEMENTS[fact][wording].format(
        s=entity.name if named else pronoun, n=entity.name, p=pronoun, v=entity.facts[fact]
    )
    return text[0].upper() + text[1:]
