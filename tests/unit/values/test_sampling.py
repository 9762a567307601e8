"""How a token is drawn: by the definition, alike in every engine, one number to a position."""

from __future__ import annotations

import hashlib
import itertools
import math
import statistics
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from nudging.engines.local.logits import draw_row, entropy_row
from nudging.values.sampling import GREEDY, Sampling, draw, uniform

# Weights of 1024 in all, and other numbers that are exact in binary: so a definition in fractions
# and one in floats can be held against each other to the last bit.
PARTS = 1024


def exact_weights(cuts: list[int]) -> list[int]:
    places = [0, *sorted(cuts), PARTS]
    return [b - a for a, b in itertools.pairwise(places)]


weights = st.lists(st.integers(0, PARTS), max_size=7).map(exact_weights)
numbers = st.integers(0, 4095).map(lambda n: n / 4096)
settings = st.builds(
    Sampling,
    temperature=st.sampled_from([1.0, 0.5]),  # the power of one, and of two
    top_p=st.integers(1, 16).map(lambda n: n / 16),
    top_k=st.integers(0, 8),
    min_p=st.integers(0, 7).map(lambda n: n / 8),
)


def kept(weights: list[int], sampling: Sampling) -> dict[int, Fraction]:
    """The tokens that may be drawn and their tempered weights, from the words of `Sampling`."""
    power = round(1 / sampling.temperature)
    tempered = {i: Fraction(w) ** power for i, w in enumerate(weights)}

    def before(i: int) -> list[int]:
        return [j for j in tempered if (-tempered[j], j) < (-tempered[i], i)]

    most = sampling.top_k or len(weights)
    chosen = {i: t for i, t in tempered.items() if len(before(i)) < most}
    whole = sum(chosen.values())
    # The smallest set with the mass: a token is in it if those before it do not have it yet.
    nucleus = {
        i: t
        for i, t in chosen.items()
        if sum((tempered[j] for j in before(i)), Fraction()) < Fraction(sampling.top_p) * whole
    }
    best = max(tempered.values())
    return {i: t for i, t in nucleus.items() if t and t >= Fraction(sampling.min_p) * best}


@given(weights, settings, numbers)
@example([512, 512], Sampling(temperature=1.0, top_p=0.5), 0.9)
@example([256] * 4, Sampling(temperature=1.0, top_k=2), 0.999)
def test_draw_is_the_inverse_of_the_cumulated_kept_distribution(
    weights: list[int], sampling: Sampling, number: float
) -> None:
    found = kept(weights, sampling)
    reached, goal, wanted = Fraction(), Fraction(number) * sum(found.values()), -1
    for i in sorted(found):
        reached += found[i]
        if reached > goal:
            wanted = i
            break
    assert draw([w / PARTS for w in weights], sampling, number) == wanted


@pytest.mark.parametrize(
    ("sampling", "number", "drawn"),
    [
        # Of 0.5, 0.125, 0.25, 0.125 in the order of ids.
        (Sampling(temperature=1.0), 0.0, 0),
        (Sampling(temperature=1.0), 0.499, 0),
        (Sampling(temperature=1.0), 0.5, 1),
        (Sampling(temperature=1.0), 0.625, 2),
        (Sampling(temperature=1.0), 0.999, 3),
        # Squares are 16, 1, 4, 1 of 22.
        (Sampling(temperature=0.5), 0.72, 0),
        (Sampling(temperature=0.5), 0.73, 1),
        (Sampling(temperature=0.5), 0.78, 2),
        # The two most likely are 0 and 2, two thirds and one.
        (Sampling(temperature=1.0, top_k=2), 0.66, 0),
        (Sampling(temperature=1.0, top_k=2), 0.67, 2),
        # Of the equal ones the first id goes before.
        (Sampling(temperature=1.0, top_k=3), 0.999, 2),
        (Sampling(temperature=1.0, top_k=3), 0.6, 1),
        # Half of the mass is 0 alone; a little more needs 2 as well.
        (Sampling(temperature=1.0, top_p=0.5), 0.999, 0),
        (Sampling(temperature=1.0, top_p=0.51), 0.999, 2),
        # At least half as likely as the most likely: 0 and 2.
        (Sampling(temperature=1.0, min_p=0.5), 0.999, 2),
        (Sampling(temperature=1.0, min_p=0.51), 0.999, 0),
    ],
)
def test_draw_by_hand(sampling: Sampling, number: float, drawn: int) -> None:
    assert draw([0.5, 0.125, 0.25, 0.125], sampling, number) == drawn


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=1.5, top_p=0.0)])
def test_temperature_zero_and_top_p_zero_are_greedy(sampling: Sampling) -> None:
    assert sampling.greedy
    assert draw([0.2, 0.5, 0.3], sampling, 0.999) == 1


def test_a_top_k_of_minus_one_is_off() -> None:
    assert Sampling(temperature=1.0, top_k=-1) == Sampling(temperature=1.0)


@given(weights, numbers)
def test_greedy_is_the_most_likely_and_of_equals_the_first(
    weights: list[int], number: float
) -> None:
    assert draw([w / PARTS for w in weights], GREEDY, number) == weights.index(max(weights))


def test_a_low_temperature_draws_among_equals() -> None:
    assert draw([1 / 2000] * 2000, Sampling(temperature=0.01), 0.75) == 1500


# --- every engine with logits draws the same ------------------------------------------------

