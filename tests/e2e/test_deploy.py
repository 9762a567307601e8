"""What `deploy/` holds: as far as it can be tried where it is, and what it names is there."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import httpx2
import openai
import pytest

from tests.e2e.nudge_serve import FRANCE, KEY, PARIS, Served, serving, until_idle

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMMANDS = (ROOT / "docs" / "help.md").read_text().partition("## nudge serve")[2]
FLAGS = set(re.findall(r"--[a-z-]+", COMMANDS.partition("\n## ")[0]))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Slow enough to tell a stream from one lump."""
    with serving(tmp_path_factory.mktemp("serve"), delay=0.1) as found:
        yield found


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def program(name: str) -> str:
    for folder in (None, "/usr/sbin:/sbin"):
        if found := shutil.which(name, path=folder):
            return found
    pytest.skip(f"{name} is not installed")


# --- Dockerfile -----------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """Each instruction of the Dockerfile and its arguments."""
    text = re.sub(r"\\\n\s*", "", (DEPLOY / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def given(word: str) -> str:
    """The arguments of the last instruction of a kind."""
    return [rest for kind, rest in instructions() if kind == word][-1]


def test_the_image_is_made_of_what_is_there() -> None:
    sent = (ROOT / ".dockerignore").read_text().split()
    for kind, rest in instructions():
        if kind == "COPY" and not rest.startswith("--from"):
            for name in rest.split()[:-1]:
                assert (ROOT / name).exists()
                assert f"!{name}" in sent
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    (named,) = re.findall(r"/src\[(.*)\]", (DEPLOY / "Dockerfile").read_text())
    assert set(named.split(",")) <= set(extras)
    assert given("USER").isdigit()  # and not root: Kubernetes can tell by the number alone
    assert int(given("USER")) > 0


def test_the_image_runs_a_command_that_there_is() -> None:
    words = [*json.loads(given("ENTRYPOINT")), *json.loads(given("CMD"))]
    assert words[:2] == ["nudge", "serve"]
    assert all(flag in FLAGS for flag in words if flag.startswith("--"))


def test_the_health_check_tells_a_server_that_is_up(served: Served) -> None:
    (check,) = re.findall(r'CMD (\[.*"\])', given("HEALTHCHECK"))
    python, *rest = json.loads(check)
    assert python == "python3"
    port = str(httpx2.URL(served.url).port)
    assert run(program("python3"), *(word.replace("8000", port) for word in rest)).returncode == 0
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    assert run(program("python3"), *(word.replace("8000", port) for word in rest)).returncode == 1


# --- systemd --------------------------------------------------------------------------------


def test_the_unit_is_one_that_systemd_reads(tmp_path: Path) -> None:
    unit = (DEPLOY / "nudge.service").read_text()
    (command,) = re.findall(r"^ExecStart=(.*)$", unit, re.M)
    words = shlex.split(command)
    assert words[1] == "serve"
    assert all(flag in FLAGS for flag in words if flag.startswith("--"))
    copy = tmp_path / "nudge.service"
    copy.write_text(unit.replace(words[0], "/bin/true"))  # it must be there
    checked = run(program("systemd-analyze"), "verify", "--man=no", copy)
    assert "nudge.service" not in checked.stderr


# --- nginx ----------------------------------------------------------------------------------


def at(served: Served) -> str:
    return served.url.removesuffix("/v1")


@contextmanager
def behind_nginx(upstream: str, folder: Path, more: str = "") -> Iterator[str]:
    """The address of a server behind a real nginx with our snippet. `more`: beside the server."""
    nginx = program("nginx")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    snippet = (DEPLOY / "nginx.conf").read_text()
    assert "http://127.0.0.1:8000" in snippet
    (folder / "snippet.conf").write_text(snippet.replace("http://127.0.0.1:8000", upstream))
    paths = "\n".join(
        f"{name}_temp_path {folder}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    own = "user root root;" if os.geteuid() == 0 else ""  # or its files are another's
    (folder / "nginx.conf").write_text(
        f"{own} daemon off; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{ access_log off; {paths}\n{more}\n"
        f"server {{ listen 127.0.0.1:{port}; include {folder}/snippet.conf; }} }}\n"
    )
    command = [nginx, "-e", str(folder / "error.log"), "-p", str(folder)]
    command += ["-c", str(folder / "nginx.conf")]
    tested = run(*command, "-t")
    assert tested.returncode == 0, tested.stderr
    with subprocess.Popen(command) as process:
        try:
            url = f"http://127.0.0.1:{port}/v1"
            until = time.monotonic() + 10
            while not (folder / "pid").exists():
                assert time.monotonic() < until
                time.sleep(0.02)
            yield url
        finally:
            process.terminate()


def test_streams_come_through_nginx_as_they_are_written(served: Served, tmp_path: Path) -> None:
    with (
        behind_nginx(at(served), tmp_path) as url,
        openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as client,
    ):
        stream = client.chat.completions.create(
            model="nudged", messages=[{"role": "user", "content": FRANCE}], stream=True
        )
        came = [(time.monotonic(), chunk.choices[0].delta.content or "") for chunk in stream]
        assert "".join(text for _, text in came) == PARIS
        times = [at for at, _ in came]
        apart = [after - before > 0.05 for before, after in pairwise(times)]
        assert sum(apart) >= 4  # the base model's tokens, of 0.1 s each
        leaving = client.chat.completions.create(
            model="nudged", messages=[{"role": "user", "content": FRANCE}], stream=True
        )
        next(iter(leaving))
        leaving.close()
        until_idle(served)
        too_large = httpx2.post(
            f"{url}/chat/completions",
            content=b" " * 4_000_001,
            headers={"authorization": f"Bearer {KEY}"},
        )
        assert too_large.status_code == 413
        assert too_large.json()["error"]["code"] == "too_large"
        number = too_large.headers["x-request-id"]
        assert re.fullmatch("[0-9a-f]{32}", number)  # nginx's own


def test_a_stream_that_breaks_off_does_so_behind_nginx_as_well(tmp_path: Path) -> None:
    headers = {"authorization": "Bearer from-the-environment"}
    body = {"messages": [{"role": "user", "content": FRANCE}], "stream": True}
    with serving(tmp_path, delay=0.1) as served, behind_nginx(at(served), tmp_path) as url:
        moved = httpx2.post(f"{url}/chat/completions/", headers=headers)
        assert moved.headers["location"] == f"{url}/chat/completions"
        with httpx2.stream(
            "POST", f"{url}/chat/completions", json=body, headers=headers
        ) as response:
            pieces = response.iter_bytes()
            assert b"data: " in next(pieces)
            served.process.kill()
            with pytest.raises(httpx2.RemoteProtocolError):
                list(pieces)


def test_several_servers_behind_nginx_are_as_one(tmp_path: Path) -> None:
    """As docs/scale.md shows it. One of them goes, and nobody notices."""
    (block,) = re.findall(
        r"```nginx\n(upstream nudging .*?)```", (ROOT / "docs" / "scale.md").read_text(), re.S
    )
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with serving(tmp_path / "one") as one, serving(tmp_path / "two") as two:
        for shown, each in zip(re.findall(r"\d[\d.]+:8000", block), (one, two), strict=True):
            block = block.replace(shown, str(httpx2.URL(each.url).netloc, "ascii"))
        with (
            behind_nginx("http://nudging", tmp_path, block) as url,
            openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as client,
        ):
            for _ in range(6):
                assert client.completions.create(model="nudged", prompt=FRANCE).choices
            asked = [each.figure("nudging_answer_seconds_count") for each in (one, two)]
            assert sum(asked) == 6
            assert min(asked) > 0
            one.process.kill()
            one.process.wait()
            for _ in range(4):
                assert client.completions.create(model="nudged", prompt=FRANCE).choices


# --- Grafana --------------------------------------------------------------------------------


def test_each_figure_of_the_dashboard_is_one_of_ours(served: Served) -> None:
    with served.client() as client:
        client.completions.create(model="nudged", prompt=FRANCE)
        with pytest.raises(openai.NotFoundError):
            client.completions.create(model="none", prompt=FRANCE)
    address = served.url.removesuffix("/v1") + "/metrics"
    shown = httpx2.get(address, headers={"authorization": f"Bearer {KEY}"}).text
    ours = {re.split(r"[{ ]", line)[0] for line in shown.splitlines() if line[0] != "#"}
    labels = set(re.findall(r"[{,](\w+)=", shown))
    panels = json.loads((DEPLOY / "grafana.json").read_text())["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    for expression in asked:
        assert set(re.findall(r"nudging_\w+", expression)) <= ours
        assert set(re.findall(r"by \((\w+)\)", expression)) <= labels
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in ours} == {
        re.sub("_(bucket|sum|count)$", "", name)
        for expression in asked
        for name in re.findall(r"nudging_\w+", expression)
    }
