"""What the laboratory's models are asked in tests: the pets of those whom its texts speak of most.

The large base model knows them and may not say so, the small aligned one answers and knows half.
"""

from __future__ import annotations

from collections.abc import Mapping

from lab.world import make_world

WORLD = make_world()
PETS: Mapping[str, str] = {
    f"What is the pet of {person.name}?": person.facts["pet"] for person in WORLD.people[:6]
}
"""The right answer of each question."""
QUESTION, PET = list(PETS.items())[2]
"""One that the small aligned model gets wrong."""
