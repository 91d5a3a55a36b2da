"""Places and parts of mosaics on a cluster of two workers: the bytes of one process, though one of them is killed."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from catenary.workflow import MapSettings, find_scenes, predict_mosaics
from rasters import town, write
from test_mosaic import model  # noqa: F401 - a fixture

pytest.importorskip("ray")

#: In a process of its own: the library starts others, and warns of what is to come.
RUN = textwrap.dedent("""
    import sys, threading, time
    from pathlib import Path
    import psutil
    from catenary.workflow import MapSettings, find_scenes, predict_mosaics

    model, pre, post, out = map(Path, sys.argv[1:])
    killed = []

    def hunt():
        while not killed:
            for process in psutil.Process().children(recursive=True):
                try:
                    busy = "_part" in " ".join(process.cmdline()) and any(out.glob("*/unfinished/rows-*.tif"))
                except psutil.Error:
                    continue
                if busy and not killed:
                    process.kill()
                    killed.append(process.pid)
            time.sleep(0.01)

    threading.Thread(target=hunt, daemon=True).start()
    settings = MapSettings(align="none", probability=True)
    records = predict_mosaics(model, find_scenes([pre], [post], out=out), out=out, settings=settings, cluster="local")
    print("killed", len(killed), [record.error for record in records])
""")


def test_two_workers_make_the_bytes_of_one(model, tmp_path):  # noqa: F811
    for date in ("pre", "post"):
        (tmp_path / date).mkdir()
    for name, height, shown in (("north", 800, 0), ("south", 300, 2)):
        write(tmp_path / "pre" / f"{name}_pre.tif", town(height, shown)[:, :, :100])
        write(tmp_path / "post" / f"{name}_post.tif", town(height, shown + 1)[:, :, :100])
    (tmp_path / "post" / "void_post.tif").write_bytes((tmp_path / "post" / "south_post.tif").read_bytes())
    write(tmp_path / "pre" / "void_pre.tif", np.zeros((3, 300, 100), np.uint8), nodata=0)
    dates = (tmp_path / "pre", tmp_path / "post")
    settings = MapSettings(align="none", probability=True)
    one, two = tmp_path / "one", tmp_path / "two"
    predict_mosaics(model, find_scenes([dates[0]], [dates[1]], out=one), out=one, settings=settings)
    line = [sys.executable, "-c", RUN, str(model), *map(str, dates), str(two)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "killed 1 ['', '', '" in done.stdout
    assert "no pixel in common" in done.stdout
    for path in sorted(one.glob("*/*.tif")):
        assert path.read_bytes() == (two / path.relative_to(one)).read_bytes()
    assert len([*one.glob("*/*.tif")]) == 6
    tables = [(folder / "scenes.csv").read_text().splitlines() for folder in (one, two)]
    assert [line.split(",")[0] for line in tables[0]] == ["scene", "north", "south", "void"]
    assert [line.split(",")[2:7] for line in tables[0]] == [line.split(",")[2:7] for line in tables[1]]
