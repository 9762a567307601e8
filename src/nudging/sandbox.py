"""Where chat templates run. They come from model files, thus from strangers: they run in Jinja's
immutable sandbox, see only the values they are given, and what they print is bounded.
"""

from __future__ import annotations

import datetime
import json
import threading
from collections.abc import Iterable, Mapping
from typing import Any


class Refused(Exception):
    """The template's own refusal of these values, in its words (`raise_exception`)."""


class Failed(Exception):
    """The template is broken, forbidden, or takes too much."""


_MOST = 4_000_000  # characters of any text; a template that makes more is broken or hostile
_LOOPS = 100_000  # steps of all its counted loops together
_SECONDS = 10.0
_WIDE = {"center", "expandtabs", "format", "format_map", "ljust", "rjust", "zfill"}
"""Methods and filters that make a text of any width from a number. No chat template needs them."""


def run(template: str, values: Mapping[str, Any], *, keep_last_newline: bool = False) -> str:
    """Run foreign code: in a sandbox, within bounds of loops and text, and for a while only.

    Not bounded: what it does in that while. A thread can't be stopped, so one that loops without
    end goes on until the process ends.
    """
    done: list[str | Exception] = []

    def work() -> None:
        try:
            done.append(_printed(template, values, keep_last_newline))
        except Exception as error:  # whatever foreign code does is its failure, told as ours
            done.append(error)

    worker = threading.Thread(target=work, name="template", daemon=True)
    worker.start()
    worker.join(_SECONDS)
    if not done:
        raise Failed(f"the template did not end within {_SECONDS:.0f} s")
    if isinstance(done[0], Failed | Refused):
        raise done[0]
    if isinstance(done[0], Exception):
        raise Failed(f"the template failed: {done[0]}") from done[0]
    return done[0]


def _printed(template: str, values: Mapping[str, Any], keep_last_newline: bool) -> str:
    import jinja2  # 40 ms: only those who render pay for it
    from jinja2.compiler import CodeGenerator, Frame
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def bounded(text: Any) -> Any:
        if isinstance(text, str | list | tuple) and len(text) > _MOST:
            raise Failed("the template makes a text without end")
        return text

    class Generator(CodeGenerator):
        def visit_Concat(self, node: jinja2.nodes.Concat, frame: Frame) -> None:  # noqa: N802
            self.write("environment.joined((")  # `~`, which no interception reaches
            for part in node.nodes:
                self.visit(part, frame)
                self.write(", ")
            self.write("))")

    class Sandbox(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset(["*", "**", "%", "+"])
        code_generator_class = Generator

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            numbers = isinstance(left, int | float) and isinstance(right, int | float)
            if operator != "+" and not (numbers and max(abs(left), abs(right)) <= 10_000):
                raise Failed("the template multiplies more than plain small numbers")
            return bounded(super().call_binop(context, operator, left, right))

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            wide = isinstance(obj, str) and attr in _WIDE
            return not wide and super().is_safe_attribute(obj, attr, value)

        def call(self, *args: Any, **kwargs: Any) -> Any:
            return bounded(super().call(*args, **kwargs))

        def joined(self, parts: Iterable[Any]) -> str:
            return str(bounded("".join(map(str, parts))))

    def refuse(message: str) -> None:
        raise Refused(message)

    steps = 0

    def counted(*bounds: int) -> range:
        nonlocal steps
        steps += len(range(*bounds))
        if steps > _LOOPS:
            raise Failed("the template loops without end")
        return range(*bounds)

    def tojson(value: Any, indent: int | None = None) -> str:
        return json.dumps(value, ensure_ascii=False, indent=indent and min(indent, 8))

    environment = Sandbox(
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=keep_last_newline,
        extensions=[loopcontrols],
    )
    replace = environment.filters["replace"]
    for name in (*_WIDE, "indent", "wordwrap"):
        environment.filters.pop(name, None)
    environment.filters["tojson"] = tojson
    environment.filters["replace"] = jinja2.pass_eval_context(
        lambda context, *args: bounded(replace(context, *args))
    )
    environment.globals.clear()
    environment.globals.update(
        raise_exception=refuse, strftime_now=_today, range=counted, namespace=jinja2.utils.Namespace
    )
    printed: list[str] = []
    size = 0
    for piece in environment.from_string(template).generate(**values):
        size += len(piece)
        if size > _MOST:
            raise Failed("the template prints without end")
        printed.append(piece)
    return "".join(printed)


def _today(form: str) -> str:
    return datetime.datetime.now().strftime(form)