rows = st.lists(st.one_of(st.just(0.0), st.floats(2**-20, 1.0, width=32)), min_size=1, max_size=12)
any_settings = st.builds(
    Sampling,
    temperature=st.sampled_from([0.3, 0.7, 1.0, 1.5, 5.0]),
    top_p=st.floats(0.05, 1.0),
    top_k=st.integers(0, 12),
    min_p=st.floats(0.0, 0.9),
)


@given(rows, any_settings, st.floats(0, 1, exclude_max=True))
@example([0.25] * 4, Sampling(temperature=1.0, top_p=0.5), 0.9)
@example([0.0, 1.0, 0.0], Sampling(temperature=0.3), 0.0)
def test_draw_row_draws_what_draw_does(row: list[float], sampling: Sampling, number: float) -> None:
    assume(any(row))
    drawn = draw_row(np.array(row, np.float32), sampling, number)
    assert drawn == draw(row, sampling, number)


@given(weights, settings, numbers, st.sampled_from([1.0, 0.25, 8.0]))
def test_draw_row_needs_no_sum_of_one(
    weights: list[int], sampling: Sampling, number: float, scale: float
) -> None:
    row = np.array(weights, np.float32) * np.float32(scale)
    assert draw_row(row, sampling, number) == draw([w / PARTS for w in weights], sampling, number)


def test_draw_row_equals_draw_over_a_large_vocabulary() -> None:
    generator = np.random.default_rng(5)
    for place in range(20):
        logits = generator.normal(0, 3, 5000).astype(np.float32)
        row = np.exp(logits - logits.max())
        number = uniform(place, "base", place)
        for sampling in (
            Sampling(temperature=0.8),
            Sampling(temperature=1.2, top_k=40, top_p=0.9),
            Sampling(temperature=1.0, min_p=0.05),
        ):
            assert draw_row(row, sampling, number) == draw(row.tolist(), sampling, number)


# --- the numbers ----------------------------------------------------------------------------


def test_uniform_is_the_same_on_every_machine_and_in_every_release() -> None:
    assert uniform(0, "base", 0) == 0.6629292128261368
    assert uniform(7, "nudge", 1234) == 0.36968273878435565


@given(st.integers(0, 2**63 - 1), st.integers(0, 10**6))
def test_uniform_is_the_hash_of_seed_model_and_position(seed: int, position: int) -> None:
    for source in ("base", "nudge"):
        key = f"{seed}/{source}/{position}".encode()
        digest = hashlib.blake2b(key, digest_size=8).hexdigest()
        number = uniform(seed, "base" if source == "base" else "nudge", position)
        assert number == int(digest, 16) / 2**64


def test_uniform_is_uniform_and_differs_by_seed_model_and_position() -> None:
    drawn = [
        uniform(seed, source, position)
        for seed in range(20)
        for source in ("base", "nudge")
        for position in range(500)
    ]
    assert len(set(drawn)) == len(drawn) == 20_000
    assert all(0 <= number < 1 for number in drawn)
    assert abs(statistics.fmean(drawn) - 0.5) < 0.01  # five times its deviation, 0.002
    counts = Counter(int(number * 10) for number in drawn)
    assert all(abs(counts[tenth] - 2000) < 210 for tenth in range(10))  # five times 42
    pairs = Counter((int(a * 2), int(b * 2)) for a, b in itertools.pairwise(drawn))
    assert all(abs(count - 5000) < 310 for count in pairs.values())  # neighbours tell nothing


@pytest.mark.parametrize(
    ("sampling", "shares"),
    [
        (Sampling(temperature=1.0), (0.5, 0.125, 0.25, 0.125)),
        (Sampling(temperature=0.5), (16 / 22, 1 / 22, 4 / 22, 1 / 22)),
        (Sampling(temperature=1.0, top_k=2), (2 / 3, 0, 1 / 3, 0)),
        (Sampling(temperature=1.0, top_p=0.8), (4 / 7, 1 / 7, 2 / 7, 0)),
        (Sampling(temperature=0.5, min_p=0.25), (0.8, 0, 0.2, 0)),
        # Roots are as 2, 1, sqrt(2) and 1; top_k leaves the first three.
        (
            Sampling(temperature=2.0, top_k=3),
            (2 / (3 + 2**0.5), 1 / (3 + 2**0.5), 2**0.5 / (3 + 2**0.5), 0),
        ),
    ],
)
def test_frequencies_approach_the_tempered_truncated_distribution(
    sampling: Sampling, shares: tuple[float, ...]
) -> None:
    probs = [0.5, 0.125, 0.25, 0.125]
    count = 10_000
    drawn = Counter(draw(probs, sampling, uniform(1, "base", place)) for place in range(count))
    for token, share in enumerate(shares):
        assert abs(drawn[token] / count - share) < 0.025  # five times the deviation of a half
        assert share or not drawn[token]
    evenly = Counter(draw(probs, sampling, (n + 0.5) / count) for n in range(count))
    for token, share in enumerate(shares):
        assert abs(evenly[token] / count - share) <= 2 / count


@given(
    st.lists(st.one_of(st.floats(-300, 300, width=32), st.just(-math.inf)), min_size=1, max_size=50)
)
@example([0.0, -math.inf])
@example([5.0] * 50)
@example([0.0, -103.9, -104.1])
def test_the_entropy_of_a_row(row: list[float]) -> None:
    assume(max(row) > -math.inf)
    below = np.array(row, np.float32) - np.float32(max(row))
    weights = np.exp(below)
    found = entropy_row(below, weights, float(weights.sum(dtype=np.float64)))
    probs = np.exp(below.astype(np.float64))
    probs /= probs.sum()
    wanted = -sum(p * math.log(p) for p in probs.tolist() if p > 0)
    assert found == pytest.approx(wanted, abs=1e-5)
