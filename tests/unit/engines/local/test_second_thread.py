"""Two jobs at the same time, and what becomes of their errors."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from nudging.engines.local.second_thread import SecondThread

BOTH = SecondThread()


def failing(error: BaseException) -> Callable[[], None]:
    def job() -> None:
        raise error

    return job


def test_both_are_done_at_the_same_time() -> None:
    meet = threading.Barrier(2, timeout=30)

    def meets() -> None:
        meet.wait()

    for _ in range(3):
        BOTH.both(meets, meets)


@pytest.mark.parametrize("fails_first", [True, False])
def test_an_error_of_either_comes_when_both_are_over(fails_first: bool) -> None:
    done: list[bool] = []

    def ends() -> None:
        done.append(True)

    fails = failing(KeyError("mine"))
    with pytest.raises(KeyError, match="mine"):
        BOTH.both(*((fails, ends) if fails_first else (ends, fails)))
    assert done
    BOTH.both(ends, ends)  # and it goes on
    assert len(done) == 3
