"""Cases that the phone page's own code answers, so that a test can compare it with what Python says."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

WEB = Path(__file__).resolve().parents[1] / "web"


class Goldens:
    """Cases for `web/src/phone/golden.test.ts`, answered all at once.

    Args:
        folder: Where cases and answers are written.
    """

    def __init__(self, folder):
        self.folder, self.cases, self.expected, self.answers = folder, [], {}, {}

    def array(self, values):
        """An array as a case names it."""
        name = f"a{len(list(self.folder.glob('a*')))}.raw"
        values = np.ascontiguousarray(values)
        (self.folder / name).write_bytes(values.tobytes())
        return {"file": name, "shape": values.shape}

    def add(self, name, ask, expected, /, **given):
        assert name not in self.expected, name
        self.cases.append({"id": name, "ask": ask, **given})
        self.expected[name] = expected

    def run(self):
        (self.folder / "cases.json").write_text(json.dumps(self.cases))
        done = subprocess.run(
            ["npx", "--no-install", "vitest", "run", "src/phone/golden.test.ts"],
            cwd=WEB, env=os.environ | {"CATENARY_GOLDENS": str(self.folder), "CI": "1"}, capture_output=True, text=True,
            timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        self.answers = json.loads((self.folder / "answers.json").read_text())

    def pairs(self, ask):
        """Name, expectation and answer of every case of a kind."""
        names = [case["id"] for case in self.cases if case["ask"] == ask]
        assert names
        return [(name, self.expected[name], self.answers[name]) for name in names]


def needs_node():
    """Skip where the page's packages are not installed."""
    if shutil.which("npx") is None or not (WEB / "node_modules").is_dir():
        pytest.skip("node or the page's packages are missing: run `npm ci` in web/")
