"""Options and presets of the rule.

A preset only fills in options. `default` lets each of them be changed; `official` and `paper` fix
those that make them what they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

from ..errors import ConfigError
from ..values.declared import Help, Range, declared
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
_Count = Annotated[int, Range(1, words="a whole number from 1")]


@dataclass(frozen=True, slots=True)
class Config:
    """Every option of the rule. Build one with `Config.of(preset, **options)`.

    Each field says its type, what it may be and what it does; all else that names options reads it
    here (`values/declared.py`).
    """

    preset: Annotated[
        Preset, Help("Start from the options of `default`, `official` or `paper`.")
    ] = "default"
    gamma: Annotated[
        float,
        Range(0, 1),
        Help("Nudge where the base model's top-1 probability is below this threshold."),
    ] = 0.4
    trigger: Annotated[
        Trigger | None, Help("When the base model is in doubt; None means top-1 below gamma.")
    ] = None
    opener: Annotated[Source, Help("The model that begins the answer.")] = "nudge"
    takeover: Annotated[
        Takeover,
        Help(
            "When the base model takes over again, at word starts of the draft. `agreement`: it is "
            "not in doubt, or the nudging model's next word begins with its token; `confident`: it "
            "is not in doubt; `word`: after one word, without being asked."
        ),
    ] = "agreement"
    words: Annotated[
        Words,
        Help(
            "What divides words: `space` (the authors') or `any` white space. With `any`, an "
            "ideograph or kana is a word too; in other scripts without spaces each token that "
            "begins a character starts a word, and after 32 characters without white space every "
            "token does."
        ),
    ] = "any"
    stop: Annotated[
        StopRule,
        Help(
            "`lookahead`: the nudging model ends within its draft, all of which is taken; "
            "`consult`: it is asked whether it would end right here, at each nudge turn (so also "
            "when the base model ends) and at ends of sentences and paragraphs; `either`: that, or "
            "the base model ends while confident."
        ),
    ] = "consult"
    consent: Annotated[
        float,
        Range(0, 1, low_open=True, words="above 0, at most 1"),
        Help(
            "Probability of its end at which the nudging model, consulted, counts as ending. Less "
            "is enough where the base model would end too, and where the answer repeats itself."
        ),
    ] = 0.2
    lookahead: Annotated[
        int, Range(4, 1024), Help("Longest draft of the nudging model, in its tokens.")
    ] = 16
    guards: Annotated[
        Guards, Help("Against repetition: `loop`, or none. Preset `official` has four of its own.")
    ] = "loop"
    max_tokens: Annotated[
        _Count, Help("Length limit of an answer, in tokens as `length` counts them.")
    ] = 512
    length: Annotated[
        Length,
        Help("`tokens`: those that both models emit; `official`: tokens of GPT-3.5's vocabulary."),
    ] = "tokens"
    max_rounds: Annotated[_Count | None, Help("Most nudge turns, where there is a limit.")] = None
    stop_strings: Annotated[
        tuple[str, ...],
        Help("Texts that end the answer; they are not part of it. An empty one counts as none."),
    ] = ()
    base_sampling: Sampling = GREEDY
    nudge_sampling: Sampling = GREEDY
    template_variables: Annotated[
        Mapping[str, Scalar],
        Help(
            "Variables of the nudging model's chat template, such as `enable_thinking`. They go "
            "before those of its spec."
        ),
    ] = dataclasses.field(default_factory=dict)
    speculate: Annotated[
        Literal["auto", "off"] | Annotated[int, Range(1, 64)],
        Help(
            "How far the nudging model drafts ahead for the base model to check in one pass: as "
            "far as it pays by what has been measured, not at all, or a fixed number of its "
            "tokens. Changes what an answer costs, not the answer, but for rounding: in "
            "bfloat16 and quantised models a near tie can fall the other way, and `auto` follows "
            "the clock, so that two runs can differ there (`docs/performance.md`)."
        ),
    ] = "auto"

    def __post_init__(self) -> None:
        def need(ok: bool, option: str, what: str) -> None:
            if not ok:
                value, default = getattr(self, option), DEFAULTS[option]
                raise ConfigError(
                    f"{option} must be {what}, not {value!r}",
                    option=option,
                    hint=f"without it, it is {'unset' if default in (None, ()) else repr(default)}",
                )

        for option in declared(Config).values():
            if not option.allows(getattr(self, option.name)):
                need(False, option.name, option.words)
        check_variables(self.template_variables, "template_variables")
        for name in ("base_sampling", "nudge_sampling"):
            need(isinstance(getattr(self, name), Sampling), name, "a Sampling")
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
        return Bound("top1", self.gamma) if self.trigger is None else self.trigger

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


DEFAULTS: Mapping[str, Any] = {name: option.default for name, option in declared(Config).items()}
_FIELDS = DEFAULTS.keys() - {"preset"}
_SAMPLING = declared(Sampling).keys()
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
