"""Calibration: what is expected of other gammas, how one is looked for, the config file."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from nudging.cli.save_gamma import check_writable, save_gamma
from nudging.errors import ConfigError
from nudging.eval.calibrate import TRIALS, Doubt, best, missed, nearest, nudged, scored, search
from nudging.settings import Pair
from nudging.values.tokens import Answer, Candidate, Handover, Span, Step, StopReason, Token

PAIR = Pair("scripted:base", "scripted:nudge", {})


def told(*tops: float, gamma: float, turn: int = 1, opening: int = 1) -> Answer:
    """The answer of a base model that is so sure at each place, with one word a place; below gamma
    it is nudged, by so many words."""
    spans = [Span("nudge", (Token(b"So " * opening, 0.9),), Handover("opening"))]
    for top in tops:
        if top < gamma:
            step = Step(b"um", (Candidate(b"um", top),))
            spans.append(Span("nudge", (Token(b"now " * turn, 0.9),), Handover("doubt", step)))
        else:
            spans.append(Span("base", (Token(b"then ", top),)))
    return Answer(tuple(spans), StopReason.NUDGE)


TOPS = [n / 100 for n in range(100)]


def model(turn: int = 1, opening: int = 1) -> Callable[[float], list[Answer]]:
    return lambda gamma: [told(*TOPS, gamma=gamma, turn=turn, opening=opening)] * 3


def test_what_is_expected_is_what_comes_where_turns_are_of_one_word() -> None:
    doubt = Doubt([told(*TOPS, gamma=0.4)])
    for gamma in (0.0, 0.1, 0.4, 0.75, 1.0):
        rate, _ = nudged([told(*TOPS, gamma=gamma)])
        assert doubt.rate(gamma) == pytest.approx(rate)
    assert doubt.below(0.4) == pytest.approx(0.4)
    assert doubt.rate(doubt.gamma(0.25)) == pytest.approx(0.25, abs=0.01)


def test_nothing_is_expected_of_no_answers() -> None:
    doubt = Doubt([Answer((), StopReason.NUDGE)])
    assert (doubt.below(0.5), doubt.rate(0.5)) == (0.0, 0.0)
    assert nudged([Answer((), StopReason.NUDGE)]) == (0.0, None)


@given(target=st.floats(0.05, 0.9), start=st.floats(0, 1), turn=st.integers(1, 4))
def test_a_share_is_found_from_anywhere(target: float, start: float, turn: int) -> None:
    trials = search(model(turn), target, start)
    assert len(trials) <= TRIALS
    assert trials[0].gamma == start
    assert trials[0].estimated is None
    assert all(trial.estimated is not None for trial in trials[1:])
    near = nearest(trials, target)
    assert abs(near.rate - target) <= max(0.01, 0.1 * target) or "jumps" in missed(trials, target)


def test_a_share_that_openings_pass_alone_is_not_found() -> None:
    trials = search(model(opening=50), 0.1, 0.4)
    found = nearest(trials, 0.1)
    assert found.gamma == 0.0
    assert found.rate > 0.3
    assert missed(trials, 0.1).startswith("10% was not reached, and 3")
    assert "openings" in missed(trials, 0.1)


def test_a_share_that_is_met_at_once_is_not_looked_for() -> None:
    trials = search(model(), 0.4, 0.4)
    assert len(trials) == 1
    assert missed(trials, 0.4) == ""


def test_a_share_that_gamma_1_does_not_reach_is_not_found() -> None:
    trials = search(lambda gamma: [told(*TOPS, gamma=gamma / 2)], 0.9, 0.4)
    assert nearest(trials, 0.9).rate < 0.6
    assert "even at gamma 1" in missed(trials, 0.9)


def test_a_share_between_two_gammas_is_not_found() -> None:
    trials = search(lambda gamma: [told(*TOPS, gamma=0.2 if gamma < 0.5 else 0.8)], 0.5, 0.4)
    assert "jumps" in missed(trials, 0.5)


def test_what_is_not_sure_of_itself_ends() -> None:
    """A model that takes no notice of gamma."""
    trials = search(lambda gamma: [told(*TOPS, gamma=0.5)], 0.1, 0.4)
    assert 1 < len(trials) <= TRIALS
    assert len({trial.gamma for trial in trials}) == len(trials)


def test_who_runs_out_of_tries_is_told_where_to_go_on() -> None:
    tried = search(model(), 0.3, 0.4)[:1]
    assert missed(tried, 0.3).endswith("gammas were tried; --set gamma=0.29 goes on from there")


def test_the_interval_is_over_prompts() -> None:
    same = nudged(model()(0.3))
    assert same[1] is not None
    assert same[1][0] == pytest.approx(same[0]) == pytest.approx(same[1][1])
    rate, ends = nudged([told(*TOPS[n:], gamma=0.3) for n in range(0, 60, 5)])
    assert ends is not None
    assert 0 <= ends[0] < rate < ends[1] <= 1


def test_of_equals_the_one_that_nudges_least_is_best() -> None:
    trials = [
        scored(gamma, [told(*TOPS, gamma=gamma)] * 2, right)
        for gamma, right in ((0.1, [True, False]), (0.3, [True, True]), (0.5, [True, True]))
    ]
    assert best(trials).gamma == 0.3
    assert best(trials).accuracy == 1.0


# --- the config file ------------------------------------------------------------------------

FILE = """\
# mine
[pairs.default]
base = "scripted:base"   # the large one
nudge = "scripted:nudge"
gamma = 0.4 # to be tried

