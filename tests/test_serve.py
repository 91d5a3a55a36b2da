"""Jobs of the server from the upload to their end: queue, progress, cancel, crash, restart, files."""

import io
import json
import signal
import time
import zipfile
from pathlib import Path

import pytest

from catenary.errors import OutputError
from catenary.serve.store import Store
from serving import Process, alive, message, options, send, serving, state, until, write_model


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def client(place):
    with serving(place, max_upload=3_000_000, max_pixels=1_000_000) as found:
        until(lambda: found.get("/health").json()["status"] == "ok")
        yield found


def test_a_job_goes_from_upload_to_files(client, place):
    answer = send(client, "my eye.png")
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/api/jobs/{job['id']}"
    done = state(client, job["id"], "done")
    assert (done["kind"], done["name"], done["error"]) == ("image", "my eye.png", None)
    assert done["expires"] == pytest.approx(done["ended"] + 86400)
    found = client.get(done["files"][0]["url"])
    assert found.content == b"the mask"
    assert found.headers["content-type"] == "image/png"
    assert 'filename="my_eye_mask.png"' in found.headers["content-disposition"]
    page = client.get(done["files"][1]["url"])
    assert page.headers["content-type"] == "application/octet-stream"  # nothing is ever shown as a page of this server
    assert page.headers["content-disposition"].startswith("attachment")
    with zipfile.ZipFile(io.BytesIO(client.get(f"/api/jobs/{job['id']}/archive").content)) as archive:
        assert archive.testzip() is None
        assert archive.read("mask.png") == b"the mask"
    assert not (place / "data" / "jobs" / job["id"] / "in").exists()  # the upload is gone with the work
    assert client.delete(f"/api/jobs/{job['id']}").status_code == 204
    assert client.get(f"/api/jobs/{job['id']}").status_code == 404
    assert not (place / "data" / "jobs" / job["id"]).exists()


def test_an_answer_is_held_back_until_the_job_ends(client):
    assert send(client, "brief.png", wait=20).json()["status"] == "done"
    started = time.monotonic()
    slow = send(client, "slow.png", wait=0.3).json()
    assert slow["status"] == "running"
    assert 0.3 <= time.monotonic() - started < 10
    client.delete(f"/api/jobs/{slow['id']}")


def test_progress_is_told_and_a_job_is_cancelled(client):
    job = send(client, "slow.png").json()["id"]
    worker, seen = client.app.state.desk.foreman.pid, []
    with client.stream("GET", f"/api/jobs/{job}/events") as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        for line in events.iter_lines():
            if line.startswith("data: "):
                seen.append(json.loads(line[6:]))
                if len(seen) == 8:
                    assert client.post(f"/api/jobs/{job}/cancel").status_code == 200
    assert seen[-1]["status"] == "cancelled"  # the stream ends with the job
    assert alive(worker)  # which has listened, and needed no force
    steps = [one["progress"] for one in seen if one["status"] == "running" and one["progress"]["total"]]
    assert steps[-1]["done"] > steps[0]["done"]
    assert steps[-1]["seconds_left"] > 0
    assert client.post(f"/api/jobs/{job}/cancel").json()["status"] == "cancelled"
    assert client.get(f"/api/jobs/{job}/archive").status_code == 409


def test_a_job_that_does_not_listen_is_stopped_by_force(client):
    first = client.app.state.desk.foreman.pid
    other = send(client, "slow.png").json()["id"]
    deaf = send(client, "deaf.png").json()["id"]
    state(client, deaf, "running")
    client.post(f"/api/jobs/{deaf}/cancel")
    assert state(client, deaf, "cancelled", "failed")["status"] == "cancelled"
    again = state(client, other, "running")  # what shared the worker is run again
    assert again["status"] == "running"
    assert client.app.state.desk.foreman.pid != first
    assert not alive(first)
    client.delete(f"/api/jobs/{other}")


