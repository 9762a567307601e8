"""A program that stands in for vLLM's: takes its flags, serves the scripted pair in vLLM's shapes.

    python -m tests.fake_vllm serve MODEL --served-model-name base|nudge --port N ...

FAKE_VLLM holds JSON that says by that name what else it does: `late` (seconds until it listens),
`dies` (seconds until it does, exit code 3), `deaf` (it and its child ignore SIGTERM), `taken` (it
finds its port taken), `plain` (its model has no chat template). Like the real one it has a child,
which outlives it unless that is killed, too. FAKE_VLLM_SEEN is a folder that gets a file for each,
with its numbers and what it was given.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import aclosing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.reliability.upstream import answered, told

from nudging.engines.base import Want
from nudging.engines.scripted import open_scripted
from nudging.engines.spec import parse_spec
from nudging.prompts.chat import Part, Prompt
from nudging.values.tokens import Source


async def events(source: Source, body: dict[str, Any]) -> list[dict[str, Any]]:
    text = body["prompt"]
    text = text if isinstance(text, str) else "".join(map(chr, text))
    start = answered(text)
    engine = open_scripted(parse_spec(f"scripted:{source}"))
    prompt, n = Prompt((Part(text.removesuffix(start)),)), body["max_tokens"]
    want = Want(source, top_k=body["logprobs"])
    async with aclosing(engine.stream(prompt, start.encode(), n, want)) as stream:
        steps = [step async for step in stream]
    return [told(step, last=place == n - 1) for place, step in enumerate(steps)]


class Handler(BaseHTTPRequestHandler):
    source: Source
    plain: bool

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        model = {"id": self.source, "owned_by": "vllm", "max_model_len": 2048}
        answers = {"/health": {}, "/v1/models": {"data": [model]}}
        self._answer(answers.get(self.path))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/tokenize":  # a token is a character
            messages = body.get("messages")
            if messages and self.plain:
                self._answer(None)
                return
            turns = "".join(f"{m['role']}: {m['content']}\n" for m in messages or ())
            text = f"{turns}assistant:" if messages else body["prompt"]
            self._answer({"tokens": [ord(character) for character in text]})
        elif self.path == "/detokenize":
            self._answer({"prompt": "".join(map(chr, body["tokens"]))})
        elif self.path == "/v1/completions":
            found = asyncio.run(events(self.source, body))
            if not body["stream"]:
                self._answer(found[0])
                return
            lines = [f"data: {json.dumps(event)}\n\n" for event in found]
            self._send("text/event-stream", "".join([*lines, "data: [DONE]\n\n"]))
        else:
            self._answer(None)

    def _answer(self, body: object) -> None:
        self._send("application/json", json.dumps(body), 404 if body is None else 200)

    def _send(self, kind: str, text: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.end_headers()
        self.wfile.write(text.encode())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=["serve"])
    parser.add_argument("model")
    parser.add_argument("--served-model-name", choices=["base", "nudge"])
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    given, flags = parser.parse_known_args()
    Handler.source = given.served_model_name
    does = json.loads(os.environ.get("FAKE_VLLM", "{}")).get(given.served_model_name, {})
    Handler.plain = bool(does.get("plain"))
    if does.get("deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(["sleep", "600"])
    seen = Path(os.environ["FAKE_VLLM_SEEN"], f"{given.served_model_name}.json")
    told = {"pids": [os.getpid(), child.pid], "model": given.model, "flags": flags}
    seen.write_text(
        json.dumps({**told, "began": time.time(), "path": os.environ.get("PYTHONPATH")})
    )
    say("loading weights \x1b[31m100%")
    if "dies" in does:
        threading.Timer(does["dies"], die).start()
    time.sleep(does.get("late", 0))
    _other = socket.create_server((given.host, given.port)) if does.get("taken") else None
    ThreadingHTTPServer((given.host, given.port), Handler).serve_forever()


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def die() -> None:
    say("RuntimeError: the accelerator is on fire")
    os._exit(3)


if __name__ == "__main__":
    main()
