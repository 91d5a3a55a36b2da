"""Starting fast: what `import catenary` and `catenary --help` load, and how long they take."""

import subprocess
import sys
import time

import pytest

HEAVY = ("numpy", "torch", "pydantic", "rich", "cv2", "scipy", "jaxtyping")
#: Busy machines are slower than the promise; what loads is checked exactly, the time within this factor.
PATIENCE = 3


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def seconds(code, times=5):
    """The best of several runs in a fresh interpreter."""
    taken = []
    for _ in range(times):
        before = time.perf_counter()
        run(code)
        taken.append(time.perf_counter() - before)
    return min(taken)


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import catenary, sys", ()),
        ("import catenary, sys; dir(catenary); catenary.CatenaryError; catenary.__version__", ()),
        ("import sys; from catenary.cli.main import main; main(['--help'])", ()),
        ("import sys; from catenary.cli.main import main; main(['fit', '--help'])", ("pydantic",)),
        ("import sys; from catenary.cli.main import main; main(['settings'])", ("pydantic", "rich")),
        ("import catenary, sys; catenary.Recipe", ("pydantic",)),
    ],
)
def test_nothing_heavy_is_loaded(code, allowed):
    loaded = run(f"{code}; print('loaded', *(name for name in {HEAVY!r} if name in sys.modules))").splitlines()[-1]
    assert set(loaded.split()[1:]) <= set(allowed)


def test_looking_at_data_does_not_load_torch():
    assert run("import sys, catenary; catenary.inspect; print('torch' in sys.modules)").strip() == "False"


def test_import_takes_a_tenth_of_a_second():
    assert seconds("import catenary") - seconds("pass") < 0.1 * PATIENCE


def test_help_takes_a_third_of_a_second():
    assert seconds("from catenary.cli.main import main; main(['--help'])") < 0.3 * PATIENCE
