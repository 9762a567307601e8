"""How a notebook shows an answer. `page.py` makes whole pages."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


def marked(parts: Iterable[tuple[bool, Iterable[tuple[str, str]]]]) -> str:
    """One escaped HTML `<div>` of (whether to mark it, words with their titles, shown on hover)."""
    shown = []
    for mark, words in parts:
        inner = "".join(
            f'<span title="{escape(title)}">{escape(text)}</span>' for text, title in words
        )
        shown.append(
            f'<mark style="background:#ffd54a;color:#111">{inner}</mark>' if mark else inner
        )
    return f'<div class="nudging" style="white-space:pre-wrap">{"".join(shown)}</div>'
