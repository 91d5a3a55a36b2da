"""The server under load, on this machine alone.

    python benchmarks/serve_load.py MODEL                          # 1, 8 and 50 clients, 512x512 photos
    python benchmarks/serve_load.py MODEL --seconds 20
    python benchmarks/serve_load.py MODEL --minutes 5 --clients 50 --mixed

Every client sends a photo, waits for its mask (`?wait=`), fetches it, and begins again. The mixed kind sends broken
uploads too (wrong types, truncated files, bombs, clients that go), some of them at random places of a good one; what
counts is that nothing is answered but what was intended, and that memory stays flat. Server, worker and clients share
the machine, so that requests a second are those of a server with so many cores less.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections import Counter
from pathlib import Path

import httpx
import numpy as np
import psutil
from PIL import Image

#: Statuses that the mixed kind may get, by what was sent.
INTENDED = {
    "photo": {202, 429}, "empty": {422}, "text": {415}, "truncated": {202, 422}, "bomb": {413}, "zip bomb": {413, 422},
    "too large": {413}, "no form": {415}, "no model": {404}, "options": {422}, "path": {202, 429}, "unknown": {404},
    "gone": {None}, "half": {None},
}  # fmt: skip
GOOD = ("photo", "path")


def photos(channels: int, count: int = 16) -> list[bytes]:
    """JPEG files of 512x512, smooth with some noise, as photographs are."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        coarse = Image.fromarray(rng.integers(40, 220, (16, 16, 3), np.uint8)).resize(
            (512, 512), Image.Resampling.BICUBIC
        )
        pixels = np.clip(np.asarray(coarse) + rng.normal(0, 6, (512, 512, 3)), 0, 255).astype(np.uint8)
        image = Image.fromarray(pixels if channels == 3 else pixels[..., 0])
        data = io.BytesIO()
        image.save(data, "JPEG", quality=90)
        found.append(data.getvalue())
    return found


def bomb() -> bytes:
    """A small PNG of a hundred million pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")
    )


def zip_bomb() -> bytes:
    """A small archive of a large file."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("slice", bytes(40 << 20))
    return data.getvalue()


