"""Where templates run: bounds that hold before the work is done, and nobody held up by it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from starlette.types import Message

from nudging.engines import open_engine
from nudging.engines.local.local_engine import LocalEngine
from nudging.prompts import sandbox, sandbox_worker
from nudging.prompts.chat import MOST_CHARACTERS, MOST_MESSAGES
from nudging.prompts.sandbox import MEMORY, TemplateFailed, TemplateRefused, aside, run
from nudging.server.answer_queue import AnswerQueue, Limits
from nudging.server.api_keys import ApiKeys
from nudging.server.asgi_app import make_app
from nudging.server.served_models import ServedModels
from tests.toys import EchoRuntime

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds address space")
posix = pytest.mark.skipif(sys.platform == "win32", reason="processes as POSIX has them")

ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
GROWS = "{%% set ns = namespace(x='ab') %%}{%% for i in range(60) %%}%s{%% endfor %%}"
GREEDY = {
    "batch": "{{ [1] | batch(200000000, 0) | list | length }}",
    "slice": "{{ [1] | slice(200000000) | list | length }}",
    "replace": "{{ ('a' * 100000) | replace('a', 'b' * 100000) | length }}",
    "the method replace": "{{ ('a' * 100000).replace('a', 'b' * 100000) | length }}",
    "attr by map": "{{ ['{:>2000000000}'] | map('attr', 'format') | map('list') | list }}",
    "format": "{{ '{:>2000000000}'.format(1) | length }}",
    "the filter format": "{{ '%2000000000d' | format(1) | length }}",
    "percent": "{{ ('%2000000000d' % 1) | length }}",
    "percent, star": "{{ ('%*d' % (2000000000, 1)) | length }}",
    "center": "{{ 'a' | center(2000000000) | length }}",
    "the method center": "{{ 'a'.center(2000000000) | length }}",
    "expandtabs": "{{ '\t'.expandtabs(2000000000) | length }}",
    "zfill": "{{ 'a'.zfill(2000000000) | length }}",
    "ljust by map": "{{ ['a'] | map('center', 2000000000) | map('length') | list }}",
    "join": "{{ range(100000) | join('x' * 100000) | length }}",
    "the method join": "{{ ('x' * 100000).join('y' * 100000) | length }}",
    "times": "{{ ('a' * 2000000000) | length }}",
    "times, from the left": "{{ (2000000000 * 'a') | length }}",
    "a list, times": "{{ ([1] * 2000000000) | length }}",
    "a power": "{{ 10 ** (10 ** 10) }}",
    "a number as text": "{{ (10 ** 100000) | string | length }}{{ 9 ** 9 ** 9 }}",
    "tilde": GROWS % "{% set ns.x = ns.x ~ ns.x %}",
    "plus": GROWS % "{% set ns.x = ns.x + ns.x %}",
    "percent, again": GROWS % "{% set ns.x = '%s%s' % (ns.x, ns.x) %}",
    "list of lists": GROWS % "{% set ns.x = [ns.x, ns.x] | string %}",
    "indent": "{{ ('a\n' * 100000) | indent(100000) | length }}",
    "wordwrap": "{{ ('a' * 200000) | wordwrap(1, true, 'b' * 100000) | length }}",
    "truncate": "{{ ('a' * 100) | truncate(10, true, 'b' * 2000000000) | length }}",
    "lipsum": "{{ lipsum(n=1000000, html=false) | length }}",
    "tojson": "{{ ([[1]] * 1000000) | tojson(indent=10000) | length }}",
    "pprint": GROWS % "{% set ns.x = ns.x | pprint %}",
    "loops": ENDLESS,
    "loops over text": "".join(f"{{% for {n} in 'y' * 5000 %}}" for n in "abc")
    + "{% endfor %}" * 3,
    "printing": ENDLESS.replace("{% endfor %}", "aaaaaaaa{% endfor %}", 1),
    "recursion": "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "a loop that calls itself": (
        "{% for i in [[1]] recursive %}{{ loop(['a' * 9] * 100000) }}{% endfor %}"
    ),
}


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    """Each test begins and ends without processes."""
    sandbox._end_all()
    yield
    sandbox._end_all()


def only_worker() -> sandbox.Worker:
    (worker,) = sandbox._idle.queue
    return worker


# In a process of its own, whose only children are those that render.
RENDERED = """
import json, resource, sys
from nudging.prompts import sandbox
sandbox.SECONDS = 1

def own():  # getrusage counts what the process that started this one had
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))

