"""What is sent to the server: kinds by content, limits before anything is decoded, broken and vanishing uploads."""

import gzip
import io
import json
import socket
import sqlite3
import struct
import time
import zipfile
import zlib

import numpy as np
import pytest
import tifffile

from catenary.serve.kinds import facts_of, kind_of
from catenary.serve.problem import Problem
from catenary.serve.receive import display_name
from catenary.serve.settings import Settings
from serving import message, picture, send, serving, until, write_model


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def client(place):
    with serving(place, max_upload=2_000_000, max_pixels=1_000_000, idle=0.5) as found:
        until(lambda: found.get("/health").json()["status"] == "ok")
        yield found


@pytest.fixture(autouse=True)
def _nothing_left(request, place):
    """Whatever was refused leaves no file behind."""
    yield
    if "client" in request.fixturenames:
        folder = place / "data" / "uploads"
        until(lambda: not folder.exists() or not list(folder.iterdir()))
        assert all((job / "out").exists() or (job / "in").exists() for job in (place / "data" / "jobs").iterdir())


def png_bomb(width, height):
    """A PNG of a few kilobytes that says it has very many pixels."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 1_000_000)) + chunk(b"IEND", b"")


def nifti(shape=(4, 5, 6), *, bits=16, code=4, start=352.0, body=None):
    """A NIfTI file whose header says what it is told."""
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, len(shape), *shape, *(1,) * (7 - len(shape)))
    struct.pack_into("<hh", head, 70, code, bits)
    struct.pack_into("<8f", head, 76, *(1.0,) * 8)
    struct.pack_into("<f", head, 108, start)
    struct.pack_into("<f", head, 112, 1.0)
    head[344:348] = b"n+1\0"
    return bytes(head) + (np.zeros(shape, np.int16).tobytes() if body is None else body)


def archive(members, method=zipfile.ZIP_DEFLATED):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return data.getvalue()


def tiff(pixels, **more):
    data = io.BytesIO()
    tifffile.imwrite(data, pixels, **more)
    return data.getvalue()


def deep_tiff():
    """A small TIFF with more channels than its size allows."""
    return tiff(np.zeros((900, 900, 30), np.uint8), compression="zlib", photometric="minisblack", planarconfig="contig")


def endless_tiff():
    """A TIFF whose second directory follows itself."""
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 0) + struct.pack("<I", 8)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (picture(), "png"), (picture(kind="JPEG"), "jpeg"), (picture(kind="BMP"), "bmp"),
        (tiff(np.zeros((4, 4), np.uint8)), "tiff"), (nifti(), "nifti"), (gzip.compress(nifti()), "nifti.gz"),
        (archive({"a": b"b"}), "zip"), (b"\0" * 128 + b"DICM" + b"\0" * 20, "dicom"),
        (b' {"type": "FeatureCollection", "features": []}', "geojson"), (b"fgb\x03fgb\x00", "fgb"),
        (b"SQLite format 3\0" + b"\0" * 52 + b"GPKG", "gpkg"),
        (b"<html></html>", None), (b"GIF89a", None), (b"%PDF-1.7", None), (b"", None), (gzip.compress(b"text"), None),
        (b"NRRD0004\ndata file: /etc/passwd\n", None), (b"<VRTDataset></VRTDataset>", None), (b"\x1f\x8b", None),
        (b"SQLite format 3\0" + b"\0" * 80, None), (b"II*", None),
    ],
)  # fmt: skip
def test_a_kind_is_told_by_content(content, kind, tmp_path):
    file = tmp_path / "whatever.png"
    file.write_bytes(content)
    assert kind_of(file) == kind


@pytest.mark.parametrize(
    ("name", "content", "status", "told"),
    [
        ("eye.png", b"<html><script>alert(1)</script></html>", 415, "no kind that is read here"),
        ("eye.png", b"", 422, "is empty"),
        ("eye.png", picture()[:20], 422, "'eye.png' is"),
        ("bomb.png", png_bomb(10_000, 10_000), 413, "10000x10000 = 100 million pixels"),
        ("wide.png", png_bomb(2**31 - 1, 1), 413, "read whole"),
        ("scan.nii", nifti(), 422, "is a volume, but the model 'lesion' takes images"),
        ("scan.nii.gz", gzip.compress(nifti((2000, 2000, 2000), body=b"")), 413, "8000 million pixels"),
        ("scan.nii.gz", gzip.compress(nifti(start=1e18)), 422, "no sound NIfTI"),
        ("scan.nii", nifti((4, 4, 4, 30_000, 30_000), body=b""), 413, "channels"),
        ("scan.nii", nifti((-4, 4, 4), body=b""), 422, "no sound NIfTI"),
        ("loop.tif", endless_tiff(), 413, "more than 4096 pages"),
        ("cut.tif", tiff(np.zeros((64, 64), np.uint8))[:10], 422, "truncated TIFF"),
        ("many.tif", tiff(np.zeros((400, 16, 16), np.uint8), photometric="minisblack"), 422, "is a volume"),
        ("deep.tif", deep_tiff(), 413, "30 channels"),
        ("a.zip", b"PK\x03\x04" + b"\0" * 40, 422, "truncated archive"),
        ("a.zip", archive({"a": b"\0" * 8_000_001}), 413, "would have 8 MB unpacked"),
        ("a.zip", archive({f"{n}": b"" for n in range(5001)}), 413, "5001 files"),
        ("a.zip", archive({"a": b"\0" * 4_000_000}), 413, "200 times as large"),
        ("a.zip", archive({"folder/": b""}), 422, "empty archive"),
        ("a.zip", archive({"a": b"1.2.840.10008.1.2.1.99"}), 415, "deflated"),
        ("a.zip", archive({"a": b"x"}, zipfile.ZIP_LZMA), 415, "rare method"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_at_once(client, name, content, status, told):
    started = time.monotonic()
    refused = send(client, name, content)
    assert (refused.status_code, told in message(refused)) == (status, True), message(refused)
    assert str(client.app.state.desk.store.folder) not in refused.text  # nobody learns where files lie
    assert time.monotonic() - started < 10


def test_an_archive_with_a_second_directory_is_refused(client):
    """The larger one would be read by those who look for it."""
    data = archive({"a": b"b"})
    place = data.rfind(b"PK\x05\x06")
    refused = send(client, "a.zip", data[:place] + b"PK\x06\x07" + b"\0" * 16 + data[place:])
    assert refused.status_code == 413


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("../../../etc/cron.d/evil.png", "evil.png"), ("..\\..\\evil.png", "evil.png"), ("/etc/passwd", "passwd"),
        ("a" * 500 + ".png", "a" * 100), ("..", "image"), ("<b>x</b>.png", "b>.png"), ("name\r\nSet-Cookie: a", None),
        ("göz fotoğrafı.png", "göz fotoğrafı.png"),
    ],
)  # fmt: skip
def test_a_clients_name_is_only_shown(client, place, sent, shown):
    before = {path for path in place.parent.rglob("*") if "jobs" not in path.parts}
    answer = send(client, sent, picture(), wait=20)
    assert answer.status_code == 202
    job = answer.json()
    if shown is not None:
        assert job["name"] == shown
    assert {path for path in place.parent.rglob("*") if "jobs" not in path.parts} - before <= {
        place / "data" / "uploads"
    }
    stored = job["view"]["inputs"][0]["path"]
    assert stored == str(place / "data" / "jobs" / job["id"] / "in" / "image0000.png")
    header = client.get(job["files"][0]["url"]).headers["content-disposition"]
    assert header.isascii()
    assert "\n" not in header


@pytest.mark.parametrize(
    "path", ["..%2F..%2Fjobs.sqlite", "../result.json", "result.json", "%2Fetc%2Fpasswd", "mask.png%00"]
)
def test_only_listed_files_are_given(client, path):
    job = send(client, wait=20).json()["id"]
    assert client.get(f"/api/jobs/{job}/files/{path}").status_code in (404, 422)
    assert client.get(f"/api/jobs/..%2f..%2f{job}").status_code in (404, 422)


def test_names_are_cleaned():
    assert display_name("a\x00b\u202e.png") == "ab.png"
    assert display_name(" ... ") == "image"


FIELD = b'--B\r\nContent-Disposition: form-data; name="model"\r\n\r\n'
NAMED = b'--B\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'


def test_a_large_upload_is_refused_while_it_arrives(client):
    assert "4 MB" in message(send(client, data=b"\x89PNG" + bytes(3_500_000)))

    def endless():
        yield NAMED
        for _ in range(400):
            yield b"\0" * 65536

    form = {"content-type": "multipart/form-data; boundary=B"}
    refused = client.post("/api/jobs", content=endless(), headers=form)
    assert refused.status_code == 413


@pytest.mark.parametrize(
    ("content", "status", "told"),
    [
        (b"", 400, "ended before its end"),
        (b"--B\r\n", 400, "ended before its end"),
        (b"no form at all", 400, "form is broken"),
        (NAMED + b"\x89PNG", 400, "before its end"),
        (b"--B\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n--B--\r\n", 400, "has no name"),
        (FIELD + b"x" * 70_000 + b"\r\n--B--\r\n", 413, "65536"),
        (b"--B\r\n" + b"A: b\r\n" * 20 + b"\r\n\r\n--B--\r\n", 400, "form"),
        (b"--B\r\nA: " + b"b" * 20_000 + b"\r\n\r\n\r\n--B--\r\n", 400, "form"),
        (FIELD + b"\r\n" + FIELD + b"\r\n--B--\r\n", 400, "twice"),
        ((NAMED + b"\r\n") * 4097 + b"--B--\r\n", 413, "4096 parts"),
    ],
)
def test_a_broken_form_is_refused(client, content, status, told):
    refused = client.post("/api/jobs", content=content, headers={"content-type": "multipart/form-data; boundary=B"})
    assert (refused.status_code, told in message(refused)) == (status, True), message(refused)


def test_what_is_no_form_is_refused(client):
    assert client.post("/api/jobs", json={"model": "lesion"}).status_code == 415
    assert client.post("/api/jobs").status_code == 415
    assert client.post("/api/jobs", content=b"", headers={"content-type": "multipart/form-data"}).status_code == 415


def test_fields_are_checked(client):
    assert "no model 'leison'; did you mean 'lesion'?" in message(send(client, model="leison"))
    assert send(client, model="leison").status_code == 404
    assert "did you mean 'image'" in message(send(client, files=[("imag", ("a.png", picture()))]))
    assert "send one" in message(client.post("/api/jobs", files={"model": (None, "lesion")}))
    both = [("image", ("a.png", picture())), ("post", ("b.png", picture()))]
    assert "leave out 'post'" in message(send(client, files=both))
    assert "a request for each" in message(send(client, files=[both[0], ("image", ("b.png", picture()))]))
    outlines = json.dumps({"type": "FeatureCollection", "features": []}).encode()
    assert "footprints are for" in message(send(client, files=[both[0], ("footprints", ("f.geojson", outlines))]))
    assert "in its own field" in message(send(client, files=[("image", ("f.geojson", outlines))]))
    assert "polygons as GeoJSON" in message(send(client, files=[both[0], ("footprints", ("b.png", picture()))]))
    form = [("image", ("a.png", picture()))]
    assert client.post("/api/jobs", files=form).status_code == 202  # one model needs no name


def half_sent(client, body, *, length=1_000_000):
    """A connection that has sent a part of a form."""
    host, port = client.base_url.host, client.base_url.port
    wire = socket.create_connection((host, port), timeout=20)
    head = (
        f"POST /api/jobs HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {length}\r\n"
        "Content-Type: multipart/form-data; boundary=B\r\n\r\n"
    )
    wire.sendall(head.encode() + body)
    return wire


PART = NAMED + b"\0" * 300_000


def test_a_client_that_goes_leaves_nothing(client, place):
    jobs = client.get("/api/jobs").json()["total"]
    with half_sent(client, PART):
        until(lambda: list((place / "data" / "uploads").glob("*/part*")))
    until(lambda: not list((place / "data" / "uploads").iterdir()))
    assert client.get("/api/jobs").json()["total"] == jobs
    assert client.app.state.desk.uploads == 0


def test_a_client_that_falls_silent_is_given_up(client, place):
    with half_sent(client, PART) as wire:
        answer = b"".join(iter(lambda: wire.recv(65536), b"")).decode()
    assert "408" in answer.splitlines()[0]
    assert "nothing arrived" in answer


def test_more_uploads_than_allowed_wait(tmp_path):
    with serving(tmp_path, uploads=1) as client, half_sent(client, PART):
        until(lambda: client.app.state.desk.uploads == 1)
        assert send(client).status_code == 429


def test_a_disk_that_is_nearly_full_takes_nothing(tmp_path):
    with serving(tmp_path, reserve=1 << 60) as client:
        refused = send(client)
        assert refused.status_code == 507
        assert "too few to take this" in message(refused)
    assert not list((tmp_path / "data").glob("uploads/*"))


def test_a_disk_that_fills_under_way_is_told(tmp_path, monkeypatch):
    import errno

    def full(self):
        raise OSError(errno.ENOSPC, "No space left on device")

    with serving(tmp_path) as client:
        monkeypatch.setattr("catenary.serve.receive._Reader.flush", full)
        refused = send(client)
        assert refused.status_code == 507
        assert "is full" in message(refused)
        monkeypatch.undo()
        until(lambda: not list((tmp_path / "data").glob("uploads/*")))
        assert send(client, wait=20).json()["status"] == "done"
        client.app.state.desk.foreman._settings.__dict__["reserve"] = 1 << 60  # it fills after the upload
        assert "too few" in send(client, wait=0).json().get("error", {}).get("message", "")


def test_a_list_of_jobs_that_is_full_is_told(tmp_path, monkeypatch):
    def full(self, job):
        raise sqlite3.OperationalError("database or disk is full")

    with serving(tmp_path) as client:
        monkeypatch.setattr("catenary.serve.store.Store.add", full)
        refused = send(client)
        assert refused.status_code == 507
        assert not list((tmp_path / "data" / "jobs").iterdir())
        monkeypatch.undo()
        assert send(client, wait=20).json()["status"] == "done"


def test_limits_hold_for_georeferenced_images_too(tmp_path):
    pytest.importorskip("rasterio")
    from rasters import town, write

    file = write(tmp_path / "a.tif", town(64))
    settings = Settings(models=(("a", file),), data=tmp_path, max_pixels=300)
    assert facts_of(file, "tiff", "a.tif", settings).placed
    with pytest.raises(Problem, match="64x64"):
        facts_of(file, "tiff", "a.tif", Settings(models=(("a", file),), data=tmp_path, max_pixels=200))


def test_a_volume_is_for_a_model_of_volumes(tmp_path):
    from catenary.data.labels import LabelSet

    labels = LabelSet(names=("background", "tumour"))
    model = write_model(tmp_path / "scan.safetensors", labels, channels=1, rank=3)
    with serving(tmp_path, models=(("scan", model),)) as client:
        done = send(client, "scan.nii.gz", gzip.compress(nifti()), model="scan", wait=20).json()
        assert (done["kind"], done["status"]) == ("volume", "done")
        assert "takes volumes" in message(send(client, model="scan"))
        assert send(client, "series.zip", archive({"1": b"a slice", "2": b"another"}), model="scan").status_code == 202
