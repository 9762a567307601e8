"""The contracts between rooms (`[tool.importlinter]` in pyproject.toml): imports go down."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    program = (
        "import sys; from importlinter.cli import lint_imports; "
        f"sys.path.insert(0, {str(root / 'src')!r}); sys.exit(lint_imports(no_cache=True))"
    )
    return subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True)


def test_imports_go_down() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_import_that_goes_up_is_found_wherever_it_stands(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    file = tmp_path / "src" / "nudging" / "rule" / "draft.py"
    file.write_text(file.read_text() + "\ndef late() -> None:\n    from ..drive import driver\n")
    done = lint(tmp_path)
    assert done.returncode == 1
    assert "nudging.rule.draft -> nudging.drive.driver" in done.stdout