def test_a_job_that_ends_the_worker_fails_alone(client):
    crash = send(client, "crash.png").json()["id"]
    failed = state(client, crash, "failed")
    assert "SIGSEGV" in failed["error"]["message"]
    first = send(client, "brief.png").json()["id"]
    crash = send(client, "crash.png").json()["id"]
    assert state(client, first, "done", "failed")["status"] == "done"
    assert state(client, crash, "done", "failed")["status"] == "failed"
    assert client.get("/health").json()["status"] in ("ok", "starting")


def test_what_a_job_fails_of_is_told(client):
    assert send(client, "fail.png", wait=20).json()["error"] == {"message": "nothing is to be seen"}


def test_jobs_are_listed_the_latest_first(client):
    ids = [send(client, f"{n}.png", wait=20).json()["id"] for n in range(3)]
    listed = client.get("/api/jobs", params={"limit": 2}).json()
    assert [one["id"] for one in listed["jobs"]] == ids[:0:-1]
    assert client.get("/api/jobs", params={"limit": 1, "offset": 2}).json()["jobs"][0]["id"] == ids[0]
    assert listed["total"] >= 3
    assert client.get("/api/jobs", params={"limit": 0}).status_code == 422


def test_a_full_queue_says_so(tmp_path):
    with serving(tmp_path, queue=2, parallel=1) as client:
        until(lambda: client.get("/health").json()["status"] == "ok")
        jobs = [send(client, "slow.png").json()["id"] for _ in range(3)]
        refused = send(client, "slow.png")
        assert refused.status_code == 429
        assert refused.headers["retry-after"]
        assert "2 jobs wait" in message(refused)
        waiting = client.get(f"/api/jobs/{jobs[2]}").json()
        assert waiting["progress"] == {"stage": "waiting", "done": 0, "total": 0, "seconds_left": None, "ahead": 1}
        client.post(f"/api/jobs/{jobs[2]}/cancel")
        assert client.get(f"/api/jobs/{jobs[2]}").json()["status"] == "cancelled"
        assert send(client, "slow.png").status_code == 202


def test_a_job_that_takes_too_long_is_stopped(tmp_path):
    with serving(tmp_path, timeout=0.4) as client:
        failed = state(client, send(client, "deaf.png").json()["id"], "failed")
        assert "longer than 0.4 s" in failed["error"]["message"]


def test_jobs_are_deleted_when_their_time_is_over(tmp_path, monkeypatch):
    monkeypatch.setattr("catenary.serve.foreman.SWEEP", 0.1)
    with serving(tmp_path, keep=0.2) as client:
        job = send(client, wait=20).json()["id"]
        until(lambda: client.get(f"/api/jobs/{job}").status_code == 404)
        assert not list((tmp_path / "data" / "jobs").iterdir())


def test_a_killed_server_takes_its_jobs_up_again(tmp_path):
    write_model(tmp_path / "lesion.safetensors")
    first = Process(tmp_path)
    done = send(first.client, "quick.png", wait=20).json()["id"]
    slow = send(first.client, "slow.png").json()["id"]
    state(first.client, slow, "running")
    waiting = [send(first.client, "slow.png").json()["id"] for _ in range(5)]
    first.kill(signal.SIGKILL)
    (tmp_path / "data" / "uploads" / "left").mkdir(parents=True)
    (tmp_path / "data" / "jobs" / "strange").mkdir()
    second = Process(tmp_path)
    try:
        assert second.client.get(f"/api/jobs/{done}").json()["status"] == "done"
        assert second.client.get(f"/api/jobs/{done}/files/mask.png").content == b"the mask"
        assert state(second.client, slow, "running")["progress"]
        assert second.client.get(f"/api/jobs/{waiting[-1]}").json()["status"] in ("queued", "running")
        assert not (tmp_path / "data" / "uploads" / "left").exists()
        assert not (tmp_path / "data" / "jobs" / "strange").exists()
    finally:
        second.kill(signal.SIGTERM)
    with serving(tmp_path) as third:  # an orderly end keeps them too
        assert state(third, slow, "running")