class Server:
    """A server in a process of its own."""

    def __init__(self, model: str, folder: Path, engine: str) -> None:
        words = ["serve", f"model={model}", "--port", "0", "--data", str(folder), "--max-upload", "20MB"]
        words += ["--engine", engine, "--queue", "60", "--keep", "2min"]
        self.started = time.perf_counter()
        self.process = subprocess.Popen([sys.executable, "-m", "catenary", *words], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if " at http" not in line:
            raise SystemExit(f"the server did not start: {line}")
        self.base = line.split(" at ")[1].split()[0]
        self.listening = time.perf_counter() - self.started
        self.watched = psutil.Process(self.process.pid)

    def memory(self) -> tuple[float, float]:
        """Resident megabytes of the server and of its worker."""
        children = [one for one in self.watched.children(recursive=True) if one.is_running()]
        with contextlib.suppress(psutil.Error):
            return self.watched.memory_info().rss / 1e6, sum(one.memory_info().rss for one in children) / 1e6
        return 0.0, 0.0

    def stop(self) -> int:
        """End it in order."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)


class Load:
    """Clients, and what they were answered."""

    def __init__(self, base: str, channels: int) -> None:
        self.base, self.photos = base, photos(channels)
        self.bombs = {"bomb": bomb(), "zip bomb": zip_bomb()}
        self.statuses: Counter[tuple[str, int | None]] = Counter()
        self.ended: Counter[str] = Counter()
        self.times: list[float] = []
        self.wrong: list[str] = []

    async def good(self, client: httpx.AsyncClient, number: int, name: str = "eye.jpg", kind: str = "photo") -> None:
        """Send a photo, wait for its mask, fetch it."""
        started = time.perf_counter()
        data = self.photos[number % len(self.photos)]
        answer = await client.post("/api/jobs?wait=60", data={"model": "model"}, files={"image": (name, data)})
        self.note(kind, answer)
        if answer.status_code == 429:
            await asyncio.sleep(0.5)
            return
        if answer.status_code != 202:
            return
        job = answer.json()
        self.ended[job["status"]] += 1
        if job["status"] != "done":
            self.wrong.append(f"a photo became {job['status']}: {job['error']}")
            return
        mask = await client.get(job["view"]["mask"])
        if mask.status_code != 200 or Image.open(io.BytesIO(mask.content)).size != (512, 512):
            self.wrong.append(f"the mask of {job['id']} was answered with {mask.status_code}")
        self.times.append(time.perf_counter() - started)

    async def broken(self, client: httpx.AsyncClient, kind: str, rng: np.random.Generator) -> None:
        """Send something that is no good."""
        photo = self.photos[int(rng.integers(len(self.photos)))]
        fields = {"model": "model"}
        content = {
            "empty": b"", "text": b"<html><script>alert(1)</script>", "too large": bytes(25 << 20),
            "truncated": photo[: int(rng.integers(200, len(photo) - 2))],
        } | self.bombs  # fmt: skip
        if kind in ("gone", "half"):
            await self.leave(photo, kind)
            self.statuses[kind, None] += 1
            return
        if kind == "path":
            await self.good(client, int(rng.integers(1000)), "../../../etc/passwd", kind)
            return
        if kind == "no form":
            answer = await client.post("/api/jobs", json={"model": "model"})
        elif kind == "unknown":
            answer = await client.get(f"/api/jobs/{'0' * 20}/files/..%2f..%2fjobs.sqlite")
        else:
            fields |= {"no model": {"model": "nothing"}, "options": {"options": "{"}}.get(kind, {})
            answer = await client.post("/api/jobs", data=fields, files={"image": ("a.png", content.get(kind, photo))})
        self.note(kind, answer)

    async def leave(self, photo: bytes, kind: str) -> None:
        """Send half of a form, and go: at once, or by a reset."""
        host, port = self.base.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        head = f"POST /api/jobs HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 500000\r\n"
        head += "Content-Type: multipart/form-data; boundary=B\r\n\r\n"
        body = b'--B\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n' + photo
        with contextlib.suppress(ConnectionError):
            writer.write(head.encode() + body)
            await writer.drain()
            await asyncio.sleep(0.05)
            if kind == "gone":
                wire = writer.get_extra_info("socket")
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.close()
            await writer.wait_closed()

    def note(self, kind: str, answer: httpx.Response) -> None:
        """Count an answer, and keep what was not intended."""
        self.statuses[kind, answer.status_code] += 1
        if answer.status_code not in INTENDED[kind]:
            self.wrong.append(f"{kind} was answered with {answer.status_code}: {answer.text[:200]}")

    async def run(self, clients: int, seconds: float, mixed: bool) -> float:
        """All clients for a while; returns the seconds it took."""
        started, end = time.perf_counter(), time.perf_counter() + seconds
        kinds = [kind for kind in INTENDED if kind not in GOOD] + ["path"]

        async def one(number: int) -> None:
            rng = np.random.default_rng(number)
            async with httpx.AsyncClient(base_url=self.base, timeout=120) as client:
                turn = number
                while time.perf_counter() < end:
                    turn += 1
                    try:
                        if mixed and rng.random() < 0.4:
                            await self.broken(client, str(rng.choice(kinds)), rng)
                        else:
                            await self.good(client, turn)
                    except httpx.TransportError as error:
                        self.wrong.append(f"the connection broke: {type(error).__name__} {error}")

        await asyncio.gather(*(one(number) for number in range(clients)))
        return time.perf_counter() - started


def described(load: Load, took: float) -> dict[str, object]:
    """Numbers of a run."""
    times = np.array(load.times or [np.nan])
    return {
        "answers a second": round(len(load.times) / took, 2),
        "median s": round(float(np.median(times)), 3),
        "p95 s": round(float(np.percentile(times, 95)), 3),
        "slowest s": round(float(times.max()), 3),
        "answers": len(load.times),
        "not intended": len(load.wrong),
    }


async def watch(server: Server, seconds: float, seen: list[tuple[float, float, float]]) -> None:
    """Note the memory over time."""
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        seen.append((time.perf_counter() - started, *server.memory()))
        await asyncio.sleep(max(1.0, seconds / 30))


def batches(base: str) -> str:
    """How many images shared a batch, from the metrics."""
    found: dict[str, float] = {}
    for line in httpx.get(base + "/metrics").text.splitlines():
        if line.startswith("catenary_batch_images_") and "created" not in line:
            name, value = line.rsplit(" ", 1)
            found[name] = float(value)
    count = found.get("catenary_batch_images_count", 0.0)
    return f"{found.get('catenary_batch_images_sum', 0.0) / count:.2f} images a batch in the mean" if count else "none"


async def main(options: argparse.Namespace) -> int:
    """Run what was asked for; returns the exit code."""
    from catenary.predict import load_card

    channels = load_card(options.model).channels
    code = 0
    with tempfile.TemporaryDirectory() as folder:
        server = Server(options.model, Path(folder), options.engine)
        try:
            first = Load(server.base, channels)
            async with httpx.AsyncClient(base_url=server.base, timeout=300) as client:
                await first.good(client, 0)
            answered = time.perf_counter() - server.started
            print(f"start to listening {server.listening:.1f} s, to first answer {answered:.1f} s")
            rounds = [options.clients] if options.mixed else [1, 8, 50]
            for clients in rounds:
                load = Load(server.base, channels)
                seconds = options.minutes * 60 if options.minutes else options.seconds
                seen: list[tuple[float, float, float]] = []
                watching = asyncio.create_task(watch(server, seconds, seen))
                took = await load.run(clients, seconds, options.mixed)
                await watching
                numbers = json.dumps(described(load, took))
                print(f"{clients} clients, {took:.0f} s: {numbers}; {batches(server.base)}")
                if options.mixed:
                    for (kind, status), count in sorted(load.statuses.items(), key=str):
                        print(f"  {kind:10} {status if status else 'left':>6} {count:6}")
                    print(f"  jobs {dict(load.ended)}")
                    for at, main_, worker in seen:
                        print(f"  {at:6.0f} s  server {main_:7.1f} MB  worker {worker:7.1f} MB")
                for wrong in load.wrong[:20]:
                    print(f"  NOT INTENDED {wrong}")
                code = code or bool(load.wrong)
            left = sum(1 for _ in (Path(folder) / "uploads").glob("*")) if (Path(folder) / "uploads").exists() else 0
            print(f"uploads left behind: {left}; health: {httpx.get(server.base + '/health').json()}")
        finally:
            print(f"server ended with {server.stop()}")
    return int(code)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a run or model file that segments photos")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each number of clients")
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--mixed", action="store_true")
    sys.exit(asyncio.run(main(parser.parse_args())))
