"""Imports go downward only, and the contract that says so bites."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CHECK = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command; lint_imports_command()"


def lint(folder):
    """Run import-linter on the package in `folder`."""
    return subprocess.run(
        [sys.executable, "-c", CHECK, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(ROOT / "src" / "catenary", tmp_path / "catenary", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_imports_go_downward_only(copy):
    done = lint(copy)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("file", "line", "told"),
    [
        ("errors.py", "import catenary.types", "catenary.errors is not allowed to import catenary.types"),
        ("report/__init__.py", "import catenary.train", "catenary.report is not allowed to import catenary.train"),
        ("io/__init__.py", "import torch", "catenary.io is not allowed to import torch"),
        ("cli/show.py", "import matplotlib", "catenary.cli is not allowed to import matplotlib"),
        ("unlisted.py", "", "The following modules are not listed as layers"),
    ],
)
def test_a_planted_violation_is_found(copy, file, line, told):
    with (copy / "catenary" / file).open("a", encoding="utf-8") as source:
        source.write(f"\n{line}\n")
    done = lint(copy)
    assert done.returncode != 0
    assert told in done.stdout
