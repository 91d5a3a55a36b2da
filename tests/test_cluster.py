"""Parts of a mosaic on a cluster of two workers: the bytes of one process, though one of them is killed."""

import subprocess
import sys
import textwrap

import pytest

from rasters import town, write
from test_mosaic import model, predicted  # noqa: F401 - a fixture

pytest.importorskip("ray")

#: In a process of its own: the library starts others, and warns of what is to come.
RUN = textwrap.dedent("""
    import sys, threading, time
    from pathlib import Path
    import psutil
    from catenary.predict import open_predictor
    from catenary.predict.mosaic import begin_mosaic, finish_mosaic, rows_left
    from catenary.workflow.cluster import predict_on_cluster

    model, pre, post, out = map(Path, sys.argv[1:])
    predictor = open_predictor(model)
    job = begin_mosaic(predictor, model, (pre, post), out, probability=True)
    killed = []

    def hunt():
        while not killed:
            for process in psutil.Process().children(recursive=True):
                try:
                    busy = "_part" in " ".join(process.cmdline()) and len(rows_left(predictor, job)) < 10
                except psutil.Error:
                    continue
                if busy and not killed:
                    process.kill()
                    killed.append(process.pid)
            time.sleep(0.01)

    threading.Thread(target=hunt, daemon=True).start()
    predict_on_cluster(model, {}, predictor, job, address="local", workers=2, progress=lambda *told: None)
    finish_mosaic(predictor, job, out, stem="damage")
    print("killed", len(killed))
""")


def test_two_workers_make_the_bytes_of_one(model, tmp_path):  # noqa: F811
    write(tmp_path / "pre.tif", town(800, 0)[:, :, :100])
    write(tmp_path / "post.tif", town(800, 1)[:, :, :100])
    pair = (tmp_path / "pre.tif", tmp_path / "post.tif")
    whole = predicted(model, pair, tmp_path / "one")
    line = [sys.executable, "-c", RUN, str(model), *map(str, pair), str(tmp_path / "two")]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "killed 1" in done.stdout
    for path in (whole.classes, whole.confidence, whole.probability):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