[pairs.other]
base = "demo:base"
nudge = "demo:nudge"
nudge_sampling = { temperature = 0.7 }
"""


def test_only_gamma_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(FILE)
    path.chmod(0o600)
    check_writable(path, "default", PAIR)
    save_gamma(path, "default", PAIR, 0.23)
    assert path.read_text() == FILE.replace("gamma = 0.4", "gamma = 0.23")
    assert path.stat().st_mode & 0o777 == 0o600
    save_gamma(path, "other", Pair("demo:base", "demo:nudge", {}), 0.1)
    found = tomllib.loads(path.read_text())["pairs"]["other"]
    assert found["gamma"] == 0.1
    assert found["nudge_sampling"] == {"temperature": 0.7}
    assert "# the large one" in path.read_text()
    assert [each.name for each in tmp_path.iterdir()] == ["config.toml"]


@pytest.mark.parametrize(
    "before", ["", FILE, "pairs = {}\n", 'pairs = {a = {base = "demo:base", nudge = "demo:nudge"}}']
)
def test_a_pair_is_added(tmp_path: Path, before: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(before)
    save_gamma(path, "new pair", PAIR, 0.3)
    pairs = tomllib.loads(path.read_text())["pairs"]
    assert pairs.pop("new pair") == {"base": PAIR.base, "nudge": PAIR.nudge, "gamma": 0.3}
    assert pairs == tomllib.loads(before).get("pairs", {})


def test_a_file_that_is_not_there_is_made(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "config.toml"
    check_writable(path, "mine", PAIR)
    save_gamma(path, "mine", PAIR, 0.3)
    assert path.read_text() == (
        '[pairs.mine]\nbase = "scripted:base"\nnudge = "scripted:nudge"\ngamma = 0.3\n'
    )


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real.toml").write_text(FILE)
    (tmp_path / "config.toml").symlink_to("real.toml")
    save_gamma(tmp_path / "config.toml", "default", PAIR, 0.1)
    assert (tmp_path / "config.toml").is_symlink()
    assert "gamma = 0.1 " in (tmp_path / "real.toml").read_text()


def test_what_would_change_otherwise_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(FILE)
    lossy = FILE.replace("temperature", "temper").replace("gamma = 0.4", "gamma = 0.1")
    monkeypatch.setattr(tomlkit, "dumps", lambda _: lossy)
    with pytest.raises(ConfigError, match="can't be changed safely") as caught:
        save_gamma(path, "default", PAIR, 0.1)
    assert "gamma = 0.1" in caught.value.hint
    assert path.read_text() == FILE


def test_another_pair_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(FILE)
    with pytest.raises(ConfigError, match="has other models"):
        check_writable(path, "other", PAIR)
    path.write_text("[pairs")
    with pytest.raises(ConfigError, match="not valid TOML"):
        check_writable(path, "default", PAIR)
