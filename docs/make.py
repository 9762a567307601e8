"""Write the generated documents from the code: `python docs/make.py`, or `--check` that they are.

docs/options.md   every option of `Config`, from its source
docs/help.md      what each command says of itself
docs/errors.md    the tree of errors
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import typer
from typer.testing import CliRunner

from nudging import errors
from nudging.cli.commands import app
from nudging.rule.config import FIXED, PRESETS, Config
from nudging.values.declared import Option, declared
from nudging.values.sampling import Sampling

HERE = Path(__file__).parent


def said(option: Option) -> str:
    """What it does and, of a number, what it may be."""
    words = f" {option.words[0].upper()}{option.words[1:]}." if option.range else ""
    return f"{option.help}{words}".replace("|", "\\|")


def options() -> str:
    rows = ["| option | default | `official` | `paper` | |", "| --- | --- | --- | --- | --- |"]
    for name, option in declared(Config).items():
        if name == "preset" or name.endswith("_sampling"):
            continue
        cells = [f"`{option.default!r}`"]
        for preset in ("official", "paper"):
            own = PRESETS[preset]
            cells.append(f"`{own[name]!r}`" if name in own else "")
        rows.append(f"| `{name}` | " + " | ".join([*cells, said(option)]) + " |")
    drawn = ["| option | default | |", "| --- | --- | --- |"]
    for name, option in declared(Sampling).items():
        drawn.append(f"| `{name}` | `{option.default!r}` | {said(option)} |")
    fixed = ", ".join(f"`{name}`" for name in sorted(FIXED))
    return "\n".join(
        [
            "# Options",
            "",
            "Give an option to `NudgedModel` or to a single answer, in a pair of the config "
            "file, or as `--set OPTION=VALUE`. A preset has the default unless its column shows "
            f"a value. `official` and `paper` fix {fixed}; with `default` you can set "
            "everything.",
            "",
            *rows,
            "",
            "## Triggers",
            "",
            "`trigger` is text such as `top1<0.4 or entropy>2.5 and margin<0.1` (`and` binds "
            "closer), or in Python any function of a `Step` of the base model, which has its "
            "likeliest tokens (`step.top`, four where the model has as many; raw probabilities, "
            "which need not sum to 1) and `step.entropy`. A trigger takes the place of gamma. "
            "Entropy is in nats. Engines in this process (`llama`, `hf`) report it, servers do "
            "not: there, a text that names it is refused, and a function gets `None`.",
            "",
            "Two triggers look at both models, and ask the nudging model about each token of the "
            "base model ([performance.md](performance.md#what-other-triggers-cost) has what that "
            "costs). `bet>0.2` hands over where the nudging model's best token "
            "has a probability that is higher by 0.2 than the base model's best token has in "
            "the base model (arXiv 2604.16146). `veto>0.5` hands over where the nudging model's "
            "best token is more likely, by 0.5, than the base model's token, both in the "
            "nudging model.",
            "",
            "## Traces",
            "",
            "`--trace` prints a line for each decision: the byte of the answer, the decision, "
            "the reason, and the likeliest next tokens with their probabilities. `handover` "
            "gives the turn to the nudging model. While that one writes, the base model is "
            "asked at each word: `keep` leaves the turn with the nudging model, `takeover` ends "
            "it. `accept` takes the base model's next token. At a `consult`, the nudging model "
            "is asked whether it would end, and the tokens shown are its own.",
            "",
            "## Sampling",
            "",
            "These names set both models; the tables `base_sampling` and `nudge_sampling` set one. "
            "Triggers always look at the raw distribution.",
            "",
            *drawn,
            "",
        ]
    )


def helps() -> str:
    runner = CliRunner()
    parts = ["# Commands", ""]
    names = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    for words in [[], *([name] for name in names)]:
        result = runner.invoke(app, [*words, "--help"], env={"COLUMNS": "100", "TERM": "dumb"})
        title = " ".join(["nudge", *words])
        text = "\n".join(line.rstrip() for line in result.output.strip().splitlines())
        parts += [f"## {title}", "", "```text", text, "```", ""]
    return "\n".join(parts)


def tree() -> str:
    text = inspect.cleandoc(errors.__doc__ or "")
    lines = [line[4:] if line.startswith("    ") else line for line in text.splitlines()]
    drawn = [line for line in lines if line.lstrip("│ ").startswith(("├", "└", "Nudging"))]
    return "\n".join(["# Errors", "", "```text", *drawn, "```", "", lines[-3], *lines[-2:], ""])


def main() -> int:
    stale = []
    for name, text in (("options", options()), ("help", helps()), ("errors", tree())):
        path = HERE / f"{name}.md"
        if "--check" in sys.argv:
            if not path.exists() or path.read_text() != text:
                stale.append(path.name)
        else:
            path.write_text(text)
    if stale:
        sys.stderr.write(f"stale: {', '.join(stale)}; run: python docs/make.py\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
