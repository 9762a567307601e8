"""`nudge serve` asked by clients that are no packages of ours: Node, litellm, lm_eval.

`make clients` installs them; a test whose client is not there is skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.nudge_serve import PARIS, Served, serving

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(__file__).parent / "clients"
PYTHON = ROOT / ".venv-clients" / "bin" / "python"
MODULES = ROOT / "build" / "clients" / "node_modules"
KEY = "from-the-environment"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("serve"), "--max-tokens", "1000", delay=0.02) as found:
        yield found


def run(command: list[str | Path], folder: Path) -> str:
    """Run a client in a folder of its own, offline. What it printed; if it fails, what it said."""
    home = {"HOME": str(folder), "HF_HOME": str(folder), "HF_HUB_OFFLINE": "1"}
    home["LITELLM_LOCAL_MODEL_COST_MAP"] = "true"  # or it fetches a list of prices
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "OPENAI_API_KEY": KEY, **home},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def asked_by_node(script: str, served: Served, folder: Path) -> Any:
    """What a script of OpenAI's Node client found."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    if not MODULES.is_dir():
        pytest.skip("the package openai is not installed for node: make clients")
    shutil.copy(SCRIPTS / script, folder)
    (folder / "node_modules").symlink_to(MODULES)
    return json.loads(run(["node", script, served.url, KEY], folder))


def test_openais_node_client(served: Served, tmp_path: Path) -> None:
    found = asked_by_node("openai.mjs", served, tmp_path)
    assert found["models"] == ["nudged", "base", "nudge"]
    assert found["whole"] == [PARIS, PARIS]
    assert found["nudgeRate"] == 0.5
    assert "".join(found["tokens"]) == found["streamed"] == found["helped"] == PARIS
    assert found["authors"] == [*["nudge"] * 2, *["base"] * 4, "nudge"]
    assert found["usage"] == 7
    assert found["text"] == "Sure! Here you go: one,"
    for name, kind, status, code, param in (
        ("missing", "NotFoundError", 404, "model_not_found", "model"),
        ("bad", "BadRequestError", 400, None, "top_p"),
        ("stranger", "AuthenticationError", 401, "invalid_api_key", None),
    ):
        error = {"kind": kind, "status": status, "code": code, "param": param, "tagged": True}
        assert found[name] == error
    assert 2 <= found["left"] < 50  # what was on its way came, and not the hundreds to follow


def test_openais_node_client_asks_for_responses(served: Served, tmp_path: Path) -> None:
    found = asked_by_node("responses.mjs", served, tmp_path)
    for name in ("whole", "again", "streamed", "snapshot", "helped"):
        assert found[name] == PARIS, name
    assert (found["status"], found["nudgeRate"], found["usage"]) == ("completed", 0.5, 7)
    begun = ["response.created", "response.in_progress", "response.output_item.added"]
    assert found["kinds"][:4] == [*begun, "response.content_part.added"]
    assert found["kinds"][4:-4] == ["response.output_text.delta"] * 7
    ended = ["response.output_text.done", "response.content_part.done"]
    assert found["kinds"][-4:] == [*ended, "response.output_item.done", "response.completed"]
    assert found["cut"] == ["incomplete", "max_output_tokens", "The capital"]
    for name, kind, status, code, param in (
        ("missing", "NotFoundError", 404, "model_not_found", "model"),
        ("kept", "BadRequestError", 400, "unsupported_parameter", "previous_response_id"),
        ("tools", "BadRequestError", 400, "unsupported_parameter", "tools"),
        ("gone", "NotFoundError", 404, None, "id"),
    ):
        assert found[name] == {"kind": kind, "status": status, "code": code, "param": param}
    assert 6 <= found["left"] < 50


def python() -> Path:
    if not PYTHON.exists():
        pytest.skip("litellm, lm_eval and inspect_ai are not installed: make clients")
    return PYTHON


def test_litellm(served: Served, tmp_path: Path) -> None:
    found = json.loads(run([python(), SCRIPTS / "ask_litellm.py", served.url, KEY], tmp_path))
    assert found["whole"] == found["streamed"] == found["awaited"] == found["text"] == PARIS
    assert found["usage"] == 7
    assert found["nudge_rate"] == 0.5
    assert found["authors"] == [*["nudge"] * 2, *["base"] * 4, "nudge"]
    assert found["missing"] == ["NotFoundError", 404]
    assert found["stranger"] == ["AuthenticationError", 401]


TASK = """
task: {name}
dataset_path: json
dataset_kwargs:
  data_files: {data}
test_split: train
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs:
  until: ["\\n\\n", " is Paris"]
  max_gen_toks: 40
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
"""


@pytest.mark.parametrize("kind", ["local-chat-completions", "local-completions"])
def test_lm_eval(served: Served, tmp_path: Path, kind: str) -> None:
    questions = [
        {"question": "What is the capital of France?", "answer": "The capital of France"},
        {"question": "Count to five.", "answer": "Sure! Here you go: one, two, three, four, five."},
    ]
    data = tmp_path / "questions.jsonl"
    data.write_text("".join(json.dumps(line) + "\n" for line in questions))
    (tmp_path / "local.yaml").write_text(TASK.format(name="local", data=data))
    chat = kind == "local-chat-completions"
    path = "chat/completions" if chat else "completions"
    options = f"base_url={served.url}/{path},model=nudged,tokenizer_backend=None,num_concurrent=2"
    command: list[str | Path] = [python(), "-m", "lm_eval", "--model", kind]
    command += ["--model_args", options, "--include_path", tmp_path, "--tasks", "local"]
    command += ["--output_path", tmp_path / "out", "--log_samples"]
    run([*command, "--apply_chat_template"] if chat else command, tmp_path)
    (results,) = (tmp_path / "out").rglob("results_*.json")
    found: dict[str, Any] = json.loads(results.read_text())
    assert found["results"]["local"]["exact_match,none"] == 1.0
    (samples,) = (tmp_path / "out").rglob("samples_*.jsonl")
    answers = [json.loads(line)["resps"][0][0] for line in samples.read_text().splitlines()]
    assert sorted(answers) == sorted(line["answer"] for line in questions)
