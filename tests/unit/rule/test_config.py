"""Options, presets, engine specs and the config file: what is taken, and what is refused how."""

from __future__ import annotations

import math
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nudging import NudgedModel
from nudging.engines.spec import Spec, parse_spec
from nudging.errors import ConfigError, MissingExtra, SpecError
from nudging.rule.config import PRESETS, Config, Preset
from nudging.rule.trigger import Bound, Either
from nudging.settings import Pair, read_config
from nudging.values.sampling import GREEDY, Sampling


def refused(preset: str = "default", **options: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        Config.of(preset, **options)
    return caught.value


# --- presets (design, section 3) ------------------------------------------------------------


def test_preset_default() -> None:
    config = Config.of()
    assert config == Config()
    assert (config.opener, config.takeover, config.words) == ("nudge", "agreement", "any")
    assert (config.stop, config.guards, config.length) == ("consult", "loop", "tokens")
    assert (config.gamma, config.max_tokens, config.max_rounds) == (0.4, 512, None)
    assert config.in_doubt == Bound("top1", 0.4)
    assert (config.base_sampling, config.nudge_sampling) == (GREEDY, GREEDY)


def test_preset_official_is_the_authors_code() -> None:
    config = Config.of("official")
    assert (config.opener, config.takeover, config.words) == ("nudge", "agreement", "space")
    assert (config.stop, config.lookahead, config.guards) == ("lookahead", 16, "none")
    assert (config.length, config.max_tokens, config.max_rounds) == ("official", 512, 150)
    assert config.gamma == 0.4
    assert config.in_doubt == Bound("top1", 0.4)


def test_preset_paper_opens_with_the_base_and_takes_one_word() -> None:
    config = Config.of("paper")
    assert (config.opener, config.takeover, config.words) == ("base", "word", "space")
    assert (config.stop, config.lookahead, config.guards) == ("lookahead", 16, "none")
    assert config.gamma == 0.4
    assert config.in_doubt == Bound("top1", 0.4)


def test_preset_paper_has_the_length_of_the_official() -> None:
    config = Config.of("paper")
    assert (config.length, config.max_tokens, config.max_rounds) == ("official", 512, 150)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_lets_gamma_length_stops_and_sampling_be_set(preset: str) -> None:
    config = Config.of(preset, gamma=0.3, max_tokens=7, stop_strings=["x"], temperature=0.5)
    assert config.preset == preset
    assert (config.gamma, config.max_tokens, config.stop_strings) == (0.3, 7, ("x",))
    assert config.base_sampling == config.nudge_sampling == Sampling(temperature=0.5)


@pytest.mark.parametrize("preset", ["official", "paper"])
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("trigger", "margin<0.1"),
        ("takeover", "confident"),
        ("words", "any"),
        ("stop", "either"),
        ("consent", 0.5),
        ("guards", "loop"),
        ("max_rounds", 3),
        ("lookahead", 8),
    ],
)
def test_what_makes_a_preset_is_fixed(preset: str, option: str, value: Any) -> None:
    error = refused(preset, **{option: value})
    assert error.option == option
    assert option in str(error)
    assert "default" in error.hint
    assert getattr(Config.of(**{option: value}), option) is not None


def test_a_fixed_option_may_be_said_again() -> None:
    assert Config.of("official", stop="lookahead", max_rounds=150) == Config.of("official")


@pytest.mark.parametrize(("option", "value"), [("opener", "nudge"), ("lookahead", 16)])
def test_a_fixed_option_may_be_said_again_where_it_is_the_default(option: str, value: Any) -> None:
    assert Config.of("official", **{option: value}) == Config.of("official")


def test_an_unknown_preset_is_told_those_there_are() -> None:
    error = refused("offical")
    assert error.option == "preset"
    assert all(name in error.hint for name in PRESETS)


# --- options --------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["gama", "Gamma", "preset_", "temprature", "in_doubt"])
def test_an_unknown_option_is_named_with_those_there_are(option: str) -> None:
    given: dict[str, Any] = {option: 1}
    error = refused(**given)
    assert error.option == option
    assert option in str(error)
    assert "gamma" in error.hint
    assert "temperature" in error.hint


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("gamma", bad) for bad in (math.nan, math.inf, -math.inf, -0.1, 1.1, True, "0.4", None)),
        *(("consent", bad) for bad in (0, -0.1, 1.1, math.nan, "0.2", True)),
        *(("max_tokens", bad) for bad in (0, -1, 1.5, "9", True, None)),
        *(("lookahead", bad) for bad in (3, 1025, 16.0, True)),
        *(("max_rounds", bad) for bad in (0, -1, 1.5, True)),
        ("opener", "both"),
        ("takeover", "never"),
        ("words", "commas"),
        ("stop", "never"),
        ("guards", "all"),
        ("length", "characters"),
        ("trigger", "top1>0.4"),
        ("trigger", 0.4),
        ("stop_strings", "END"),
        ("stop_strings", [1]),
        ("stop_strings", None),
        ("base_sampling", 0.7),
        ("nudge_sampling", "greedy"),
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("top_p", -0.1),
        ("top_p", 1.1),
        ("top_p", math.nan),
        ("top_k", -2),
        ("min_p", 1),
        ("min_p", -0.1),
        ("seed", -1),
        ("seed", 2**63),
    ],
)
def test_a_bad_value_names_its_option(option: str, value: Any) -> None:
    error = refused(**{option: value})
    assert error.option == option
    assert option in str(error)
    assert not any(word in str(error) + error.hint for word in ("tuple", "or None", "()"))
    assert error.status == 400


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("temperature", "0.7"),
        ("temperature", None),
        ("top_p", "0.9"),
        ("top_k", 1.5),
        ("top_k", "4"),
        ("min_p", None),
        ("seed", "x"),
        ("seed", 1.5),
    ],
)
def test_a_sampling_value_of_the_wrong_type_names_its_option(option: str, value: Any) -> None:
    assert refused(**{option: value}).option == option


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("gamma", 0),
        ("gamma", 1),
        ("consent", 1),
        ("max_tokens", 1),
        ("lookahead", 4),
        ("lookahead", 1024),
        ("max_rounds", 1),
        ("max_rounds", None),
    ],
)
def test_the_edges_of_a_range_are_in_it(option: str, value: Any) -> None:
    assert getattr(Config.of(**{option: value}), option) == value


