"""An answer as one HTML file: who wrote which words, how sure they were, what was in doubt.

The page needs no script, loads nothing, and says so in its policy; all text in it is escaped,
for both models and question are strangers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from html import escape

from .prompts.chat import Question, conversation
from .values.tokens import (
    Answer,
    Candidate,
    Handover,
    ModelUsage,
    Span,
    StopReason,
    handover_words,
    whole_tokens,
)

ENDED: Mapping[StopReason, str] = {
    StopReason.NUDGE: "the nudging model ended it",
    StopReason.BASE: "the base model ended it",
    StopReason.LOOP: "stopped: it repeated itself over and over",
    StopReason.STOP: "a stop text came up",
    StopReason.LENGTH: "stopped: the length limit",
    StopReason.ROUNDS: "stopped: the limit of nudge turns",
    StopReason.REPEATED: "stopped: the same nudge again and again",
}
"""Why an answer ended, for people."""

STYLE = """
:root{color-scheme:light dark;--ink:#1c1b19;--soft:#6b675f;--paper:#fbfaf7;--card:#fff;
--line:#e4e0d6;--nudge:#ffe08a;--nudge-ink:#3b2c00;--doubt:196 84 20}
@media (prefers-color-scheme:dark){:root{--ink:#e9e6df;--soft:#a19b8f;--paper:#171614;
--card:#211f1c;--line:#38352f;--nudge:#6b5208;--nudge-ink:#fff3cf;--doubt:255 150 90}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:46rem;padding:1.5rem 1rem 5rem;background:var(--paper);
color:var(--ink);font:1.05rem/1.65 system-ui,sans-serif}
h1{font-size:1.25rem}h2{font-size:1rem;margin:2.2rem 0 .5rem}
.said{white-space:pre-wrap;overflow-wrap:anywhere;margin:.4rem 0}
.role{color:var(--soft);font-size:.85rem}
.answer{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:1rem}
mark{background:var(--nudge);color:var(--nudge-ink);border-radius:.2rem;padding:.05em 0}
.t{box-shadow:inset 0 -.14em rgb(var(--doubt)/var(--d,0))}
.t:hover,.t:focus,mark:focus{outline:2px solid var(--soft);outline-offset:1px}
.t[data-tip]:hover::after,[data-tip]:focus::after{content:attr(data-tip);position:fixed;left:0;
right:0;bottom:0;padding:.7rem 1rem;background:var(--ink);color:var(--paper);
font:.9rem/1.4 system-ui,sans-serif;white-space:pre-wrap;overflow-wrap:anywhere;z-index:1}
.t[data-tip]:hover::after{z-index:2}
.legend,.sum,.none{color:var(--soft);font-size:.9rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:left;vertical-align:top;padding:.35rem .8rem .35rem 0;
border-bottom:1px solid var(--line);overflow-wrap:anywhere}
th{font-weight:600;color:var(--soft)}
.n{font-variant-numeric:tabular-nums;text-align:right}
a{color:inherit}
code{font:.9em ui-monospace,monospace;white-space:pre-wrap}
.p{display:inline-block;height:.6em;min-width:1px;background:rgb(var(--doubt));
margin-right:.4em;border-radius:1px}
"""
"""Also of a page with many answers (`eval/report`)."""


def answer_page(answer: Answer, question: Question, settings: Mapping[str, str]) -> str:
    """One self-contained HTML page about an answer. `settings` are shown as they are."""
    turns = conversation(question, system="")
    asked = "".join(
        (f'<div class="role">{m.role}</div>' if len(turns) > 1 else "")
        + f'<p class="said" dir="auto">{escape(m.content)}</p>'
        for m in turns
    )
    title = " ".join(turns[-1].content.split())
    title = title if len(title) <= 80 else title[:79] + "…"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} – nudging</title>
<style>{STYLE}</style>
</head>
<body>
<h1>A nudged answer</h1>
{asked}
<div class="answer said" dir="auto">{"".join(_spans(answer.spans))}</div>
<p class="sum">{escape(summary(answer))}</p>
<p class="legend"><mark>Marked</mark> words are the nudging model's, the others the base model's.
The <span class="t" style="--d:.8">stronger the underline</span>, the less sure the base model was.
Point at a word, or tap it, for its probability.</p>
<h2>Where the nudging model came in</h2>
{_handovers(answer.spans)}
<h2>Settings</h2>
{_table((), settings.items())}
<h2>What it cost</h2>
{_usage(answer)}
</body>
</html>
"""


def summary(answer: Answer) -> str:
    """One line on an answer: length, nudged share, speed, how it ended."""
    usage = answer.usage
    parts = [f"{usage.tokens} tokens", f"{answer.nudge_rate:.0%} of the words nudged"]
    if usage.seconds:
        parts.append(f"{usage.tokens / usage.seconds:.1f} tokens/s")
    return ", ".join([*parts, ENDED[answer.stop_reason]])


def _spans(spans: Iterable[Span]) -> Iterator[str]:
    for place, span in enumerate(spans):
        words = "".join(_tokens(span))
        if span.source == "base":
            yield words
            continue
        tip = escape(f"nudge: {handover_words(span.handover)}")
        marked = words.lstrip()
        space = words[: len(words) - len(marked)]
        yield f'{space}<mark id="n{place}" tabindex="0" data-tip="{tip}">{marked}</mark>'


def _tokens(span: Span) -> Iterator[str]:
    """Tapping a token focuses it; the Tab key skips it. The space before a word is outside."""
    why = handover_words(span.handover)  # what was in doubt is the place of the first token
    for text, top1 in whole_tokens(span):
        tip = f"{span.source}: its top-1 here was {top1:.2f}"
        doubt = ""
        if span.source == "base":
            doubt = f' style="--d:{min(max(1 - top1, 0), 1):.2f}"'
        elif why:
            tip, why = f"{tip}\n{why}", ""
        word = text.lstrip() or text
        space = text[: len(text) - len(word)]
        shown = (
            f'<span class="t"{doubt} tabindex="-1" data-tip="{escape(tip)}">{escape(word)}</span>'
        )
        yield space + shown


def _handovers(spans: Iterable[Span]) -> str:
    rows = []
    for place, span in enumerate(spans):
        if span.source == "nudge":
            why, seen = "", ""
            if span.handover:
                why = escape(handover_words(Handover(span.handover.reason)))
                seen = "<br>".join(map(_candidate, _top(span.handover)))
            link = f'<a href="#n{place}"><code>{escape(_visible(span.text))}</code></a>'
            rows.append(f"<tr><td>{link}</td><td>{why}</td><td>{seen}</td></tr>")
    if not rows:
        return '<p class="none">Nowhere: the base model wrote all of it.</p>'
    head = "<tr><th>words</th><th>why</th><th>what the base model would have written</th></tr>"
    return f'<div class="scroll"><table>{head}{"".join(rows)}</table></div>'


def _top(handover: Handover) -> tuple[Candidate, ...]:
    return handover.step.top[:5] if handover.step else ()


def _candidate(candidate: Candidate) -> str:
    bar = f'<span class="p" style="width:{min(max(candidate.prob, 0), 1) * 5:.2f}em"></span>'
    text = _visible(candidate.text.decode(errors="replace")) if candidate.text else "(the end)"
    return f"{bar}{candidate.prob:.2f} <code>{escape(text)}</code>"


def _visible(text: str) -> str:
    """Text in quotes, with white space that a table would swallow made visible."""
    return "“" + text.replace("\n", "⏎").replace("\t", "⇥") + "”"


def _usage(answer: Answer) -> str:
    def row(name: str, used: ModelUsage) -> tuple[str, ...]:
        counts = (used.emitted, used.drafted, used.calls, used.forwards)
        return (name, *map(str, counts), f"{used.seconds:.2f}")

    usage = answer.usage
    head = ("model", "tokens written", "tokens computed", "calls", "passes", "seconds")
    return _table(head, [row("base", usage.base), row("nudge", usage.nudge)])


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    top = f"<tr>{titles}</tr>" if titles else ""
    return f'<div class="scroll"><table>{top}{body}</table></div>'
