"""The playground's file: what the browser is told about it, and what it knows of the library."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any, get_args

import pytest
from starlette.testclient import TestClient

from nudging import NudgedModel
from nudging.engines import open_engine
from nudging.page import ENDED, answer_page
from nudging.rule.config import Config, Preset, StopRule, settings
from nudging.server.answer_queue import AnswerQueue, Limits
from nudging.server.api_keys import ApiKeys
from nudging.server.asgi_app import make_app
from nudging.server.playground import PAGE, policy
from nudging.server.served_models import ServedModels
from nudging.values.tokens import HandoverReason

TEXT = PAGE.decode()
FRANCE = "What is the capital of France?"


def client(*keys: str, **options: Any) -> TestClient:
    base, nudge = open_engine("scripted:base"), open_engine("scripted:nudge")
    return TestClient(
        make_app(ServedModels(base, nudge, **options), AnswerQueue(Limits(8)), ApiKeys(keys))
    )


def test_it_needs_no_key_and_holds_none() -> None:
    locked = client("secret")
    response = locked.get("/")
    assert (response.status_code, response.content) == (200, PAGE)
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert locked.head("/").status_code == 200
    assert locked.post("/").status_code == 405
    assert locked.get("/v1/models").status_code == 401


def test_the_policy_lets_only_its_own_script_and_style_run() -> None:
    told = client().get("/").headers["content-security-policy"]
    rules = dict(rule.split(" ", 1) for rule in told.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["connect-src"] == "'self'"
    assert "unsafe" not in told
    for tag in ("script", "style"):
        inner = TEXT.split(f"<{tag}>")[1].split(f"</{tag}>")[0]
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"


def test_the_policy_is_for_one_script_and_one_style() -> None:
    with pytest.raises(ValueError, match="unpack"):
        policy(PAGE + b"<script>second</script>")


def test_nothing_in_it_is_from_elsewhere_or_outside_its_policy() -> None:
    assert not re.search(r"\b(src|srcset|action|style|on\w+)=[\"']", TEXT)
    assert not re.search(r"url\(|@import|innerHTML|insertAdjacent|document\.write|eval\(", TEXT)
    addresses = set(re.findall(r"https?://[^'\"\s]+", TEXT))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, which is not fetched


def test_it_has_words_for_all_reasons_and_a_choice_for_all_rules() -> None:
    endings = dict(re.findall(r'^  (\w+): "(.*)",$', TEXT, re.MULTILINE))
    for reason, words in ENDED.items():
        assert endings[reason.value] == words
    assert set(endings) == {reason.value for reason in ENDED} | set(get_args(HandoverReason))
    shown = re.findall(r"<option>(\w+)", TEXT)
    assert shown == [*get_args(Preset), *get_args(StopRule)]


def luminance(colour: str) -> float:
    digits = colour * 2 if len(colour) == 3 else colour
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_its_colours_can_be_read(scheme: int) -> None:
    """By WCAG 2.2, level AA: 4.5 to 1 for text, 3 to 1 for the edges of what can be used."""
    palette = re.findall(r":root\{(.*?)\}", TEXT, re.DOTALL)[scheme]
    colours = dict(re.findall(r"--([\w-]+):#([0-9a-f]+)", palette))

    def contrast(one: str, other: str) -> float:
        dim, bright = sorted((luminance(colours[one]), luminance(colours[other])))
        return (bright + 0.05) / (dim + 0.05)

    for ground in ("paper", "card"):
        for ink in ("ink", "soft", "bad"):
            assert contrast(ink, ground) >= 4.5, (ink, ground)
        assert contrast("edge", ground) >= 3
    assert contrast("nudge-ink", "nudge") >= 4.5


def test_it_can_learn_what_the_server_does_unless_it_is_told() -> None:
    models = client(gamma=0.2, preset="paper").get("/v1/models").json()["data"]
    want = {"preset": "paper", "gamma": 0.2, "stop": "lookahead", "max_tokens": 512, "bounds": {}}
    assert [model["nudging"] for model in models] == [want] * 3


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_may_come_with_its_page(streamed: bool) -> None:
    """The page that `nudge ask --html` writes, but for the time that it took."""
    asked = [{"role": "user", "content": FRANCE}]
    own = {"gamma": 0.3, "page": True}
    body = {"messages": asked, "nudging": own, "stream": streamed, "max_tokens": 50}
    response = client().post("/v1/chat/completions", json=body)
    last = response.json() if not streamed else json.loads(response.text.split("data: ")[-2])
    page = last["choices"][0]["nudging"]["page"]
    with NudgedModel("scripted:base", "scripted:nudge", gamma=0.3, max_tokens=50) as model:
        answer = model.answer(FRANCE)
    made = answer_page(answer, asked, settings(Config.of(gamma=0.3, max_tokens=50)))
    lines = set(timeless(made).splitlines())
    assert lines - set(timeless(page).splitlines()) == set()
    assert "made by" in page
    assert "scripted:" not in page  # where its models are is the operator's own business


def timeless(page: str) -> str:
    page = re.sub(r"<tr><td>(made by|seed|base sampling|nudge sampling)</td>.*?</tr>", "", page)
    return re.sub(r"[\d.]+(?= tokens/s)|(?<=<td>)\d+\.\d\d(?=</td></tr>)", "…", page)


def test_no_page_comes_unasked() -> None:
    body = {"messages": [{"role": "user", "content": FRANCE}]}
    choice = client().post("/v1/chat/completions", json=body).json()["choices"][0]
    assert "page" not in choice["nudging"]
