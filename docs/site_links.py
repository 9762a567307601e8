"""For the site: README.md is its first page, and links that leave `docs/` go to the repository."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Called by mkdocs for each page."""
    files = config.extra["repository"] + "/blob/main/"
    if page.file.src_uri == "index.md":
        markdown = (ROOT / "README.md").read_text(encoding="utf-8")
        markdown = re.sub(r"\]\((?!https?:|docs/|#)", f"]({files}", markdown)
        return markdown.replace("](docs/", "](")
    markdown = markdown.replace("](../README.md", "](index.md")
    return markdown.replace("](../", f"]({files}")
