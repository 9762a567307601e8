"""Options and presets of the rule.

A preset only fills in options. `default` lets each of them be changed; `official` and `paper` fix
those that make them what they are.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from ..errors import ConfigError
from ..values.sampling import GREEDY, Sampling
from ..values.text import Words
from ..values.tokens import Source
from ..values.variables import Scalar, check_variables
from .length import Length
from .trigger import Bound, Trigger, parse_trigger

Preset = Literal["default", "official", "paper"]
Takeover = Literal["agreement", "confident", "word"]
StopRule = Literal["consult", "lookahead", "either"]
Guards = Literal["loop", "none"]


@dataclass(frozen=True, slots=True)
class Config:
    """Every option of the rule. Build one with `Config.of(preset, **options)`."""

    preset: Preset = "default"
    gamma: float = 0.4
    """Threshold on the base model's top-1 probability. Strict: at gamma it is confident."""
    trigger: Trigger | None = None
    """When the base model is in doubt; None means top-1 below gamma."""
    opener: Source = "nudge"
    """Who begins the answer."""
    takeover: Takeover = "agreement"
    """When the base model takes back, at word starts of the draft. `agreement`: not in doubt, or
    the nudging model's next word begins with its token; `confident`: not in doubt; `word`: after
    one word, asked or not."""
    words: Words = "any"
    """What divides words: `space` (the authors') or `any` white space. With `any`, an ideograph or
    kana is a word too; in other scripts without spaces each token that begins a character starts a
    word, and in 32 characters without white space any token does."""
    stop: StopRule = "consult"
    """`lookahead`: the nudging model ends within its draft, all of which is taken; `consult`: it
    ends at the point itself, asked at nudge turns, when the base model ends, and at ends of
    sentences and paragraphs; `either`: that, or the base model ends while confident."""
    consent: float = 0.2
    """Probability of its end at which the nudging model, consulted, counts as ending. Less will
    do where the base model would end too (`stop.CONSENT`), and where the answer repeats itself
    (`loops.consent`)."""
    lookahead: int = 16
    """Longest draft of the nudging model, in its tokens."""
    guards: Guards = "loop"
    """Against repetition: `loop`, or none. Preset `official` has four of its own."""
    max_tokens: int = 512
    """Length limit of the answer, in the measure of `length`."""
    length: Length = "tokens"
    """`tokens`: those emitted by both models; `official`: tokens of GPT-3.5's vocabulary."""
    max_rounds: int | None = None
    """Most nudge turns, where there is a limit."""
    stop_strings: tuple[str, ...] = ()
    """Texts that end the answer; they are not part of it. An empty one counts as none."""
    base_sampling: Sampling = GREEDY
    nudge_sampling: Sampling = GREEDY
    template_variables: Mapping[str, Scalar] = dataclasses.field(default_factory=dict)
    """Variables of the nudging model's chat template, such as `enable_thinking`. They go before
    those of its spec."""
    speculate: Literal["auto", "off"] | int = "auto"
    """How far the nudging model drafts ahead for the base model to look through in one pass: as
    far as it pays by what has been measured, not at all, or a fixed number of its tokens, 1 to
    64. Changes what an answer costs, not the answer, but for rounding: in bfloat16 and quantised
    models a near tie can fall the other way, and `auto` follows the clock, so that two runs can
    differ there (`docs/performance.md`)."""

    def __post_init__(self) -> None:
        def need(ok: bool, option: str, what: str) -> None:
            if not ok:
                value, default = getattr(self, option), DEFAULTS[option]
                raise ConfigError(
                    f"{option} must be {what}, not {value!r}",
                    option=option,
                    hint=f"without it, it is {'unset' if default in (None, ()) else repr(default)}",
                )

        need(_is_number(self.gamma) and 0 <= self.gamma <= 1, "gamma", "a number from 0 to 1")
        need(_is_number(self.consent) and 0 < self.consent <= 1, "consent", "above 0, at most 1")
        for option, kind in _CHOICES.items():
            choices = get_args(kind)
            need(getattr(self, option) in choices, option, f"one of {', '.join(choices)}")
        need(
            _is_whole(self.max_tokens) and self.max_tokens > 0,
            "max_tokens",
            "a whole number from 1",
        )
        need(
            _is_whole(self.lookahead) and 4 <= self.lookahead <= 1024,
            "lookahead",
            "a whole number from 4 to 1024",
        )
        need(
            self.max_rounds is None or (_is_whole(self.max_rounds) and self.max_rounds > 0),
            "max_rounds",
            "a whole number from 1",
        )
        check_variables(self.template_variables, "template_variables")
        for option in ("base_sampling", "nudge_sampling"):
            need(isinstance(getattr(self, option), Sampling), option, "a Sampling")
        need(
            self.speculate in ("auto", "off")
            or (_is_whole(self.speculate) and 1 <= int(self.speculate) <= 64),
            "speculate",
            "auto, off, or a whole number from 1 to 64",
        )
        need(self.trigger is None or callable(self.trigger), "trigger", "a function of a Step")
        need(
            isinstance(self.stop_strings, tuple)
            and all(isinstance(s, str) and _is_unicode(s) for s in self.stop_strings),
            "stop_strings",
            "a list of valid texts",
        )
        if "" in self.stop_strings:  # it would end every answer before it begins
            object.__setattr__(self, "stop_strings", tuple(filter(None, self.stop_strings)))

    @property
    def in_doubt(self) -> Trigger:
        """The trigger in force."""
        return self.trigger or Bound("top1", self.gamma)

    @property
    def shares_prefix(self) -> bool:
        """Whether both models read the prefix of a question, as the authors have it."""
        return self.preset != "default"

    @property
    def options(self) -> dict[str, Any]:
        """What `of` makes this of: the preset, and what is not as the preset has it."""
        plain = Config.of(self.preset)
        own = {name: getattr(self, name) for name in _FIELDS}
        differing = {name: value for name, value in own.items() if value != getattr(plain, name)}
        return {"preset": self.preset, **differing}

    @classmethod
    def of(cls, preset: str = "default", **options: Any) -> Config:
        """A preset with options changed.

        Also takes `temperature`, `top_p`, `top_k`, `min_p` and `seed` for both models at once,
        `base_sampling` and `nudge_sampling` as mappings of those, `trigger` as text, and
        `stop_strings` as a list.

        Raises:
            ConfigError: an option that does not exist, a bad value, or one that the preset fixes.
        """
        if not isinstance(preset, str) or preset not in PRESETS:
            raise ConfigError(
                f"there is no preset {preset!r}",
                option="preset",
                hint=f"there are {', '.join(PRESETS)}",
            )
        values = dict(PRESETS[cast("Preset", preset)], preset=preset)
        shared = {k: options.pop(k) for k in _SAMPLING if k in options}
        for name, value in options.items():
            if name not in _FIELDS:
                raise ConfigError(
                    f"there is no option {name!r}",
                    option=name,
                    hint=f"there are {', '.join(sorted(_FIELDS | _SAMPLING | {'preset'}))}, and "
                    "of a pair base_form and prefix",
                )
            if preset != "default" and name in FIXED and value != values.get(name, DEFAULTS[name]):
                raise ConfigError(
                    f"preset {preset!r} fixes {name}",
                    option=name,
                    hint="use preset 'default' to set it",
                )
            values[name] = value
        for name in ("base_sampling", "nudge_sampling"):
            values[name] = _sampling(values.get(name, GREEDY), shared, name)
        if isinstance(values.get("trigger"), str):
            values["trigger"] = parse_trigger(values["trigger"])
        if isinstance(values.get("stop_strings"), list):
            values["stop_strings"] = tuple(values["stop_strings"])
        return cls(**values)


