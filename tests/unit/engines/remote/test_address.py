"""Specs of several servers."""

from __future__ import annotations

import pytest

from nudging.engines.spec import parse_spec
from nudging.errors import (
    SpecError,
)


def test_a_spec_of_several_servers() -> None:
    spec = parse_spec("http://a:1/v1#m?timeout=5,https://b/v1#m,c")
    assert (spec.kind, [one.path for one in spec.replicas]) == (
        "fleet",
        ["http://a:1/v1", "https://b/v1"],
    )
    assert spec.replicas[0].options == {"timeout": "5"}
    assert spec.replicas[1].model == "m,c"


@pytest.mark.parametrize(
    "text",
    ["llama:a.gguf,http://b/v1", "http://a/v1,http://", ",http://a", "http://a/v1,http://a/v1/"],
)
def test_only_servers_share_the_work_of_a_model(text: str) -> None:
    with pytest.raises(SpecError):
        parse_spec(text)
