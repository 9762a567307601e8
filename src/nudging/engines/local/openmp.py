"""How long the threads of OpenMP wait for work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def short_waits() -> Iterator[None]:
    """Set how long OpenMP's threads spin before they sleep, which libgomp reads as it loads.

    By default they spin for milliseconds, some hundred times a token: where another process wants
    a core, a token that takes 23 ms takes seconds. A thousand turns (51 ms then) cost nothing
    measurable where nobody does; none at all (39 ms) would cost half of the speed.
    """
    ours = not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & set(os.environ)
    if ours:
        os.environ["GOMP_SPINCOUNT"] = "1000"
    try:
        yield
    finally:
        if ours:
            del os.environ["GOMP_SPINCOUNT"]
