"""The wheel as a stranger gets it: built, installed with its plain dependencies, and asked."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from nudging import __version__

ROOT = Path(__file__).parents[2]
LIMIT = 600
"""Seconds for each use of pip, which may have to fetch: ten or twenty are usual."""


def run(*command: str | Path, cwd: Path, limit: float = 120) -> str:
    """Run to the end. What it wrote; if it fails, what it said."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "NUDGING_CONFIG": str(cwd / "config.toml"),
        "NUDGING_CACHE": str(cwd / "cache"),
    }
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=limit,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps")
    run(*pip, "--wheel-dir", folder, ROOT, cwd=folder, limit=LIMIT)
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_holds_the_package_its_license_and_its_types(wheel: Path) -> None:
    assert wheel.name == f"nudging-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        info = f"nudging-{__version__}.dist-info"
        metadata = archive.read(f"{info}/METADATA").decode()
        license_text = archive.read(f"{info}/licenses/LICENSE").decode()
    assert {name.split("/")[0] for name in names} == {"nudging", info}
    sources = {path.relative_to(ROOT / "src").as_posix() for path in _sources()}
    assert {name for name in names if name.startswith("nudging/")} == sources
    assert "nudging/py.typed" in sources
    assert license_text == (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "License-Expression: Apache-2.0" in metadata


def _sources() -> list[Path]:
    package = ROOT / "src" / "nudging"
    return [p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts]


@pytest.fixture(scope="module")
def binaries(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of an environment that holds the wheel and its plain dependencies only."""
    home = tmp_path_factory.mktemp("home") / "venv"
    venv.create(home, with_pip=True)
    found = home / ("Scripts" if os.name == "nt" else "bin")
    pip = (found / "python", "-m", "pip", "install", "--quiet")
    run(*pip, wheel, cwd=home, limit=LIMIT)
    return found


def test_the_wheel_answers_in_an_environment_of_its_own(binaries: Path, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("")
    pair = ("--base", "scripted:base", "--nudge", "scripted:nudge")
    question = "What is the capital of France?"
    data = json.loads(run(binaries / "nudge", "ask", question, *pair, "--json", cwd=tmp_path))
    assert data["text"] == "The capital of France is Paris."
    assert data["stop_reason"] == "nudge"
    where = run(binaries / "python", "-c", "import nudging; print(nudging.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(binaries.parent)


@pytest.mark.parametrize("engine", ["llama", "hf"])
def test_what_is_not_installed_is_told(
    wheel: Path, binaries: Path, tmp_path: Path, engine: str
) -> None:
    code = (
        "import sys, nudging\ntry: nudging.open_engine(sys.argv[1] + ':model.gguf')\n"
        "except nudging.NudgingError as error: print(error.hint)"
    )
    hint = run(binaries / "python", "-c", code, engine, cwd=tmp_path).strip()
    assert shlex.split(hint)[1:] == ["-m", "pip", "install", f"{wheel}[{engine}]"]
    assert Path(shlex.split(hint)[0]).parent == binaries
