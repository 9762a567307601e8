"""A pair of models as a model of lm_eval, EleutherAI's evaluation harness.

    with NudgingLM(base="demo:base", nudge="demo:nudge", gamma=0.4) as model:
        simple_evaluate(model=model, tasks=["gsm8k"])

On the command line `python -m nudging.lm_eval` is `lm_eval` with a model `nudging`. Needs
lm_eval, which is no dependency of ours.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, closing
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, NoReturn

from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from tqdm import tqdm

from ..aio import background_loop
from ..drive.driver import map_ordered
from ..engines.base import answers_at_once
from ..engines.demo import is_missing, pull_demo
from ..errors import ConfigError, NudgingError, UsageError
from ..model import NudgedModel
from ..prompts.chat import Question
from ..rule.config import changed
from ..settings import config_of, resolve_pair

_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""What tasks call the length of an answer; the first of them counts, as everywhere in lm_eval."""


class Conversation(str):
    """Messages as JSON, on their way through lm_eval, which carries a prompt as text."""

    __slots__ = ()


class _AnswerJob(NamedTuple):
    question: Question
    options: dict[str, Any]


@register_model("nudging")
class NudgingLM(LM):  # type: ignore[misc]
    """What tasks ask by `generate_until`. Log-likelihoods are refused: see `loglikelihood`.

    A prompt reaches the base model as it is, and the nudging model as a user's message. With
    `apply_chat_template` both see a conversation, each in its own form. So do the completions and
    the chat completions of `nudge serve`.
    """

    def __init__(
        self,
        base: str | None = None,
        nudge: str | None = None,
        *,
        pair: str | None = None,
        config: str | None = None,
        concurrency: int | None = None,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        device: str | None = None,
        **options: Any,
    ) -> None:
        """`base` and `nudge` are specs; or `pair` names one of the config file, at `config` if not
        in the usual place. `options` are those of `Config.of`; a task's own go before them.

        `concurrency`: answers at work at once; as many as is fastest, unless given. lm_eval
        always names a batch size and a device, which say nothing here: a spec has its own.
        """
        super().__init__()
        path = None if config is None else Path(config)
        made = resolve_pair(base, nudge, pair, path, **options)
        self._options = made.options
        self._about = {"base": made.base, "nudge": made.nudge, **made.prompt, **made.options}
        if is_missing(made.base, made.nudge):
            pull_demo()
        self._chat = NudgedModel(made.base, made.nudge, **made.prompt)
        engines = (self._chat.base, self._chat.nudge)
        self._text = NudgedModel(*engines, base_form="text", prefix="")
        self._limit = concurrency or answers_at_once(*engines)

    # --- what tasks ask ---------------------------------------------------------------------

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """The answers. Each is in lm_eval's cache (`use_cache`) as soon as it is there.

        Raises:
            NudgingError: an option of a task is none of ours, or a question can't be answered.
        """
        times: Counter[int] = Counter()
        jobs = []
        for request in requests:
            prompt, wanted = request.args
            jobs.append(self._job(prompt, wanted, times[id(request)]))
            times[id(request)] += 1
        found = []
        with (
            closing(background_loop.iterate(self._answers(jobs))) as answers,
            tqdm(total=len(jobs), desc="nudging", disable=disable_tqdm) as bar,
        ):
            for request, text in zip(requests, answers, strict=True):
                self.cache_hook.add_partial("generate_until", request.args, text)
                found.append(text)
                bar.update()
        return found

    def _job(self, prompt: str, wanted: Mapping[str, Any], again: int) -> _AnswerJob:
        """A question and its options. `again`: how often it was asked before, to be drawn anew."""
        options = changed(self._options, as_options(wanted))
        config = config_of(options)
        if again:
            options["seed"] = config.base_sampling.seed + again
        chat = isinstance(prompt, Conversation)
        return _AnswerJob(json.loads(prompt) if chat else prompt, options)

    async def _answers(self, jobs: Sequence[_AnswerJob]) -> AsyncGenerator[str, None]:
        async def coming() -> AsyncIterator[_AnswerJob]:
            for job in jobs:
                yield job

        async with aclosing(map_ordered(coming(), self._answer, self._limit)) as results:
            async for result in results:
                if isinstance(result, NudgingError):
                    raise result
                yield result

    async def _answer(self, job: _AnswerJob) -> str:
        if isinstance(job.question, str):
            answer = await self._text.answer_async(job.question, system="", **job.options)
        else:
            answer = await self._chat.answer_async(job.question, **job.options)
        return answer.text

    def loglikelihood(self, requests: Sequence[Any]) -> NoReturn:
        """
        Raises:
            UsageError: always. Who writes a token follows from what was written before it by whom,
                so a given text has no probability under a pair.
        """
        raise UsageError(
            f"the task {_name(requests)} asks for log-likelihoods, and a nudged model has none: it "
            "writes answers, by turns, and gives no probability to a text that is given to it. "
            "Take a task whose output_type is generate_until; for the base model alone there are "
            "lm_eval's own models, such as hf and local-completions"
        )

    loglikelihood_rolling = loglikelihood

    # --- conversations ----------------------------------------------------------------------

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> Conversation:
        """No template yet: each model gets its own form of a conversation when it is asked.

        Raises:
            UsageError: the task begins the answer itself.
        """
        if not add_generation_prompt:
            raise UsageError(
                "the task begins the answer itself (gen_prefix), and in a conversation a nudged "
                "model can't go on from there: evaluate it without apply_chat_template"
            )
        return Conversation(json.dumps(chat_history, ensure_ascii=False))

    @property
    def tokenizer_name(self) -> str:
        """What `apply_chat_template` gives, for lm_eval's cache of prompts: the same for all."""
        return "nudging-messages"

    # --- about the model --------------------------------------------------------------------

    def get_model_info(self) -> dict[str, Any]:
        """For the results: what was asked."""
        return {"nudging": {name: str(value) for name, value in self._about.items()}}

    def close(self) -> None:
        self._chat.close()

    def __enter__(self) -> NudgingLM:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def as_options(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """A task's generation_kwargs as options of ours. What they do not name is left as it is.

    Raises:
        ConfigError: they ask for what can't be done.
    """
    options = dict(wanted)
    if (until := options.pop("until", None)) is not None:
        options["stop_strings"] = [until] if isinstance(until, str) else until
    lengths = [found for name in _LENGTHS if (found := options.pop(name, None)) is not None]
    if lengths:
        options["max_tokens"] = int(lengths[0])
    if options.pop("do_sample", None) is False:
        options["temperature"] = 0.0
    beams = options.pop("num_beams", 1)
    if beams != 1:
        raise ConfigError(f"the task searches {beams} beams, and a pair writes one answer")
    return options


def _name(requests: Sequence[Any]) -> str:
    return str(getattr(requests[0], "task_name", None)) if requests else ""