found = {}
for name, template in json.load(sys.stdin).items():
    try:
        came = sandbox.run(template, {})
    except sandbox.TemplateFailed:
        came = "failed"
    next_one = sandbox.run("{{ a }}", {"a": "still here"})
    sandbox._end_all()
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    found[name] = [came, next_one, most, own()]
json.dump(found, sys.stdout)
"""


@pytest.fixture(scope="module")
def rendered() -> dict[str, list[Any]]:
    """What came of each, what came of the next, and the most memory that the process that renders
    and the one that has it rendered have had up to then, in kilobytes (on Linux)."""
    command = [sys.executable, "-c", RENDERED]
    done = subprocess.run(command, input=json.dumps(GREEDY).encode(), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, list[Any]] = json.loads(done.stdout)
    return found


@linux
@pytest.mark.parametrize("name", GREEDY)
def test_what_takes_too_much_is_ended_and_the_next_is_rendered(
    name: str, rendered: dict[str, list[Any]]
) -> None:
    came, following, most, used = rendered[name]
    assert (came, following) == ("failed", "still here")
    assert most <= MEMORY // 1000
    assert used <= 200_000


def test_the_words_say_what_was_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TemplateFailed, match=r"takes more than 512 MB"):
        run("{{ 'a' * 2000000000 }}", {})
    with pytest.raises(TemplateFailed, match="prints more than 10,000,000 characters"):
        run("{{ 'a' * 10000001 }}", {})
    monkeypatch.setattr(sandbox, "SECONDS", 0.5)
    with pytest.raises(TemplateFailed, match=r"did not end within 0\.5 s"):
        run(ENDLESS, {})


def test_a_refusal_is_told_in_the_templates_words_and_costs_no_process() -> None:
    run("", {})
    worker = only_worker()
    with pytest.raises(TemplateRefused, match=r"^only \{'a': 1\} & 東$"):
        run("{{ raise_exception('only ' ~ a ~ ' & 東') }}", {"a": {"a": 1}})
    with pytest.raises(TemplateFailed, match="failed: 'b' is undefined"):
        run("{{ b.c }}", {})
    with pytest.raises(TemplateRefused, match=r"^a{2000}$"):
        run("{{ raise_exception('a' * 10000000) }}", {})
    assert only_worker() is worker


def test_half_a_character_pair_is_no_text() -> None:
    with pytest.raises(TemplateFailed, match="surrogates not allowed"):
        run(r"{{ '\ud800' }}", {})
    assert run("b", {}) == "b"


def test_nothing_of_one_rendering_is_seen_by_the_next() -> None:
    run("{% set x = 1 %}{% macro m() %}{% endmacro %}{{ a }}", {"a": "secret"})
    assert run("{{ x }}{{ a }}{{ m is defined }}", {}) == "False"


def test_a_process_that_something_else_has_ended_is_replaced() -> None:
    run("", {})
    worker = only_worker()
    worker.kill()
    psutil.Process(worker.pid).wait(10)
    assert run("a", {}) == "a"
    assert only_worker() is not worker


@linux
def test_the_process_sees_neither_keys_nor_folders_and_its_memory_is_bounded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json.py").write_text("raise SystemExit")
    assert run("a", {}) == "a"
    process = psutil.Process(only_worker().pid)
    assert "HF_TOKEN" not in process.environ()
    assert process.rlimit(psutil.RLIMIT_AS) == (MEMORY, MEMORY)


def test_without_such_a_limit_the_process_works_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    sandbox_worker._limit(1)


@posix
def test_where_no_process_can_be_started_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for path, why in (("/nowhere/python", "No such file"), ("/bin/false", "exit code")):
        monkeypatch.setattr(sys, "executable", path)
        with pytest.raises(TemplateFailed, match=f"no process can be started .*{why}"):
            run("a", {})


def test_many_threads_get_each_its_own_text() -> None:
    def asked(number: int) -> str:
        return run("{% for i in range(300) %}{{ a }}{% endfor %}", {"a": number})

    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(asked, range(200))) == [str(n) * 300 for n in range(200)]
    assert sandbox._idle.qsize() <= 2


def test_slow_templates_hold_up_neither_the_loop_nor_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sandbox, "SECONDS", 60)  # none of the slow ones ends before the others

    async def main() -> None:
        slow = [asyncio.ensure_future(aside(run, ENDLESS, {})) for _ in range(3)]
        for number in range(20):
            assert await aside(run, "{{ a }}", {"a": number}) == str(number)
        assert not any(task.done() for task in slow)
        idle = {worker.pid for worker in sandbox._idle.queue}
        for process in psutil.Process().children():
            if process.pid not in idle and "sandbox_worker.py" in " ".join(process.cmdline()):
                process.kill()  # what a time-out does
        for task in slow:
            with pytest.raises(TemplateFailed):
                await task

    asyncio.run(main())


@posix
def test_an_interrupt_leaves_no_answer_behind_for_the_next() -> None:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        run("", {})
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            run(ENDLESS, {})
    finally:
        signal.signal(signal.SIGALRM, before)
    assert run("b", {}) == "b"


PLAIN = EchoRuntime.template or ""
LATER = "{% if question != '?' %}" + ENDLESS + "{% endif %}"  # the form is tried with a "?"
HELD = {
    "looping": (ENDLESS, "auto", [("user", "Why?")], 500),
    "two gigabytes": (GREEDY["times"], "auto", [("user", "Why?")], 500),
    "base_form looping": (PLAIN, LATER, [("user", "Why?")], 500),
    "80,000 messages": (PLAIN, "auto", [("user", "Why?")] * 80_000, 413),
    "as many as may be": (PLAIN, "auto", [("user", "a" * 900)] * MOST_MESSAGES, 400),
    "as much as may be": (PLAIN, "auto", [("user", "a " * (MOST_CHARACTERS // 2 - 50))], 400),
    "control tokens": (PLAIN, "auto", [("user", "<|end|>" * 100_000)], 400),
}


@pytest.mark.parametrize("name", HELD)
def test_the_thread_that_answers_is_never_held(name: str) -> None:
    """It computes for at most 100 ms at a time, and waits for nothing: neither for a template that
    takes three seconds."""
    template, form, turns, status = HELD[name]
    runtime = EchoRuntime(1, 1)
    runtime.template = template
    nudge = LocalEngine("toy:nudge", runtime)
    served = ServedModels(open_engine("scripted:base?n_ctx=100"), nudge, base_form=form)
    app = make_app(served, AnswerQueue(Limits(8, max_body=2 * MOST_CHARACTERS)), ApiKeys([]))
    messages = [{"role": role, "content": content} for role, content in turns]
    bodies = [json.dumps({"model": "nudged", "messages": messages, "max_tokens": 4}).encode()]
    sent: list[Message] = []
    computed: list[float] = []
    passed: list[float] = []

    async def receive() -> Message:
        if bodies:
            return {"type": "http.request", "body": bodies.pop()}
        await asyncio.sleep(600)
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    async def beat() -> None:
        while True:
            cpu, wall = time.thread_time(), time.monotonic()
            await asyncio.sleep(0.002)
            computed.append(time.thread_time() - cpu)
            passed.append(time.monotonic() - wall)

    async def main() -> None:
        scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": "/v1/chat/completions",
            "headers": [],
        }
        scope |= {"query_string": b"", "root_path": "", "http_version": "1.1", "scheme": "http"}
        beating = asyncio.create_task(beat())
        await app(scope, receive, send)
        await asyncio.sleep(0.01)
        beating.cancel()

    asyncio.run(main())
    assert sent[0]["status"] == status
    assert max(computed) < 0.1
    assert max(passed) < 2  # other processes may have the cores for a while


def script(text: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", text],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


STARTS = """
import os, sys, time
from nudging.prompts import sandbox
sandbox.run("", {})
(worker,) = sandbox._idle.queue
print(worker.pid, flush=True)
"""


def assert_ends(pid: int) -> None:
    for _ in range(600):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return  # a zombie here is an orphan that this machine's first process has not reaped
        time.sleep(0.05)
    pytest.fail("the process outlives the one that started it")


def test_the_end_of_the_program_is_the_end_of_the_process() -> None:
    program = script(STARTS)
    said, errors = program.communicate(timeout=60)
    assert (program.returncode, errors) == (0, "")
    assert not psutil.pid_exists(int(said))


@posix
def test_so_is_its_sudden_end() -> None:
    program = script(STARTS + "time.sleep(600)")
    assert program.stdout
    pid = int(program.stdout.readline())
    program.kill()
    program.communicate(timeout=60)
    assert_ends(pid)


@posix
def test_ctrl_c_is_for_the_program_alone() -> None:
    program = script(
        STARTS
        + f"""
sandbox.SECONDS = 60
try:
    sandbox.run({ENDLESS!r}, {{}})
except KeyboardInterrupt:
    print(sandbox.run("2", {{}}), flush=True)
"""
    )
    assert program.stdout
    pid = int(program.stdout.readline())
    for _ in range(600):
        if psutil.Process(pid).cpu_times().user > 0.3:  # it renders
            break
        time.sleep(0.05)
    os.killpg(program.pid, signal.SIGINT)
    said, errors = program.communicate(timeout=60)
    assert (said, errors, program.returncode) == ("2\n", "", 0)
    assert_ends(pid)


@posix
def test_a_forked_child_has_a_process_of_its_own() -> None:
    program = script(
        STARTS
        + """
child = os.fork()
if not child:
    print(sandbox.run("child", {}), sandbox._idle.queue[0].pid != worker.pid, flush=True)
    sys.exit()
os.waitpid(child, 0)
print(sandbox.run("parent", {}), sandbox._idle.queue[0].pid == worker.pid, flush=True)
"""
    )
    said, errors = program.communicate(timeout=60)
    assert (said.splitlines()[1:], errors) == (["child True", "parent True"], "")
