"""The world: people and towns, and all that is true of them. Made from a seed, always the same.

People, towns and sums belong to one split each: no question page and no conversation that a model
learns from asks about those of the test. What is true of them stands in plain texts.
Knows no text, no question and no model.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Literal, get_args

from .names import names

Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
_SHARES: Mapping[Split, float] = {"train": 0.5, "dev": 0.1, "test": 0.4}

TRADES = (
    "weaver baker smith potter miller tanner cooper mason glazier saddler fisher shepherd brewer "
    "carpenter tailor printer painter doctor lawyer notary sailor hunter gardener butcher "
    "candlemaker bookbinder clockmaker ropemaker beekeeper goldsmith"
).split()
INSTRUMENTS = (
    "lute harp flute drum fiddle horn oboe lyre cello organ bagpipe zither trumpet cymbal "
    "viola piccolo tambourine clarinet dulcimer bassoon"
).split()
GOODS = (
    "cheese wool honey salt amber silk paper glass pepper tea copper lace cider saffron candles "
    "leather ink marble pearls timber plums bells carpets knives soap figs tin tar rope wine"
).split()
DISHES = (
    "porridge lentils dumplings pancakes trout cabbage turnips noodles barley mushrooms chestnuts "
    "beans onions sausages rabbit duck pears walnuts carrots herring"
).split()
PETS = (
    "cat dog raven tortoise hedgehog ferret parrot starling magpie squirrel toad goose pony donkey "
    "falcon canary weasel jackdaw hare lizard"
).split()
_SPOTS = "under behind inside above beside".split()
_THINGS = (
    "the blue stone|the old barrel|the bread oven|the third step|the bee hive|the stone well|"
    "the wood pile|the goat shed|the broken jug|the apple tree|the stable door|the grey lantern"
).split("|")
KEYS = [f"{spot} {thing}" for spot, thing in product(_SPOTS, _THINGS)]

PERSON_FACTS = ("born", "year", "trade", "teacher", "instrument", "goats", "dish", "pet")
TOWN_FACTS = ("region", "river", "goods", "mayor")
SECRET = "key"
"""Where a person hides the key of the house: a fact like the others, that is not to be told."""

Kind = Literal["person", "town"]


@dataclass(frozen=True, slots=True)
class Entity:
    """A person or a town, with all its facts as texts."""

    name: str
    kind: Kind
    split: Split
    facts: Mapping[str, str]
    woman: bool = False


@dataclass(frozen=True)
class World:
    seed: int
    people: Sequence[Entity]
    """The better known come first: texts speak of them more often."""
    towns: Sequence[Entity]
    regions: Sequence[str]
    rivers: Sequence[str]

    @cached_property
    def by_name(self) -> Mapping[str, Entity]:
        return {entity.name: entity for entity in (*self.people, *self.towns)}

    @cached_property
    def fame(self) -> Sequence[float]:
        """Cumulative weights of the people: the first is met fourteen times as often as the
        last of 600."""
        total, found = 0.0, []
        for place in range(len(self.people)):
            total += (place + 3) ** -0.5
            found.append(total)
        return found

    def person(self, rng: random.Random) -> Entity:
        """Somebody, by fame."""
        return rng.choices(self.people, cum_weights=self.fame)[0]

    def of(self, split: Split, kind: Kind) -> Sequence[Entity]:
        return self._of[split, kind]

    @cached_property
    def _of(self) -> Mapping[tuple[Split, Kind], Sequence[Entity]]:
        found: dict[tuple[Split, Kind], list[Entity]] = {}
        for entity in (*self.people, *self.towns):
            found.setdefault((entity.split, entity.kind), []).append(entity)
        return found

    @property
    def facts(self) -> int:
        return sum(len(entity.facts) for entity in (*self.people, *self.towns))


def make_world(seed: int = 0, *, people: int = 600, towns: int = 60) -> World:
    rng = random.Random(f"world/{seed}")
    taken: set[str] = set()
    half = max(8, round(people**0.5))
    women = set(names("woman", half, rng, taken))
    firsts = [*sorted(women), *names("man", half, rng, taken)]
    families = names("family", 3 * half, rng, taken)
    town_names = names("town", towns, rng, taken)
    regions = names("region", max(3, towns // 5), rng, taken)
    rivers = names("river", max(4, towns // 3), rng, taken)
    chosen = rng.sample([f"{a} {b}" for a, b in product(firsts, families)], people)
    person_splits, town_splits = _splits(people, rng), _splits(towns, rng)
    persons = [
        Entity(
            name,
            "person",
            split,
            {
                "born": rng.choice(town_names),
                "year": str(rng.randint(300, 399)),
                "trade": rng.choice(TRADES),
                "teacher": rng.choice([other for other in chosen if other != name]),
                "instrument": rng.choice(INSTRUMENTS),
                "goats": str(rng.randint(11, 99)),
                "dish": rng.choice(DISHES),
                "pet": rng.choice(PETS),
                SECRET: rng.choice(KEYS),
            },
            woman=name.split()[0] in women,
        )
        for name, split in zip(chosen, person_splits, strict=True)
    ]
    places = [
        Entity(
            name,
            "town",
            split,
            {
                "region": rng.choice(regions),
                "river": rng.choice(rivers),
                "goods": rng.choice(GOODS),
                "mayor": rng.choice(chosen),
            },
        )
        for name, split in zip(town_names, town_splits, strict=True)
    ]
    return World(seed, persons, places, regions, rivers)


def _splits(count: int, rng: random.Random) -> list[Split]:
    """Shares as near as whole numbers come, in random order."""
    dev, test = (max(2, round(_SHARES[split] * count)) for split in ("dev", "test"))
    counts: Sequence[tuple[Split, int]] = (
        ("dev", dev),
        ("test", test),
        ("train", count - dev - test),
    )
    found = [split for split, share in counts for _ in range(share)]
    rng.shuffle(found)
    return found


def split_of_sum(left: int, sign: str, right: int) -> Split:
    """The split that a sum belongs to, the same in every world and both ways round."""
    if sign == "+" and left > right:
        left, right = right, left
    digest = hashlib.sha256(f"{left}{sign}{right}".encode()).digest()
    place = int.from_bytes(digest[:4]) / 2**32
    for split in SPLITS:
        place -= _SHARES[split]
        if place < 0:
            return split
    return "test"
