"""Ray on this machine, as a cluster of several nodes: a batch through losses, and the server.

`make test-scale` runs these. Servers are scripted processes of known speed.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest
from benchmarks.batch import NUDGE, PAIR
from benchmarks.capacity.measure import Server, started
from benchmarks.capacity.server import script
from benchmarks.capacity.setting import SETTING

from nudging.plan.speed import Speed
from tests.e2e.test_batch import FRANCE, PARIS, lines, read

pytest.importorskip("ray")

pytestmark = [pytest.mark.scale, pytest.mark.filterwarnings("ignore")]

FAST = SETTING._replace(
    base=Speed(first=4, more=0.1, request=1, prompt=0.01),
    nudge=Speed(first=2, more=0.1, request=1, prompt=0.01),
    output=20,
)
ROWS = 500


class Ray:
    """Nodes of a cluster, each with processes of its own."""

    def __init__(self, nodes: int) -> None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        from ray.cluster_utils import Cluster

        self.before = {child.pid for child in psutil.Process().children(recursive=True)}
        each = {"num_cpus": 2, "object_store_memory": 80 * 2**20}
        self.cores = nodes * each["num_cpus"]
        self._cluster = Cluster(
            initialize_head=True, head_node_args={**each, "include_dashboard": False}
        )
        for _ in range(nodes - 1):
            self._cluster.add_node(**each)
        self.address: str = self._cluster.address

    def processes(self, name: str) -> list[psutil.Process]:
        """Of all nodes, those that do such work."""
        found = []
        for child in psutil.Process().children(recursive=True):
            try:
                if child.pid not in self.before and name in " ".join(child.cmdline()):
                    found.append(child)
            except psutil.NoSuchProcess:
                continue
        return found

    def end(self) -> None:
        import ray

        ray.shutdown()
        mine = self.processes("")
        self._cluster.shutdown()
        _, left = psutil.wait_procs(mine, timeout=20)
        for process in left:
            process.kill()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Ray]:
    found = Ray(3)
    try:
        yield found
    finally:
        found.end()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty config file, whatever the user has."""
    (tmp_path / "config.toml").write_text("")
    monkeypatch.setenv("NUDGING_CONFIG", str(tmp_path / "config.toml"))


