"""Servers for tests: in a thread or a process of its own, with the real worker or one that obeys the names of files."""

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import torch
import uvicorn
from PIL import Image as Pillow

from catenary.data.labels import LabelSet
from catenary.models import build
from catenary.predict import Card, save_model
from catenary.recipe import Recipe, choose
from catenary.serve import Settings, create_app
from catenary.serve.server import configured

LESION = LabelSet(names=("skin", "lesion"))
#: Does what the name of the upload says: `slow` works until it is cancelled, `deaf` does not listen, `crash` dies, ...
STUB = """
import json, os, signal, sys, threading, time
from pathlib import Path
def tell(**news):
    print(json.dumps(news), flush=True)
def result(job):
    out = Path(job["folder"]); out.mkdir(parents=True, exist_ok=True)
    (out / "mask.png").write_bytes(b"the mask")
    (out / "page.html").write_bytes(b"<script>alert(1)</script>")
    files = [{"name": n, "role": r, "type": t, "bytes": 8, "url": f"/api/jobs/{job['id']}/files/{n}"}
             for n, r, t in (("mask.png", "mask", "image/png"), ("page.html", "report", "text/html"))]
    (out / "result.json").write_text(json.dumps({"view": {"kind": "image", "inputs": job["inputs"]}, "files": files}))
    tell(**{"is": "ended"}, id=job["id"], status="done", error=None, batch=1)
gone = set()
def work(job):
    name, step = job["name"], 0
    while name.startswith(("slow", "deaf")):
        if job["id"] in gone and name.startswith("slow"):
            tell(**{"is": "ended"}, id=job["id"], status="cancelled", error=None)
            return
        tell(**{"is": "progress"}, id=job["id"], stage="segmenting", done=step, total=1000)
        step += 1
        time.sleep(0.02)
    if name.startswith("crash"):
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(60)
    if name.startswith("brief"):
        time.sleep(0.3)
    if name.startswith("fail"):
        tell(**{"is": "ended"}, id=job["id"], status="failed", error="nothing is to be seen")
        return
    result(job)
sys.stdin.readline()
tell(**{"is": "opened"}, model="lesion", seconds=0.0, trouble="")
tell(**{"is": "ready"})
for line in sys.stdin:
    order = json.loads(line)
    if order["do"] == "run":
        threading.Thread(target=work, args=(order["job"],), daemon=True).start()
    else:
        gone.add(order["id"])
os._exit(0)
"""
WORKER = (sys.executable, "-c", STUB)


def write_model(path, labels=LESION, *, channels=3, rank=2, seed=0, **settings):
    """A model file with random weights."""
    side = 64 if rank == 2 else 16
    values = {
        "model.widths": (4, 8), "model.channels": channels, "model.classes": labels.channels, "model.rank": rank,
        "prepare.mean": (110.0,) * channels, "prepare.std": (40.0,) * channels, "sample.patch": (side,) * rank,
        "predict.engine": "torch", "predict.tile": (side,) * rank,
    }  # fmt: skip
    recipe = choose(Recipe(), values | {key.replace("__", "."): value for key, value in settings.items()})
    torch.manual_seed(seed)
    weights = {name: value.numpy() for name, value in build(**recipe.model.model_dump()).state_dict().items()}
    save_model(path, weights, Card(recipe=recipe, labels=labels, channels=channels, rank=rank))
    return path


def picture(side=(40, 60), kind="PNG", seed=0):
    """A photo as bytes."""
    pixels = np.random.default_rng(seed).integers(0, 255, (*side, 3), np.uint8)
    data = io.BytesIO()
    Pillow.fromarray(pixels).save(data, kind)
    return data.getvalue()


@contextlib.contextmanager
def serving(folder, *, worker=WORKER, models=None, **settings):
    """A server in a thread, and a client of it."""
    folder = Path(folder)
    if models is None:
        model = folder / "lesion.safetensors"
        models = (("lesion", model if model.exists() else write_model(model)),)
    chosen = {"data": folder / "data", "reserve": 0, "grace": 0.3} | settings
    app = create_app(Settings(models=models, **chosen), worker=worker)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(configured(app))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        port = listening.getsockname()[1]
        try:
            until(lambda: server.started or not thread.is_alive())
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                client.app = app
                yield client
        finally:
            server.should_exit = True
            thread.join()


def until(true, seconds=30.0):
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
    return found


def send(client, name="eye.png", data=None, *, wait=0, model="lesion", files=None, **fields):
    """Post a job; returns the answer."""
    content = picture() if data is None else data
    return client.post(
        "/api/jobs", params={"wait": wait} if wait else {}, data={"model": model, **fields},
        files=files or [("image", (name, content))],
    )  # fmt: skip


def state(client, job, *wanted):
    """Wait until a job has one of these states."""

    def now():
        found = client.get(f"/api/jobs/{job}").json()
        return found if found["status"] in wanted else None

    return until(now)


class Process:
    """A server in a process of its own, which can be killed."""

    def __init__(self, folder, *words):
        code = (
            "import sys; sys.path[:0] = [sys.argv[1]]\n"
            "from pathlib import Path; from serving import WORKER\n"
            "from catenary.serve import Settings, run\n"
            "folder = Path(sys.argv[2])\n"
            "models = (('lesion', folder / 'lesion.safetensors'),)\n"
            "run(Settings(models=models, data=folder / 'data', port=0, reserve=0),"
            " worker=WORKER, told=lambda line: print(line, flush=True))\n"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(Path(__file__).parent), str(folder), *words],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self.client = httpx.Client(base_url=self.process.stdout.readline().strip(), timeout=30)

    def kill(self, number=signal.SIGKILL):
        """End it."""
        self.process.send_signal(number)
        self.process.wait(30)
        self.process.stdout.close()
        self.client.close()


def alive(pid):
    """Whether a process runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text() if Path(f"/proc/{pid}").exists() else True


def message(answer):
    """The sentence of a refusal, checked for its form."""
    body = answer.json()
    assert set(body) == {"error"}, body
    assert set(body["error"]) == {"code", "message"}
    assert "\n" not in body["error"]["message"]
    return body["error"]["message"]


def options(**chosen):
    """Options as the form has them."""
    return json.dumps(chosen)
