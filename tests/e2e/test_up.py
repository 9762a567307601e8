"""`nudge up` as a process of its own, with a program in vLLM's place, and once with vLLM."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.e2e.nudge_serve import FRANCE, NUDGE, PARIS
from tests.e2e.test_cli_terminal import Terminal

ROOT = Path(__file__).parents[2]
HUP, INT, TERM, KILL = signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGKILL


def lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def given(folder: Path, does: dict[str, Any], gpus: str = "") -> tuple[list[str], dict[str, str]]:
    """Arguments of a `nudge up` on two folders that look like models, and its environment, with
    the program in vLLM's place."""
    program = folder / "vllm"
    python = f'exec {shlex.quote(sys.executable)} -m tests.fake_vllm "$@"'
    program.write_text(f"#!/bin/sh\ncd {shlex.quote(str(ROOT))} && {python}\n")
    program.chmod(0o755)
    (folder / "seen").mkdir()
    models = [folder / "base-model", folder / "nudge-model"]
    for model in models:
        model.mkdir()
        (model / "config.json").write_text("{}")
        (model / "model.safetensors").write_bytes(bytes(100_000))
    (folder / "config.toml").write_text("")
    arguments = ["up", "--base", str(models[0]), "--nudge", str(models[1])]
    return [*arguments, "--logs", str(folder), "--port", "0"], {
        "NUDGING_CONFIG": str(folder / "config.toml"),
        "NUDGING_VLLM": str(program),
        "CUDA_VISIBLE_DEVICES": gpus,
        "FAKE_VLLM": json.dumps(does),
        "FAKE_VLLM_SEEN": str(folder / "seen"),
    }


def all_gone(folder: Path) -> None:
    began = [json.loads(file.read_text()) for file in (folder / "seen").iterdir()]
    pids = [pid for one in began for pid in one["pids"]]
    until = time.monotonic() + 30
    while left := list(filter(lives, pids)):
        assert time.monotonic() < until, f"left behind: {left}"
        time.sleep(0.02)


class Up:
    """A `nudge up`."""

    def __init__(self, folder: Path, *more: str, gpus: str = "", **does: dict[str, Any]) -> None:
        self.folder, self.seen = folder, folder / "seen"
        arguments, environment = given(folder, does, gpus)
        self.process = subprocess.Popen(
            [*NUDGE, *arguments, *more],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def url(self) -> str:
        """Where it serves, once it does."""
        assert self.process.stdout is not None
        said = self.process.stdout.readline().split()
        assert said, self.process.communicate(timeout=60)[1]
        return said[-1]

    def of(self, name: str) -> dict[str, Any]:
        """What a server says of itself, once it has begun."""
        file = self.seen / f"{name}.json"
        while not file.exists() or not file.read_text():
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.02)
        return dict(json.loads(file.read_text()))

    def end(self, number: signal.Signals | None = None) -> tuple[int, str]:
        """Send a signal, if any. The exit code, and what was told, after all is gone."""
        if number is not None:
            self.process.send_signal(number)
        _, told = self.process.communicate(timeout=60)
        all_gone(self.folder)
        return self.process.returncode, told


Starts = Callable[..., Up]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starts]:
    started = []

    def one(*arguments: str, **options: Any) -> Up:
        started.append(Up(tmp_path, *arguments, **options))
        return started[-1]

    yield one
    for up in started:
        if up.process.poll() is None:
            up.process.kill()
        up.process.communicate()


def ask(url: str) -> str:
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=60) as client:
        answer = client.chat.completions.create(
            model="nudged", messages=[{"role": "user", "content": FRANCE}], max_tokens=40
        )
    return answer.choices[0].message.content or ""


