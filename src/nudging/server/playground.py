"""The playground: one HTML file in which a browser talks to this server, and the rules it obeys.

The policy lets the browser run the file's own script and style, known by their digests, and ask
this server; nothing else is run, loaded or sent, and no text becomes markup.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

PAGE = Path(__file__).with_name("playground.html").read_bytes()


def policy(page: bytes) -> str:
    """The Content-Security-Policy of a page with one script and one style."""

    def digest(tag: bytes) -> str:
        (inner,) = re.findall(rb"<%b>(.*?)</%b>" % (tag, tag), page, re.DOTALL)
        return f"'sha256-{base64.b64encode(hashlib.sha256(inner).digest()).decode()}'"

    rules = {
        "default-src": "'none'",
        "script-src": digest(b"script"),
        "style-src": digest(b"style"),
        "img-src": "data:",  # its icon
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


HEADERS = {
    "content-security-policy": policy(PAGE),
    "cache-control": "no-cache",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


async def playground(request: Request) -> Response:
    return Response(PAGE, media_type="text/html", headers=HEADERS)
