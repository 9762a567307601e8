"""What runs in the process that renders templates: an environment that equals transformers'.

Started by `sandbox.py` as a program of its own. It reads a job a line from its standard input,
answers with a line, and ends with its input. Templates are strangers' code: Jinja's sandbox keeps
them from everything but their values, the bounds below from memory and time. Imports nothing of
the package.
"""

from __future__ import annotations

import datetime
import faulthandler
import json
import sys
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    sys.path += sys.argv[2:]  # where Jinja is

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import CallBlock
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

if TYPE_CHECKING:
    from jinja2.parser import Parser
    from jinja2.runtime import Macro

_MOST = 10_000_000  # characters that a template may print: more than any conversation has
_WORDS = 2000  # characters of an error that are told


class Refusal(jinja2.TemplateError):
    """`raise_exception`."""


class Generation(Extension):
    """`{% generation %}`: marks what to train on, and prints what is in it."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> CallBlock:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        block = CallBlock(self.call_method("_inner"), [], [], body)
        block.set_lineno(line)
        return block

    def _inner(self, caller: Macro) -> str:
        return str(caller())


class _Dict:
    """`dict`, without the attributes of the type."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class _Namespace(Namespace):
    """A namespace without names that begin with an underscore."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # a name may be `self`
        names = dict(*args[1:], **kwargs)
        for name in names:
            _check_name(name)
        Namespace.__init__(args[0], names)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"{name!r}: a namespace takes no such name")


def _refuse(message: str) -> None:
    raise Refusal(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _now(format: str) -> str:
    return datetime.datetime.now().strftime(format)


@cache
def environment(keep_last_newline: bool) -> ImmutableSandboxedEnvironment:
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=keep_last_newline,
        extensions=[Generation, loopcontrols],
    )
    made.filters["tojson"] = _tojson
    made.globals.update(
        raise_exception=_refuse, strftime_now=_now, dict=_Dict(), namespace=_Namespace
    )
    return made


@lru_cache(maxsize=16)
def compiled(template: str, keep_last_newline: bool) -> jinja2.Template:
    return environment(keep_last_newline).from_string(template)


def answer(job: dict[str, Any]) -> dict[str, str]:
    """What came of a job: its `text`, or why it was `refused`, or how it `failed`."""
    try:
        pieces = compiled(job["template"], job["keep_last_newline"]).generate(job["values"])
        text = "".join(_bounded(pieces))
        text.encode()  # half a character pair is no text to any tokenizer
        return {"text": text}
    except Refusal as error:
        return {"refused": str(error)[:_WORDS]}
    except MemoryError:
        raise  # the end of this process: who knows what is left of it
    except Exception as error:  # whatever foreign code does is its failure
        return {"failed": str(error)[:_WORDS] or type(error).__name__}


def _bounded(pieces: Iterator[str]) -> Iterator[str]:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > _MOST:
            raise ValueError(f"it prints more than {_MOST:,} characters")
        yield piece


def _limit(memory: int) -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    except (ImportError, OSError, ValueError):  # this system has no such limit, or one below ours
        pass


def main(memory: int) -> None:
    _limit(memory)
    said = sys.stdout.buffer
    said.write(b"ready\n")
    said.flush()
    for line in sys.stdin.buffer:
        job = json.loads(line)
        # Ends this process from a thread without Python in it, which nothing in a template delays.
        faulthandler.dump_traceback_later(job["seconds"], exit=True)
        came = json.dumps(answer(job), ensure_ascii=False)
        faulthandler.cancel_dump_traceback_later()
        said.write(came.encode(errors="surrogatepass") + b"\n")
        said.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
