"""Write the generated documents from the code: `python docs/make.py`, or `--check` that they are.

docs/options.md   every option of `Config`, from its source
docs/help.md      what each command says of itself
docs/errors.md    the tree of errors
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from pathlib import Path

import typer
from typer.testing import CliRunner

from nudging import errors
from nudging.cli.commands import app
from nudging.rule import config
from nudging.server.fields import documented
from nudging.values import sampling

HERE = Path(__file__).parent


def options() -> str:
    rows = ["| option | default | `official` | `paper` | |", "| --- | --- | --- | --- | --- |"]
    texts = documented(config.Config)
    for field in dataclasses.fields(config.Config):
        if field.name == "preset" or field.name.endswith("_sampling"):
            continue
        cells = [f"`{config.DEFAULTS[field.name]!r}`"]
        for preset in ("official", "paper"):
            own = config.PRESETS[preset]
            cells.append(f"`{own[field.name]!r}`" if field.name in own else "")
        cells.append(texts.get(field.name, "").replace("|", "\\|"))
        rows.append(f"| `{field.name}` | " + " | ".join(cells) + " |")
    drawn = ["| option | default | |", "| --- | --- | --- |"]
    texts = documented(sampling.Sampling)
    for field in dataclasses.fields(sampling.Sampling):
        drawn.append(f"| `{field.name}` | `{field.default!r}` | {texts.get(field.name, '')} |")
    fixed = ", ".join(f"`{name}`" for name in sorted(config.FIXED))
    return "\n".join(
        [
            "# Options",
            "",
            "Each can be given to `NudgedModel` or to a single answer, in a pair of the config "
            "file, and as `--set OPTION=VALUE`. Presets differ from the defaults where a value "
            f"is shown; `official` and `paper` fix {fixed}, and `default` lets all be set.",
            "",
            *rows,
            "",
            "## Triggers",
            "",
            "`trigger` is text such as `top1<0.4 or entropy>2.5 and margin<0.1` (`and` binds "
            "closer), or in Python any function of a `Step` of the base model, which sees its four "
            "likeliest tokens (`step.top`) and `step.entropy`. Entropy is in nats, and engines in "
            "this process (`llama`, `hf`) report it. Servers do not: there a trigger in words that "
            "names it is refused, and a function gets `None`.",
            "",
            "Two triggers look at both models, for one pass of the nudging model at each token of "
            "the base model: `bet>0.2` where the nudging model's best token is more likely to it, "
            "by 0.2, than the base model's own is to the base model (arXiv 2604.16146), and "
            "`veto>0.5` where its best is more likely to it, by 0.5, than the base model's token "
            "is.",
            "",
            "## Traces",
            "",
            "`--trace` shows a line for each decision: at which byte of the answer; what was "
            "decided; why; and the likeliest next tokens with their probabilities. `handover` is "
            "to the nudging model. While that one writes, the base model is asked at each word: "
            "`keep` leaves the turn where it is, `takeover` ends it. `accept` is the base model's "
            "next token, taken. At a `consult` the nudging model is asked whether it would stop, "
            "and the tokens are its own.",
            "",
            "## Sampling",
            "",
            "For both models at once by these names, or for one in the tables `base_sampling` and "
            "`nudge_sampling`. Triggers look at the raw distribution whatever these are.",
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