def batch(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*NUDGE, "batch", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def done(*arguments: object) -> tuple[int, str, str]:
    child = batch(*arguments)
    try:
        out, err = child.communicate(timeout=240)
    finally:
        child.kill()
    return child.returncode, out, err


def wait_for_parts(out: Path, count: int, child: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 180
    while len(list((out / "_nudge" / "done").glob("[!.]*"))) < count:
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def all_rows(out: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(out.glob("*.jsonl")) for row in read(path)]


def said(row: dict[str, Any]) -> Any:
    """What must not depend on who answered it, and when."""
    return [row[name] for name in ("id", "text", "spans", "stop_reason", "error")]


# --- batches --------------------------------------------------------------------------------


def test_a_server_and_a_worker_are_lost_and_no_answer_is(cluster: Ray, tmp_path: Path) -> None:
    rows = [{"id": n, "prompt": f"Say number ({n})."} for n in range(ROWS)]
    source = lines(tmp_path / "in.jsonl", rows)
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out"
    with started("base", 2, FAST) as bases, started("nudge", 2, FAST) as nudges:
        pair = ["--base", specs(bases), "--nudge", specs(nudges)]
        code, told, err = done(source, whole, *pair)
        assert (code, told) == (0, "500 rows: 500 answered, 0 failed, 0 bad\n"), err
        ray = ["--ray", "--address", cluster.address, "--workers", "2", "--part", "20"]
        child = batch(source, out, *pair, *ray)
        try:
            wait_for_parts(out, 2, child)
            bases[0].process.kill()
            wait_for_parts(out, 6, child)
            lost = cluster.processes("_Worker")[0]
            lost.kill()
            told, err = child.communicate(timeout=240)
        finally:
            child.kill()
            child.communicate()
    assert (child.returncode, told) == (0, "500 rows: 500 answered, 0 failed, 0 bad\n"), err
    assert len(list(out.glob("*.jsonl"))) == ROWS // 20
    assert not lost.is_running()
    one, many = read(whole), all_rows(out)
    assert [row["id"] for row in many] == list(range(ROWS))
    assert list(map(said, many)) == list(map(said, one))
    for number in (0, ROWS - 1):
        assert many[number]["text"] == "".join(token.text for token in script(FAST, number))


def specs(servers: list[Server]) -> str:
    return ",".join(server.spec for server in servers)


def test_a_job_that_was_killed_goes_on_with_the_parts_that_are_left(
    cluster: Ray, tmp_path: Path
) -> None:
    rows = [{"id": n, "prompt": f"{n}. {FRANCE}"} for n in range(100)]
    source, out = lines(tmp_path / "in.jsonl", rows), tmp_path / "out"
    slow = ["--base", "scripted:base?delay=0.02", "--nudge", "scripted:nudge?delay=0.02"]
    ray = ["--ray", "--address", cluster.address, "--part", "5", "--concurrency", "4"]
    child = batch(source, out, *slow, *ray)
    wait_for_parts(out, 3, child)
    child.kill()
    child.communicate()
    before = {path: path.stat().st_mtime_ns for path in out.glob("_nudge/done/*")}
    assert 3 <= len(before) < 20
    code, _, err = done(source, out, *slow, *ray)
    assert code == 2
    assert "has been begun" in err
    code, _, err = done(source, out, *slow, *ray, "--part", "6", "--resume")
    assert code == 2
    assert "part was 5, is 6" in err
    code, told, err = done(source, out, *slow, *ray, "--resume")
    assert (code, told) == (0, "100 rows: 100 answered, 0 failed, 0 bad\n"), err
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert [row["id"] for row in all_rows(out)] == list(range(100))
    code, told, err = done(source, out, *slow, *ray, "--resume")
    assert (code, told) == (0, "")
    assert "nothing is left to do" in err


def test_a_folder_of_tables_and_a_url(cluster: Ray, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "in").mkdir()
    for name in "ab":
        asked = [f"{n}. {FRANCE}" for n in range(6)]
        asked[5] = ""
        columns = {"prompt": asked, "day": pa.array([1] * 6, pa.date32())}
        pq.write_table(pa.table(columns), tmp_path / "in" / f"{name}.parquet")
    out = tmp_path / "out"
    ray = ["--ray", "--address", cluster.address, "--part", "4"]
    code, told, err = done(f"file://{tmp_path}/in", f"file://{out}", *PAIR, *ray)
    assert (code, told) == (1, "12 rows: 10 answered, 0 failed, 2 bad\n"), err
    assert f"2 rows can't be asked: file://{out}/_nudge/bad" in err
    found = pq.read_table(out)
    assert found.num_rows == 10
    assert found.schema.field("day").type == pa.date32()
    assert set(found["text"].to_pylist()) == {PARIS}
    assert sorted(found["id"].to_pylist()) == sorted([*"12345"] * 2)


def test_workers_may_take_every_core(cluster: Ray, tmp_path: Path) -> None:
    source = lines(tmp_path / "in.jsonl", [{"prompt": FRANCE}] * 8)
    ray = ["--ray", "--address", cluster.address, "--workers", cluster.cores]
    code, told, err = done(source, tmp_path / "out", *PAIR, *ray)
    assert (code, told) == (0, "8 rows: 8 answered, 0 failed, 0 bad\n"), err


def test_models_that_a_worker_cannot_open_are_told(cluster: Ray, tmp_path: Path) -> None:
    source = lines(tmp_path / "in.jsonl", [{"prompt": "x"}])
    pair = ["--base", "http://127.0.0.1:9/v1?retries=0", "--nudge", "scripted:nudge"]
    ray = ["--ray", "--address", cluster.address]
    code, told, err = done(source, tmp_path / "out", *pair, *ray)
    assert (code, told) == (1, "")
    assert "is the server running" in err
    assert "Traceback" not in err


def test_a_cluster_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    source = lines(tmp_path / "in.jsonl", [{"prompt": "x"}])
    code, _, err = done(source, tmp_path / "out", *PAIR, "--ray", "--address", "127.0.0.1:9")
    assert code == 1
    assert "can't reach Ray at 127.0.0.1:9" in err
    assert not (tmp_path / "out").exists()


def test_what_is_for_ray_is_not_for_one_machine(tmp_path: Path) -> None:
    source = lines(tmp_path / "in.jsonl", [{"prompt": "x"}])
    code, _, err = done(source, tmp_path / "out.jsonl", *PAIR, "--workers", "2")
    assert code == 2
    assert "--workers is for --ray" in err
    code, _, err = done(source, tmp_path / "out", *PAIR, "--ray", "--unordered")
    assert code == 2
    assert "--unordered" in err


# --- the server -----------------------------------------------------------------------------


@contextmanager
def application(cluster: Ray, folder: Path, **arguments: str) -> Iterator[str]:
    """`serve run` of our application; its address."""
    import yaml

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = yaml.safe_load((ROOT / "deploy" / "ray-serve.yaml").read_text())
    config["http_options"].update(port=port, host="127.0.0.1")
    config["proxy_location"] = "HeadOnly"  # all nodes are this machine, which has one such port
    (one,) = config["applications"]
    one["args"] = {"target": "2", **arguments}
    one.pop("runtime_env", None)
    (folder / "serve.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "ray.serve.scripts", "run", str(folder / "serve.yaml")]
    child = subprocess.Popen(
        [*command, "--address", cluster.address],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        until(lambda: ready(url, child), 120)
        yield f"{url}/v1"
    finally:
        child.send_signal(signal.SIGINT)
        try:
            child.communicate(timeout=60)
        finally:
            child.kill()


ROOT = Path(__file__).parents[2]


def until(holds: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def ready(url: str, child: subprocess.Popen[str]) -> bool:
    import httpx2

    assert child.poll() is None, child.communicate()
    try:
        return httpx2.get(f"{url}/ready").status_code == 200
    except httpx2.HTTPError:
        return False


def figure(url: str, name: str) -> float:
    import httpx2

    text = httpx2.get(url.removesuffix("/v1") + "/metrics").text
    return float(next(line for line in text.splitlines() if line.startswith(name)).split()[1])


def test_ray_serve_answers_openai_clients(cluster: Ray, tmp_path: Path) -> None:
    slow = {name: f"scripted:{name}?delay=0.1" for name in ("base", "nudge")}
    asked: Any = {"model": "nudged", "messages": [{"role": "user", "content": FRANCE}]}
    with (
        application(cluster, tmp_path, **slow) as url,
        openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=60) as client,
    ):
        answer = client.chat.completions.create(**asked)
        assert answer.choices[0].message.content == PARIS
        came = [
            (time.monotonic(), chunk.choices[0].delta.content or "")
            for chunk in client.chat.completions.create(**asked, stream=True)
        ]
        assert "".join(text for _, text in came) == PARIS
        assert came[-1][0] - came[0][0] > 0.3  # as it was written, not in one lump
        leaving = client.chat.completions.create(**asked, stream=True)
        next(iter(leaving))
        leaving.close()
        until(lambda: not figure(url, "nudging_answers_running"), 2)
        with pytest.raises(openai.NotFoundError, match="there is no model"):
            client.chat.completions.create(model="other", messages=asked["messages"])
        updated(cluster, client, asked, slow)


def updated(
    cluster: Ray, client: openai.OpenAI, asked: dict[str, Any], slow: dict[str, str]
) -> None:
    """Another version of the application replaces the first, whose answers come to their end."""
    import ray
    from ray import serve

    from nudging.server.on_ray import app

    ray.init(cluster.address, log_to_driver=False)
    stream = client.chat.completions.create(**asked, stream=True)
    first = next(iter(stream))
    serve.run(app({**slow, "max_tokens": "3"}), name="nudge", route_prefix="/")
    rest = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert (first.choices[0].delta.content or "") + rest == PARIS
    answer = client.chat.completions.create(**asked)
    assert answer.choices[0].finish_reason == "length"
    ray.shutdown()
