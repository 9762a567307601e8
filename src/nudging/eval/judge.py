"""A judge: a model behind any OpenAI-compatible address that scores answers by a rubric.

Named as engines are, `http://HOST:PORT/v1#MODEL?api_key_env=NAME`, and asked in the same way: keys
come from the environment, transient failures are retried with back-off. Its replies are kept in a
file, so a run that resumes pays for no answer twice. A reply that can't be read is data
(`Verdict.unread`), is not kept, and never becomes a score.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..engines.options import check_options
from ..engines.remote import CONNECTION_OPTIONS
from ..engines.remote.http_client import HttpClient, open_client
from ..engines.spec import Spec, parse_spec
from ..errors import InputError, ServerNonsense, SpecError
from ..storage.resumable import Journal
from .rubrics import Rubric, UnreadableReply
from .task import Sample, Score

_MOST_TOKENS = 2048  # room for reasons, and for a model that thinks aloud first


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge says of one answer."""

    scores: Mapping[str, float]
    """Empty where the reply could not be read."""
    reply: str = field(repr=False)
    unread: str = ""
    """Why it could not be read."""


class Judge:
    def __init__(
        self,
        wire: HttpClient,
        model: str,
        *,
        temperature: float | None = 0.0,
        cache: Path | None = None,
    ) -> None:
        self.model = model
        self._wire = wire
        self._temperature = temperature
        self._replies = _ReplyCache(cache)

    async def ask(self, rubric: Rubric, sample: Sample, answer: str) -> Verdict:
        """Raises the wire's errors (`ServerError`) once trying again has not helped."""
        body = self._body(rubric, sample, answer)
        key = self._key(body)
        reply = self._replies.get(key)
        if reply is None:
            async with self._wire.permit():
                reply = _content(await self._wire.post("{url}/chat/completions", body))
        verdict = _read(rubric, reply)
        if not verdict.unread:
            self._replies.put(key, reply)
        return verdict

    async def recall(self, rubric: Rubric, sample: Sample, answer: str) -> Verdict:
        """What it said before, without asking it."""
        reply = self._replies.get(self._key(self._body(rubric, sample, answer)))
        return Verdict({}, "", "no reply is kept") if reply is None else _read(rubric, reply)

    def _body(self, rubric: Rubric, sample: Sample, answer: str) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [
                {"role": "user", "content": rubric.prompt(sample.query, answer, sample.gold)}
            ],
            "max_completion_tokens": _MOST_TOKENS,
        }
        if self._temperature is not None:
            body["temperature"] = self._temperature
        return body

    def _key(self, body: Mapping[str, Any]) -> str:
        return hashlib.sha256(json.dumps([self._wire.url, body]).encode()).hexdigest()

    async def aclose(self) -> None:
        self._replies.close()
        await self._wire.aclose()


def _read(rubric: Rubric, reply: str) -> Verdict:
    try:
        return Verdict(rubric.read(reply), reply)
    except UnreadableReply as problem:
        return Verdict({}, reply, str(problem))


def open_judge(spec: str, cache: Path | None = None, *, asked: bool = True) -> Judge:
    """A judge from its spec. `cache`: the file of its replies, made where it is not there.
    `asked`: without, it needs no key, and only what it has said can be recalled."""
    parsed, temperature = check_judge(spec)
    if not asked:
        options = {name: value for name, value in parsed.options.items() if name != "api_key_env"}
        parsed = parsed._replace(options=options)
    return Judge(open_client(parsed), parsed.model, temperature=temperature, cache=cache)


def check_judge(spec: str) -> tuple[Spec, float | None]:
    """A judge's spec, read, and its temperature.

    `?temperature=T` is 0 unless given; `default` sends none, for models that take no other.
    """
    hint = "http://HOST:PORT/v1#MODEL, with ?api_key_env=NAME where it needs a key"
    try:
        parsed = parse_spec(spec)
    except SpecError as error:
        raise SpecError(f"the judge: {error}", hint=hint) from None
    if parsed.kind != "http" or not parsed.model:
        raise SpecError(f"a judge must be a model on a server, not {spec!r}", hint=hint)
    check_options(parsed.options, (*CONNECTION_OPTIONS, "temperature"), "a judge")
    given = parsed.options.get("temperature", "0")
    try:
        temperature = None if given == "default" else float(given)
    except ValueError:
        temperature = -1.0
    if temperature is not None and not 0 <= temperature <= 2:
        raise SpecError(
            f"temperature is a number from 0 to 2, or default, not {given!r}", hint=hint
        )
    return parsed, temperature


def judged(score: Score, rubric: Rubric, verdict: Verdict) -> Score:
    """A rule's score with a judge's verdict in it.

    Where the judge decides whether an answer is correct, its word counts, as in the authors'
    scoring, and the rule's is kept as a measure; if its reply can't be read, neither counts.
    """
    measures = {**score.measures, "judge_unread": float(bool(verdict.unread))}
    measures |= {f"judge_{name}": value for name, value in verdict.scores.items()}
    if "correct" not in rubric.scores:
        return replace(score, measures=measures)
    if score.correct is not None:
        measures["rule_correct"] = float(score.correct)
    correct = None if verdict.unread else verdict.scores["correct"] == 1
    return replace(score, correct=correct, measures=measures)


def _content(body: object) -> str:
    """The text of a chat completion; empty where the model said nothing."""
    try:
        message = body["choices"][0]["message"]  # type: ignore[index]
        content = message.get("content") or message.get("refusal") or ""
    except (LookupError, TypeError, AttributeError):
        raise ServerNonsense("the judge's answer is no chat completion") from None
    if not isinstance(content, str):
        raise ServerNonsense("the judge's answer holds no text")
    return content


class _ReplyCache:
    """Replies by the hash of the whole request, in a file if there is one."""

    def __init__(self, path: Path | None) -> None:
        self._replies: dict[str, str] = {}
        self._journal: Journal | None = None
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._journal = Journal(path, self._note)
        except OSError as error:
            raise InputError(f"can't use {path} for replies: {error.strerror}") from None

    def _note(self, number: int, line: bytes) -> None:
        with suppress(ValueError, LookupError, TypeError, RecursionError):  # else it is asked again
            found = json.loads(line)
            self._replies[found["key"]] = found["reply"]

    def get(self, key: str) -> str | None:
        return self._replies.get(key)

    def put(self, key: str, reply: str) -> None:
        if self._replies.get(key) == reply:
            return
        self._replies[key] = reply
        if self._journal is not None:
            self._journal.add({"key": key, "reply": reply})

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()
