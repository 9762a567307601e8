"""Every error that the library raises on purpose.

    NudgingError
    ├── UsageError (ValueError)     what the caller gave can't be used; nothing was started
    │   ├── ConfigError             an option, a preset or a config file
    │   ├── SpecError               an engine spec that does not parse
    │   └── InputError              a question or a conversation
    │       └── ContextOverflow     it does not fit the model's context
    ├── MissingExtra                an optional dependency is not installed
    ├── ModelError                  a model can't be loaded or used
    │   └── TemplateError           its chat template is unknown, broken or forbidden
    ├── ServerError                 a model server; carries the server's own words
    │   ├── ServerDown              no connection                      (retryable)
    │   ├── ServerTimeout           no answer in time                  (retryable)
    │   ├── ServerBusy              429                                (retryable)
    │   ├── ServerFailed            5xx, or a stream that broke off    (retryable)
    │   ├── ServerRefused           401, 403, 404 and other 4xx
    │   └── ServerNonsense          not what the API promises: HTML, no log-probs, bad JSON
    └── PullError                   a download: network, disk, checksum

Each says what was wrong (the message), what to do next (`hint`), whether trying again can help
(`retryable`), and the HTTP status that a server of ours answers with (`status`).
"""

from __future__ import annotations

import json
import os
import shlex
import sys


class NudgingError(Exception):
    hint: str = ""
    retryable: bool = False
    status: int = 500

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        if hint:
            self.hint = hint


class UsageError(NudgingError, ValueError):
    status = 400


class ConfigError(UsageError):
    """An option that does not exist, has a bad value, or is forbidden by the preset."""

    def __init__(self, message: str, *, option: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.option = option
        """The option's name, when one option is to blame."""


class SpecError(UsageError):
    """An engine spec that does not parse, or names what there is not."""


class InputError(UsageError):
    """A question or a conversation that can't be answered as it is."""


class ContextOverflow(InputError):
    """A prompt that leaves no room in the model's context; found before any decoding.

    tokens: as many as it has at least. limit: as many as the context holds.
    """

    def __init__(self, message: str, *, tokens: int, limit: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.tokens = tokens
        self.limit = limit

    hint = "shorten the question, or open the model with a larger context (?n_ctx=...)"


class MissingExtra(NudgingError):
    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs packages that are not installed",
            hint=install(extra),
        )


def install(extra: str) -> str:
    """The command that adds an extra to this Python: from the clone or wheel that was installed,
    where that is still there, so that nobody gets another release, or none."""
    from importlib import metadata  # 30 ms, with the rest: only those who lack something pay for it
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    try:
        told = json.loads(metadata.distribution("nudging").read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, ValueError):
        told = {}
    url = urlsplit(told.get("url", ""))
    path = os.path.normpath(url2pathname(url.path)) if url.scheme == "file" else ""
    source = path if path and os.path.exists(path) else "nudging"
    editable = ["--editable"] if told.get("dir_info", {}).get("editable") and source == path else []
    return pip(*editable, f"{source}[{extra}]")


def pip(*what: str) -> str:
    """pip's command for this Python, which is not always the one that `pip` alone means."""
    return shlex.join([sys.executable or "python", "-m", "pip", "install", *what])


class ModelError(NudgingError):
    """A model file, folder or runtime that can't be loaded or used."""


class TemplateError(ModelError):
    hint = (
        "name a built-in template with ?template=chatml (or llama2, llama3, gemma, olmo, mistral)"
    )


class ServerError(NudgingError):
    status = 502


class ServerDown(ServerError):
    retryable = True
    status = 503
    hint = "is the server running, and is the address right?"


class ServerTimeout(ServerError):
    retryable = True
    status = 504
    hint = "raise the limit with ?timeout=SECONDS, or look at the server's load"


class ServerBusy(ServerError):
    """The server answered 429."""

    retryable = True
    status = 503
    hint = "lower the concurrency, or try again later"

    def __init__(self, message: str, *, retry_after: float | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after
        """Seconds that the server asked to be left alone, if it said."""


class ServerFailed(ServerError):
    retryable = True
    hint = "the server's own log says more"


class ServerRefused(ServerError):
    """The server understood and said no: 401, 403, 404, or another 4xx."""

    def __init__(self, message: str, *, code: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code


class ServerNonsense(ServerError):
    hint = "is this the address of an OpenAI-compatible API (it usually ends in /v1)?"


class PullError(NudgingError):
    """A download that failed: nothing half-finished is left under the final name."""
