"""Shared by all tests: array annotations are checked while tests run, and torch keeps to one thread a worker."""

import os
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

os.environ.setdefault("OMP_NUM_THREADS", "1")
install_import_hook("catenary", "typecheck.check")

settings.register_profile("shared", deadline=None)  # a busy machine is no failure
settings.load_profile("shared")

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def real_data():
    """The folder of a real data set; the test is skipped where it is absent."""

    def find(name):
        if not (DATA / name).is_dir():
            pytest.skip(f"real data set '{name}' is not beside the project")
        return DATA / name

    return find


def pytest_make_parametrize_id(val, argname):
    """Bytes are no names: an archive holds the time it was made at, and every process must find the same tests."""
    return argname if isinstance(val, bytes) else None
