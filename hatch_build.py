"""Puts the built web pages into wheels and source archives.

Where node is there, `npm ci && npm run build` makes them anew; a source archive carries them built. A package without
the pages is still whole for everything but `catenary serve`, so a machine without node gets a warning, not a refusal.
"""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PAGE = "src/catenary/serve/static/index.html"
REMEDY = "install Node.js 20.19 or newer and build again, or run `make web` first"


class WebPages(BuildHookInterface):
    """Builds `web/` before files are collected."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the pages, unless this is an editable install, which is for those who run `make web`."""
        if version == "editable":
            return
        failure = self._build(Path(self.root) / "web")
        if failure and not (Path(self.root) / PAGE).is_file():
            self.app.display_warning(f"this package holds no web pages, since {failure}; {REMEDY}")
        elif failure:
            self.app.display_info(f"the web pages are taken as they were built before, since {failure}")

    def _build(self, web: Path) -> str:
        """What kept the pages from being built; an empty string where they were."""
        if not (web / "package.json").is_file():
            return "their source is not here"
        npm = shutil.which("npm")
        if npm is None:
            return "there is no npm"
        for step in (["ci", "--no-audit", "--no-fund"], ["run", "build"]):
            done = subprocess.run([npm, *step], cwd=web, capture_output=True, text=True)
            if done.returncode:
                said = (done.stderr.strip() or done.stdout.strip()).splitlines()
                return f"`npm {' '.join(step)}` failed: {said[-1] if said else 'it gave no reason'}"
        return ""