def test_a_trigger_is_read_from_text_or_is_any_function() -> None:
    text = Config.of(trigger="top1<0.5 or entropy>2")
    assert text.in_doubt == Either(Bound("top1", 0.5), Bound("entropy", 2.0), any_of=True)
    own = Config.of(trigger=lambda step: step.is_end)
    assert own.in_doubt is own.trigger


@given(st.floats(0, 1))
def test_gamma_is_the_bound_of_the_trigger_in_force(gamma: float) -> None:
    assert Config.of(gamma=gamma).in_doubt == Bound("top1", gamma)


# --- sampling tables ------------------------------------------------------------------------


def test_sampling_options_are_shared_and_a_table_goes_before_them() -> None:
    config = Config.of(temperature=0.7, seed=3, nudge_sampling={"temperature": 0.0, "top_k": 5})
    assert config.base_sampling == Sampling(temperature=0.7, seed=3)
    assert config.nudge_sampling == Sampling(temperature=0.0, top_k=5, seed=3)


def test_a_sampling_object_is_taken_as_it_is() -> None:
    given = Sampling(temperature=1.0, min_p=0.1)
    config = Config.of(base_sampling=given)
    assert config.base_sampling == given
    assert config.nudge_sampling == GREEDY


def test_an_unknown_option_of_a_sampling_table_is_named_with_its_table() -> None:
    assert refused(base_sampling={"heat": 1}).option == "base_sampling.heat"