def changed(own: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options over one's own. Of those, a preset among the options leaves what it does not fix,
    and template variables are joined by their names."""
    if options.get("preset", "default") != "default":
        own = {name: value for name, value in own.items() if name not in FIXED}
    merged = {**own, **options}
    name = "template_variables"
    if name in own and isinstance(merged[name], Mapping):
        merged[name] = {**own[name], **merged[name]}
    return merged


def settings(config: Config) -> dict[str, str]:
    """Every option in force, in words."""
    found = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, Sampling):
            drawn = ", ".join(f"{k} {v:g}" for k, v in dataclasses.asdict(value).items())
            found[field.name.replace("_", " ")] = "greedy" if value.greedy else drawn
        elif field.name == "trigger":
            found["trigger"] = str(config.in_doubt)
        elif value not in (None, (), {}):
            found[field.name] = str(value)
    return found


def _sampling(given: object, shared: Mapping[str, Any], option: str) -> Sampling:
    if isinstance(given, Sampling):
        return dataclasses.replace(given, **shared)
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"{option} must be a table of sampling options",
            option=option,
            hint="such as { temperature = 0.7, seed = 1 }",
        )
    for name in given:
        if name not in _SAMPLING:
            raise ConfigError(
                f"there is no option '{option}.{name}'",
                option=f"{option}.{name}",
                hint=f"there are {', '.join(sorted(_SAMPLING))}",
            )
    try:
        return Sampling(**{**shared, **given})
    except ConfigError as error:
        if error.option not in given:
            raise
        where = f"{option}.{error.option}"
        raise ConfigError(f"{option}.{error}", option=where, hint=error.hint) from None


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _is_number(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) <= sys.float_info.max  # neither infinite, NaN nor too large an integer


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_CHOICES: Mapping[str, Any] = {
    "preset": Preset,
    "opener": Source,
    "takeover": Takeover,
    "words": Words,
    "stop": StopRule,
    "guards": Guards,
    "length": Length,
}
DEFAULTS: Mapping[str, Any] = {
    f.name: getattr(Config(), f.name) for f in dataclasses.fields(Config)
}
_FIELDS = {field.name for field in dataclasses.fields(Config)} - {"preset"}
_SAMPLING = {field.name for field in dataclasses.fields(Sampling)}
FIXED = {
    "trigger",
    "opener",
    "takeover",
    "words",
    "stop",
    "consent",
    "guards",
    "length",
    "max_rounds",
    "lookahead",
}
PRESETS: Mapping[Preset, Mapping[str, Any]] = {
    "default": {},
    "official": {
        "words": "space",
        "stop": "lookahead",
        "guards": "none",
        "length": "official",
        "max_rounds": 150,
    },
    "paper": {
        "opener": "base",
        "takeover": "word",
        "words": "space",
        "stop": "lookahead",
        "guards": "none",
        "length": "official",
        "max_rounds": 150,
    },
}
"""What each preset sets where it differs from the defaults of `Config`."""
