"""Something that goes on by passes of models: an answer, or one step of a stream."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple

from .local_model import LocalModel, Need
from .slots import Lease


class Price(NamedTuple):
    """What a pass costs those who wait for it."""

    share: float
    """Seconds for each of them."""
    more: float
    """Seconds that one more row of logits in it takes."""


class Claim(NamedTuple):
    """A slot that a task needs, for a text that begins with `ids`."""

    model: LocalModel
    lease: Lease
    ids: Sequence[int]


class PassTask(ABC):
    """All methods are called in the pass thread."""

    models: Set[LocalModel]
    """Those that it needs."""
    leases: Collection[Lease]
    """Of the slots that it needs."""
    comes_back = False
    """Once it is over, its owner is likely to bring another at once."""

    @abstractmethod
    def claims(self) -> Sequence[Claim]:
        """The slots that it needs to go on."""

    @abstractmethod
    def advance(self) -> Need | None:
        """Go on as far as what is known reaches. The pass that it then needs, the same one each
        time until that is made; None if it is over, or waits for its reader."""

    @abstractmethod
    def fail(self, error: BaseException) -> None:
        """It is over, by an error."""

    @abstractmethod
    def close(self) -> None:
        """Nobody wants it any more."""

    def extend(self, price: Price | None) -> tuple[Need, float] | None:
        """The pass of another model that would extend its draft by a token, and how many seconds
        of its own model this is likely to save. `price`: of the pass that it waits for; None
        before anything is known."""
        return None

    def foresee(self) -> Need | None:
        """The pass of another model that it may need after the one that it waits for."""
        return None

    def guess(self, price: Price | None) -> Sequence[int]:
        """The ids that the pass that it waits for is to look through."""
        return ()


class Made(NamedTuple):
    """Passes that were made up to some moment, of all models."""

    passes: int = 0
    seconds: float = 0.0
    """By what such passes usually take."""


@dataclass(slots=True, eq=False)
class Place:
    """A task that waits for a pass."""

    task: PassTask
    need: Need
    since: Made
    """What had been made when the wait began."""
