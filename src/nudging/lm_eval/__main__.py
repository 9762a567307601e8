"""`python -m nudging.lm_eval`: lm_eval's own command, which finds models only where they have been
imported."""

from __future__ import annotations

from lm_eval.__main__ import cli_evaluate

from . import NudgingLM as NudgingLM

if __name__ == "__main__":
    cli_evaluate()
