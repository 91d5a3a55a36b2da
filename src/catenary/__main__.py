"""``python -m catenary`` is the command ``catenary``."""

from __future__ import annotations

import sys

from catenary.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