def test_it_answers_and_leaves_nothing(start: Starts) -> None:
    up = start("--base-args", "--dtype 'bfloat16'", nudge={"late": 1.5})
    assert ask(up.url()) == PARIS
    base, nudge = up.of("base"), up.of("nudge")
    assert base["flags"][-4:] == [
        *("--logits-processors", "nudging.vllm_gate.v1:Gate"),
        *("--dtype", "bfloat16"),
    ]
    assert "--logits-processors" not in nudge["flags"]
    assert abs(base["began"] - nudge["began"]) < 1.5  # on a CPU neither waits for the other
    code, told = up.end(INT)
    assert code == 130
    assert "vLLM for the nudging model is ready" in told
    assert "This pair works." in told
    assert "base model on the CPU: weights 0.00 GiB" in told
    assert told.count("Traceback") == 0


def test_on_one_gpu_the_second_waits_for_the_first(
    start: Starts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 0, GPU-a, 10240, 10000\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    up = start(base={"late": 2}, gpus="0")
    up.url()
    base, nudge = up.of("base"), up.of("nudge")
    assert nudge["began"] - base["began"] >= 2
    shares = [
        one["flags"][one["flags"].index("--gpu-memory-utilization") + 1] for one in (base, nudge)
    ]
    assert sum(map(float, shares)) == pytest.approx(0.9 * 10000 / 10240, abs=0.002)
    told = "base model on GPU 0: weights 0.00 GiB, KV cache 2.39 GiB, --gpu-memory-utilization"
    assert f"{told} {shares[0]}" in up.end(INT)[1]


def test_the_gate_can_be_imported_and_nothing_beside_the_package(start: Starts) -> None:
    up = start(nudge={"late": 600})
    folder = up.of("base")["path"].split(os.pathsep)[0]
    assert os.listdir(folder) == ["nudging"]
    assert Path(folder, "nudging", "vllm_gate", "v1.py").exists()
    up.end(INT)
    assert not Path(folder).exists()


@pytest.mark.parametrize(("number", "code"), [(INT, 130), (TERM, 0), (HUP, 129)])
def test_every_end_is_an_end_of_all(start: Starts, number: signal.Signals, code: int) -> None:
    up = start()
    up.url()
    assert up.end(number)[0] == code


@pytest.mark.parametrize(("number", "code"), [(INT, 130), (TERM, 143), (HUP, 129)])
def test_so_is_one_that_comes_before_they_are_ready(
    start: Starts, number: signal.Signals, code: int
) -> None:
    up = start(base={"late": 600}, nudge={"late": 600})
    up.of("base")
    up.of("nudge")
    assert up.end(number)[0] == code


def test_a_pair_that_does_not_work_is_not_served(start: Starts) -> None:
    up = start(nudge={"plain": True})
    code, told = up.end()
    assert code == 1
    assert "problem       http://127.0.0.1:" in told
    assert "renders no conversation" in told
    assert "This pair will not work as it is." in told


def test_at_a_terminal_it_says_what_it_waits_for(tmp_path: Path) -> None:
    pytest.importorskip("pty")
    arguments, environment = given(tmp_path, {"nudge": {"late": 600}})
    terminal = Terminal(*arguments, **environment)
    try:
        terminal.read("log of the nudging model: loading weights")
        assert "\x1b[31m" not in terminal.seen  # the server's own
        terminal.interrupt()  # goes to all that the terminal knows of
        assert terminal.exit_code() == 130
    finally:
        terminal.close()
    all_gone(tmp_path)


def test_a_server_that_dies_at_its_start_is_told_with_its_last_words(start: Starts) -> None:
    up = start(base={"late": 600}, nudge={"late": 600, "dies": 0})
    code, told = up.end()
    assert code == 1
    assert "| RuntimeError: the accelerator is on fire" in told
    assert "vLLM for the nudging model has ended, with exit code 3" in told
    assert "\x1b" not in told


def test_so_is_one_that_dies_later(start: Starts) -> None:
    up = start(base={"dies": 5})
    up.url()
    code, told = up.end()
    assert code == 1
    assert "vLLM for the base model has ended, with exit code 3" in told


def test_so_is_one_whose_port_is_taken(start: Starts) -> None:
    code, told = start(nudge={"taken": True}).end()
    assert code == 1
    assert "| OSError: [Errno 98] Address already in use" in told
    assert "vLLM for the nudging model has ended" in told


def test_the_deaf_are_killed_at_a_second_signal(start: Starts) -> None:
    up = start(base={"deaf": True}, nudge={"deaf": True})
    up.url()
    up.process.send_signal(INT)
    time.sleep(2)
    assert up.process.poll() is None  # they have some time left
    assert up.end(INT)[0] == 130


def test_servers_end_even_when_nobody_ends_them(start: Starts) -> None:
    up = start()
    up.url()
    main = [up.of(name)["pids"][0] for name in ("base", "nudge")]
    up.process.kill()
    until = time.monotonic() + 30
    while any(map(lives, main)):
        assert time.monotonic() < until
        time.sleep(0.02)
    for name in ("base", "nudge"):  # what the real one would do for its child
        os.kill(up.of(name)["pids"][1], KILL)


def test_a_port_of_ours_that_is_taken_is_told_before_anything_is_started(start: Starts) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        up = start("--port", str(taken.getsockname()[1]))
        code, told = up.end()
    assert code == 1
    assert "can't listen on" in told
    assert list(up.seen.iterdir()) == []


def test_who_is_not_ready_in_time_is_given_up(start: Starts) -> None:
    code, told = start("--start-limit", "2", nudge={"late": 600}).end()
    assert code == 1
    assert "vLLM for the nudging model was not ready after 2 s" in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--gate", "v3"), "there is no gate 'v3'"),
        (("--memory", "1.5"), "--memory is a share"),
        (("--start-limit", "0"), "--start-limit must be above 0"),
        (("--base-args", "'"), "--base-args does not read as words"),
        (("--gamma", "7"), "gamma must be a number from 0 to 1"),
        (("--nudge", "no/such/model"), "there is no model folder no/such/model"),
        (("--vllm", "no-such-vllm"), "there is no program no-such-vllm"),
    ],
)
def test_bad_options_are_told_before_anything_is_started(
    start: Starts, arguments: tuple[str, str], said: str
) -> None:
    up = start(*arguments)
    code, told = up.end()
    assert code in (1, 2)
    assert f"nudge: error: {said}" in told
    assert list(up.seen.iterdir()) == []