def test_the_worker_ends_with_a_killed_server(tmp_path):
    write_model(tmp_path / "lesion.safetensors")
    server = Process(tmp_path)
    until(lambda: server.client.get("/health").json()["status"] == "ok")
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    if not children.exists():
        server.kill()
        pytest.skip("this system does not tell the children of a process")
    workers = [int(pid) for pid in children.read_text().split()]
    assert workers
    server.kill(signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in workers))


def test_a_job_that_ends_servers_is_given_up(tmp_path):
    store = Store(tmp_path)
    from catenary.serve.store import Job

    store.add(Job(model="lesion", kind="image", name="a", status="running", starts=3))
    store.add(Job(model="lesion", kind="image", name="b", status="running", starts=1))
    assert store.recover() == 1
    later, former = store.recent(2)
    assert (former.status, later.status) == ("failed", "queued")
    assert "ended 3 times" in former.error
    store.close()


def test_two_servers_do_not_share_a_folder(tmp_path):
    with serving(tmp_path), pytest.raises(OutputError, match="in use by another server"):
        Store(tmp_path / "data")
    Store(tmp_path / "data").close()


def test_a_damaged_list_of_jobs_is_told(tmp_path):
    (tmp_path / "jobs.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(OutputError, match="is damaged"):
        Store(tmp_path)


def test_a_model_that_vanishes_is_told(tmp_path):
    model = write_model(tmp_path / "lesion.safetensors")
    with serving(tmp_path) as client:
        assert client.get("/api/models").json()[0]["trouble"] == ""
        model.rename(tmp_path / "elsewhere")
        health = client.get("/health").json()
        assert health["status"] == "degraded"
        assert "has vanished" in health["models"]["lesion"]
        refused = send(client)
        assert refused.status_code == 503
        assert "has vanished" in message(refused)
        write_model(model, seed=1)
        assert "has changed" in client.get("/api/models").json()[0]["trouble"]


def test_a_worker_that_cannot_start_is_told(tmp_path):
    import sys

    with serving(tmp_path, worker=(sys.executable, "-c", "raise SystemExit(3)")) as client:
        assert client.get("/health").json()["status"] == "starting"
        assert send(client).json()["status"] == "queued"


def test_models_are_described(client):
    (model,) = client.get("/api/models").json()
    assert (model["name"], model["kind"], model["rank"], model["task"]) == ("lesion", "segmentation", 2, "regions")
    assert model["classes"][1] == {"value": 1, "name": "lesion", "color": "#e69f00"}
    assert model["targets"] == [{"value": 1, "name": "lesion", "color": "#e69f00", "threshold": 0.5, "within": []}]
    assert "png" in model["accepts"]
    assert len(model["sha256"]) == 64
    assert "no score" in model["warning"]


def test_metrics_count_what_happens(client):
    send(client, wait=20)
    text = client.get("/metrics").text
    for name in (
        'catenary_requests_total{method="POST",route="/api/jobs",status="202"}',
        'catenary_jobs_ended_total{kind="image",status="done"}',
        "catenary_jobs_waiting", "catenary_worker_memory_bytes", "process_resident_memory_bytes",
    ):  # fmt: skip
        assert name in text, name


def test_the_page_of_the_api_needs_nothing_from_elsewhere(client):
    page = client.get("/docs")
    assert page.status_code == 200
    assert "POST /api/jobs" in page.text
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert "<script" not in page.text
    paths = client.get("/openapi.json").json()["paths"]
    assert "multipart/form-data" in paths["/api/jobs"]["post"]["requestBody"]["content"]
    assert "/docs" in client.get("/").text or "<script" in client.get("/").text


def test_options_are_checked(client):
    assert send(client, wait=20, options=options(tta=True, overlay=False)).json()["status"] == "done"
    for text in ("{", "[]", options(nothing=1), options(align="much")):
        refused = send(client, options=text)
        assert refused.status_code == 422, text
        assert "options" in message(refused)
