"""What `nudge check` prints of a model."""

from __future__ import annotations

import pytest

from nudging.cli.check_command import ModelCheck, _lines


@pytest.mark.parametrize(
    ("token_bytes", "room", "n_ctx", "told"),
    [
        (18 * 1024, 50_000, 8192, "18 KiB a token, room for 12 answers of 4,096 tokens"),
        (23_040, 2_048_000, 1024, "22.5 KiB a token, room for 2,000 answers of 1,024 tokens"),
        (512 * 1024, 100, 4096, "512 KiB a token, room for 0 answers of 4,096 tokens"),
        (18 * 1024, None, 4096, "18 KiB a token"),
    ],
)
def test_what_answers_cost_in_memory(
    token_bytes: int, room: int | None, n_ctx: int, told: str
) -> None:
    report = ModelCheck("hf:x", kind="hf", n_ctx=n_ctx, token_bytes=token_bytes, room=room)
    assert f"  {'cache':<14}{told}" in _lines("base", report)


def test_where_that_is_not_known_nothing_is_told() -> None:
    assert not any("cache" in line for line in _lines("base", ModelCheck("s", kind="vllm")))