# --- real vLLM ------------------------------------------------------------------------------

VLLM = os.environ.get("NUDGING_TEST_VLLM", "")


def descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task").glob("*/children")
    found = [int(child) for file in children for child in file.read_text().split()]
    return found + [more for child in found for more in descendants(child)]


@pytest.mark.vllm
@pytest.mark.skipif(not VLLM, reason="NUDGING_TEST_VLLM does not name vLLM's program")
@pytest.mark.parametrize("number", [INT, KILL])
def test_the_built_in_pair_on_vllm(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "config.toml").write_text("")
    small = "--max-model-len 2048"
    flags = ["--vllm", VLLM, "--base-args", small, "--nudge-args", small]
    models = ["--base", "demo:base", "--nudge", "demo:nudge", "--logs", str(tmp_path)]
    with (tmp_path / "told").open("w") as told:
        up = subprocess.Popen(
            [*NUDGE, "up", *models, *flags, "--port", "0"],
            env={**os.environ, "NUDGING_CONFIG": str(tmp_path / "config.toml")},
            stdout=subprocess.PIPE,
            stderr=told,
            text=True,
        )
    try:
        assert up.stdout is not None
        said = up.stdout.readline().split()
        assert said, (tmp_path / "told").read_text()
        assert len(ask(said[-1]).split()) > 3
        started = descendants(up.pid)
        assert len(started) >= 4  # each server, and the engine that it has started
    finally:
        up.send_signal(number)
        up.communicate(timeout=60)
    text = (tmp_path / "told").read_text()
    assert "in the server, at the first token in doubt" in text
    until = time.monotonic() + 30
    while left := list(filter(lives, started)):
        assert time.monotonic() < until, left
        time.sleep(0.1)
    assert number == KILL or up.returncode == 130
