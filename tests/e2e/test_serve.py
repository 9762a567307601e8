"""`nudge serve` as a process of its own, asked by OpenAI's Python client."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import openai
import pytest

from nudging.cli import run
from nudging.errors import install
from tests.e2e.nudge_serve import FRANCE, PARIS, Served, serving
from tests.fake_server import FakeServer, answer, words


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("serve")
    (folder / "keys").write_text("from-a-file\n")
    with serving(folder, "--api-key", "given", "--api-key-file", str(folder / "keys")) as found:
        yield found


def test_it_says_where_it_is(served: Served) -> None:
    assert served.said.startswith("serving http://127.0.0.1:")
    assert served.said.endswith("/v1\n")


@pytest.mark.parametrize("key", ["given", "from-a-file", "from-the-environment"])
def test_openais_client_is_answered(served: Served, key: str) -> None:
    with served.client(key) as client:
        assert [model.id for model in client.models.list()] == ["nudged", "base", "nudge"]
        answer = client.chat.completions.create(
            model="nudged",
            messages=[{"role": "user", "content": FRANCE}],
            extra_body={"nudging": {"gamma": 0.4}},
        )
    assert answer.choices[0].message.content == PARIS
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 7
    extra = answer.choices[0].model_extra
    assert extra is not None
    assert extra["nudging"]["nudge_rate"] == 0.5


def test_openais_client_reads_streams(served: Served) -> None:
    with served.client() as client:
        chunks = list(
            client.chat.completions.create(
                model="nudged",
                messages=[{"role": "user", "content": FRANCE}],
                stream=True,
                stream_options={"include_usage": True},
            )
        )
        pieces = client.completions.create(model="nudge", prompt=FRANCE, stream=True)
        assert "".join(piece.choices[0].text for piece in pieces) == PARIS
    said = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(said) == PARIS
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 19


def test_openais_client_raises_its_own_errors(served: Served) -> None:
    with served.client() as client:
        with pytest.raises(openai.NotFoundError) as missing:
            client.completions.create(model="gpt", prompt="Hello")
        assert (missing.value.param, missing.value.code) == ("model", "model_not_found")
        assert missing.value.request_id
        with pytest.raises(openai.BadRequestError) as bad:
            client.completions.create(model="nudged", prompt="Hello", top_p=7)
        assert bad.value.param == "top_p"
    with served.client("wrong") as stranger, pytest.raises(openai.AuthenticationError):
        stranger.models.list()


@pytest.mark.parametrize(
    ("arguments", "key", "others"),
    [((), "", 403), ((), "secret", 200), (("--host", "0.0.0.0"), "", 200)],
)
def test_a_server_of_this_machine_goes_by_its_names(
    arguments: tuple[str, ...], key: str, others: int, tmp_path: Path
) -> None:
    """Without keys: else every page that a browser here shows could ask (DNS rebinding)."""
    with serving(tmp_path, *arguments, "--allow-host", "chat.example.org", key=key) as served:
        port = served.url.split(":")[-1].removesuffix("/v1")
        for host, status in (
            (f"localhost:{port}", 200),
            ("chat.example.org", 200),
            (f"evil.example:{port}", others),
        ):
            response = httpx2.get(
                f"http://127.0.0.1:{port}/ready",
                headers={
                    "host": host,
                    "origin": f"http://{host}",
                    "authorization": f"Bearer {key or 'none'}",
                },
            )
            assert response.status_code == status


def test_a_client_that_leaves_ends_its_answer(tmp_path: Path) -> None:
    with serving(tmp_path, "--max-tokens", "1000", delay=0.2) as served, served.client() as client:
        stream = client.chat.completions.create(
            model="nudged", messages=[{"role": "user", "content": "Count to five."}], stream=True
        )
        next(iter(stream))
        assert served.figure("nudging_answers_running") == 1
        stream.close()
        left = time.monotonic()
        while served.figure("nudging_answers_running"):  # 200 s, if it went on
            assert time.monotonic() < left + 30
        lines = served.end(signal.SIGTERM)[2].splitlines()
    assert any(json.loads(line).get("hung_up") for line in lines)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_running_answer_finishes_before_the_end(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with serving(tmp_path, delay=0.1) as served, served.client() as client:
        stream = client.chat.completions.create(
            model="nudged", messages=[{"role": "user", "content": FRANCE}], stream=True
        )
        chunks = iter(stream)
        said = [next(chunks)]
        served.process.send_signal(number)
        said += chunks
        assert "".join(c.choices[0].delta.content or "" for c in said) == PARIS
        out, err = served.process.communicate(timeout=30)
        assert served.process.returncode == code
    assert out == ""
    (line,) = err.splitlines()
    assert json.loads(line)["tokens"] == 7


def test_a_running_answer_gets_no_longer_than_it_may(tmp_path: Path) -> None:
    with serving(tmp_path, "--drain", "1", delay=1) as served, served.client() as client:
        stream = client.chat.completions.create(
            model="nudged", messages=[{"role": "user", "content": "Count to five."}], stream=True
        )
        chunks = iter(stream)
        next(chunks)
        begun = time.monotonic()
        ended: list[tuple[int, str, str]] = []
        ending = threading.Thread(target=lambda: ended.append(served.end(signal.SIGTERM)))
        ending.start()
        with pytest.raises(openai.APIError, match="shutting down"):
            list(chunks)
        ending.join(20)
    code, _, err = ended[0]
    assert code == 0
    assert json.loads(err)["error"] == "shutting_down"
    assert time.monotonic() < begun + 15


@pytest.mark.parametrize("streamed", [False, True])
def test_a_second_signal_ends_answers_with_an_error(tmp_path: Path, streamed: bool) -> None:
    with serving(tmp_path, delay=1) as served:
        body = {"messages": [{"role": "user", "content": "Count to five."}], "stream": streamed}
        with ThreadPoolExecutor() as pool:
            answer = pool.submit(
                httpx2.post,
                f"{served.url}/chat/completions",
                json=body,
                headers={"authorization": "Bearer from-the-environment"},
                timeout=30,
            )
            time.sleep(3)
            begun = time.monotonic()
            served.process.send_signal(signal.SIGTERM)
            time.sleep(1)
            code, _, err = served.end(signal.SIGTERM)
            assert time.monotonic() < begun + 15
        assert answer.result().status_code == (200 if streamed else 503)
        last = answer.result().text.strip().split("\n\n")[-1].removeprefix("data: ")
        assert json.loads(last)["error"]["code"] == "shutting_down"
    assert code == 0
    assert json.loads(err)["status"] == answer.result().status_code


def told(client: openai.OpenAI) -> str:
    """The answer, or the status of the error in its place."""
    try:
        answer = client.chat.completions.create(
            model="nudged", messages=[{"role": "user", "content": FRANCE}]
        )
    except openai.InternalServerError as error:
        return str(error.status_code)
    return answer.choices[0].message.content or ""


def test_a_model_that_goes_and_comes_back_needs_no_restart(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    address = f"http://127.0.0.1:{port}/v1#base?api_key_env=NUDGING_API_KEYS&timeout=5"
    with serving(tmp_path, "--port", port) as upstream:
        front = serving(tmp_path, "--base", address, "--nudge", "scripted:nudge")
        with front as served, served.client() as client:
            assert told(client) == PARIS
            upstream.process.kill()
            upstream.process.wait()
            assert told(client) in ("502", "503")
            with serving(tmp_path, "--port", port):
                back = time.monotonic()
                while told(client) != PARIS:
                    assert time.monotonic() - back < 30


def test_one_of_two_servers_may_go_in_the_middle_of_an_answer(tmp_path: Path) -> None:
    with serving(tmp_path, delay=0.05) as one, serving(tmp_path, delay=0.05) as other:
        option = "api_key_env=NUDGING_API_KEYS"
        spec = ",".join(f"{server.url}#base?{option}" for server in (one, other))
        front = serving(tmp_path, "--base", spec, "--nudge", "scripted:nudge")
        with front as served, served.client() as client:
            chunks = iter(
                client.chat.completions.create(
                    model="base",
                    messages=[{"role": "user", "content": FRANCE}],
                    max_tokens=20,
                    stream=True,
                )
            )
            said = [next(chunks) for _ in range(3)]
            assert served.figure("nudging_base_servers") == 2
            one.process.kill()
            said += chunks
            broken = "".join(c.choices[0].delta.content or "" for c in said)
            one.process.wait()
            whole = client.chat.completions.create(
                model="base", messages=[{"role": "user", "content": FRANCE}], max_tokens=20
            )
            assert whole.choices[0].message.content == broken
            deadline = time.monotonic() + 10  # the one that answered may have been the other
            while served.figure("nudging_base_servers") != 1:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            lines = map(json.loads, served.end(signal.SIGTERM)[2].splitlines())
            (warning,) = [line["warning"] for line in lines if "warning" in line]
            assert warning.startswith(f"{one.url}#base")


def test_a_place_that_is_taken_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        pair = ["--base", "scripted:base", "--nudge", "scripted:nudge"]
        assert run(["serve", *pair, "--port", port]) == 1
    err = capsys.readouterr().err
    assert f"can't listen on 127.0.0.1:{port}" in err
    assert "--port 0 any that is free" in err
    assert run(["serve", *pair, "--host", "192.0.2.1"]) == 1  # nobody's address
    assert "hint: --host 127.0.0.1 is for this machine alone" in capsys.readouterr().err


def test_a_pair_that_can_answer_nobody_is_not_served(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeServer() as upstream:
        upstream.replies["/v1/completions"] = [answer(words(" a")[0])]
        assert run(["serve", "--base", upstream.url, "--nudge", upstream.url, "--port", "0"]) == 1
    told = capsys.readouterr()
    assert not told.out
    assert "does not tell its template" in told.err
    assert "?template=chatml" in told.err


def test_without_its_extra_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['uvicorn'] = None; from nudging.cli import run;"
        "sys.exit(run(['serve', '--base', 'scripted:base', '--nudge', 'scripted:nudge']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"hint: {install('server')}" in done.stderr


def test_settings_come_from_the_config_file_and_the_command_line_wins(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("from-a-file\n")
    settings = (
        "[pairs.default]\nbase = 'scripted:base'\nnudge = 'scripted:nudge'\ngamma = 0.3\n"
        "[serve]\nmax_body = 9\nmax_answers = 1\nmax_queue = 1\nlog_text = true\ncors = ['https://mine.org']\n"
        "ignore_unsupported = true\n"
        f"bound = ['gamma=0.2:0.5', 'stop=fixed']\napi_key_file = '{tmp_path}/keys'\n"
    )
    given = tmp_path / "given.toml"
    given.write_text(settings)
    with serving(tmp_path, "--config", str(given), "--max-body", "1000") as served:
        with served.client("from-a-file") as client:
            with pytest.raises(openai.BadRequestError) as caught:
                client.completions.create(
                    model="nudged", prompt="a", extra_body={"nudging": {"gamma": 0.6}}
                )
            assert (caught.value.param, caught.value.code) == ("nudging.gamma", "out_of_bounds")
            with pytest.raises(openai.BadRequestError, match="2 answers at most") as many:
                client.completions.create(model="nudged", prompt="a", n=128, presence_penalty=1)
        _, _, err = served.end(signal.SIGTERM)
    assert many.value.param == "n"
    assert json.loads(err.splitlines()[0])["question"] == ["a"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ("[serve]\ncolour = 1", "no setting 'colour'"),
        ("serve = 1", "must be a table"),
        ("[serve]\nport = 'x'", "it is port in [serve]"),
        ("[serve]\ncors = 'https://a'", "[serve] cors must be a list of texts"),
        ("[serve]\nallow_host = 'a'", "[serve] allow_host must be a list of texts"),
        ("[serve]\nmax_queue = -1", "--max-queue"),
        ("[server]", "no section 'server'"),
        ("[serve]\nbound = ['gamma=0.5:1']", "gamma is 0.4 here"),
    ],
)
def test_bad_settings_are_told(
    settings: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.toml").write_text(settings)
    pair = ["--base", "scripted:base", "--nudge", "scripted:nudge"]
    assert run(["serve", *pair, "--config", str(tmp_path / "config.toml")]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--time-limit", "0"], "must be above 0"),
        (["--first-limit", "nan"], "must be above 0"),
        (["--port", "99999"], "65535"),
        (["--max-answers", "0"], "--max-answers"),
        (["--api-key", ""], "must not be empty"),
        (["--api-key-file", "nowhere"], "hint: it is a text file with a key a line"),
        (["--gamma", "7"], "gamma must be"),
        (["--bound", "gamma"], "--bound takes OPTION=LOW:HIGH"),
        (["--bound", "gamma=0.5:0.9"], "gamma is 0.4 here"),
        (["--bound", "gamma=0.6:0.1"], "OPTION=LOW:HIGH, LOW first"),
        (["--cors", "example.org"], "example.org"),
        (["--cors", "https://example.org/"], "https://example.org/"),
        (["--allow-host", "https://example.org"], "'https://example.org' is no host"),
        (["--max-body", "0"], "--max-body"),
    ],
)
def test_what_is_asked_wrongly_is_told(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = ["--base", "scripted:base", "--nudge", "scripted:nudge"]
    assert run(["serve", *pair, "--port", "0", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("nudge: error: ")
    assert told in err