# --- engine specs ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "path", "model", "options"),
    [
        ("demo:base", "demo", "base", "", {}),
        ("scripted:nudge?delay=0.02", "scripted", "nudge", "", {"delay": "0.02"}),
        ("llama:/m/x.gguf?n_ctx=4096&n=", "llama", "/m/x.gguf", "", {"n_ctx": "4096", "n": ""}),
        ("llama:C:\\m\\x.gguf", "llama", "C:\\m\\x.gguf", "", {}),
        ("hf:org/name?dtype=bfloat16", "hf", "org/name", "", {"dtype": "bfloat16"}),
        ("hf:org/name?", "hf", "org/name", "", {}),
        ("http://h:8000/v1#org/m", "http", "http://h:8000/v1", "org/m", {}),
        ("http://h:8000/v1/", "http", "http://h:8000/v1", "", {}),
        ("https://h/v1#m?dialect=vllm", "http", "https://h/v1", "m", {"dialect": "vllm"}),
        ("https://h/v1?dialect=vllm#m", "http", "https://h/v1", "m", {"dialect": "vllm"}),
        ("http://[::1]:80/v1", "http", "http://[::1]:80/v1", "", {}),
        ("hf:m?name=a%20b", "hf", "m", "", {"name": "a b"}),
    ],
)
def test_parse_spec(text: str, kind: Any, path: str, model: str, options: dict[str, str]) -> None:
    assert parse_spec(text) == Spec(kind, path, model, options, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "demo",
        "gpt:4",
        "Llama:x.gguf",
        "ftp://h/v1",
        "/m/x.gguf",
        "llama:",
        "hf:?dtype=bfloat16",
        "http://",
        "http:///v1",
        "http://:8000/v1",
        "llama:x.gguf?n_ctx",
        "llama:x.gguf?n_ctx=1&&n=2",
        "http://h/v1#m?dialect",
    ],
)
def test_what_is_no_spec_is_refused_with_the_grammar(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(text)
    assert "llama:PATH.gguf" in caught.value.hint
    assert caught.value.status == 400


def test_a_broken_address_is_a_spec_error() -> None:
    with suppress(SpecError):
        parse_spec("http://[::1/v1")


@pytest.mark.parametrize("text", ["http://me:hush@h/v1", "https://hush@h/v1#m", "http://me:hush@h"])
def test_a_password_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(SpecError, match="password") as caught:
        parse_spec(text)
    assert "hush" not in str(caught.value) + caught.value.hint
    assert "api_key_env" in caught.value.hint


def test_a_password_is_not_repeated_where_the_host_is_missing() -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec("http://me:hush@/v1")
    assert "hush" not in str(caught.value)


@given(st.text(max_size=30))
def test_any_text_is_a_spec_or_a_spec_error(text: str) -> None:
    for spec in (text, f"llama:{text}", f"hf:m?{text}", f"http://h/v1#{text}"):
        with suppress(SpecError):
            assert parse_spec(spec).text == spec


# --- the config file ------------------------------------------------------------------------


def config_file(folder: Path, text: str) -> Path:
    path = folder / "nudging.toml"
    path.write_text(text, encoding="utf-8")
    return path


PAIR = '[pairs.mine]\nbase = "demo:base"\nnudge = "demo:nudge"\n'


def test_read_config_gives_pairs_with_their_options(tmp_path: Path) -> None:
    path = config_file(
        tmp_path,
        PAIR
        + 'gamma = 0.3\nprefix = "Q: "\nbase_form = "plain"\nstop_strings = ["END"]\n'
        + "nudge_sampling = { temperature = 0.5 }\n"
        + '[pairs.other]\nbase = "hf:a"\nnudge = "hf:b"\npreset = "official"\n',
    )
    options = {
        "gamma": 0.3,
        "prefix": "Q: ",
        "base_form": "plain",
        "stop_strings": ["END"],
        "nudge_sampling": {"temperature": 0.5},
    }
    assert read_config(path) == {
        "mine": Pair("demo:base", "demo:nudge", options, f"{path}: pair 'mine'"),
        "other": Pair("hf:a", "hf:b", {"preset": "official"}, f"{path}: pair 'other'"),
    }


def test_an_empty_config_has_no_pairs(tmp_path: Path) -> None:
    assert read_config(config_file(tmp_path, "")) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[pairs", "not valid TOML"),
        ("[pair.mine]\n", "'pair'"),
        ("gamma = 0.3\n", "'gamma'"),
        ('[pairs.mine]\nbase = "demo:base"\n', "'mine' needs a base and a nudge"),
        ('[pairs.mine]\nbase = "demo:base"\nnudge = 3\n', "'mine' needs a base and a nudge"),
        ("[pairs]\nmine = 3\n", "'mine' needs a base and a nudge"),
        (PAIR + "gama = 0.3\n", "'gama'"),
        (PAIR + "gamma = 3\n", "gamma must be"),
        (PAIR + 'preset = "offical"\n', "'offical'"),
        (PAIR + 'preset = "official"\nstop = "either"\n', "fixes stop"),
        (PAIR + "base_sampling = { heat = 1 }\n", "base_sampling.heat"),
    ],
)
def test_a_bad_config_file_says_what_is_bad(tmp_path: Path, text: str, said: str) -> None:
    path = config_file(tmp_path, text)
    with pytest.raises(ConfigError, match=re.escape(said)) as caught:
        read_config(path)["mine"].check()
    assert path.name in str(caught.value)
    assert caught.value.hint


def test_a_bad_pair_is_no_trouble_of_the_others(tmp_path: Path) -> None:
    path = config_file(tmp_path, PAIR + '[pairs.bad]\nbase = "hf:a"\nnudge = "hf:b"\nfoo = 1\n')
    pairs = read_config(path)
    pairs["mine"].check()
    with pytest.raises(ConfigError, match="pair 'bad': there is no option 'foo'"):
        pairs["bad"].check()
    for bad in ("[pairs.bad]\nbase = 5\n", '[pairs.bad]\nnudge = "hf:b"\n', "[pairs]\nbad = 5\n"):
        path = config_file(tmp_path, bad + PAIR)
        read_config(path)["mine"].check()


def test_a_config_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml"):
        read_config(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="can't read"):
        read_config(tmp_path)
    (tmp_path / "latin.toml").write_bytes("prefix = 'é'".encode("latin-1"))
    with pytest.raises(ConfigError, match="not valid TOML"):
        read_config(tmp_path / "latin.toml")


@pytest.mark.parametrize("text", ["pairs = 3\n", PAIR + 'preset = ["official"]\n'])
def test_pairs_and_presets_of_the_wrong_type_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        read_config(config_file(tmp_path, text))["mine"].check()


def test_an_empty_stop_string_counts_as_none() -> None:
    assert Config.of(stop_strings=["", "END", ""]).stop_strings == ("END",)
    assert Config(stop_strings=("",)) == Config()


@pytest.mark.parametrize("preset", ["official", "paper"])
def test_a_missing_measure_of_length_is_told_before_anything_is_asked(
    preset: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in the middle of the first answer that has as many bytes as it may have tokens."""
    monkeypatch.setitem(sys.modules, "bpe_openai", None)
    with pytest.raises(MissingExtra, match="presets official and paper"):
        NudgedModel("scripted:base", "scripted:nudge", preset=preset)
    with (
        NudgedModel("scripted:base", "scripted:nudge") as model,
        pytest.raises(MissingExtra),
    ):
        model.stream("Hi", preset=preset)
