"""The API as its own description says, held against requests that mean harm, and a phone's bundle."""

import json
import sys

import pytest

from catenary import workflow
from catenary.data.labels import LabelSet
from catenary.serve.api import router
from catenary.serve.catalogue import catalogue
from catenary.serve.settings import Settings
from serving import picture, send, serving, until, write_model

schemathesis = pytest.importorskip("schemathesis", reason="the fuzzing client is not installed")
from hypothesis import HealthCheck, given, seed, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from schemathesis.specs.openapi import checks  # noqa: E402

ROUTES = [(method, route.path) for route in router.routes for method in route.methods if route.include_in_schema]
#: What is held against the description; everything that it does not tell counts as an error of the server.
CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
#: Not fuzzed: it holds a connection open.
STREAMS = ("/api/jobs/{job_id}/events",)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("served"), max_upload=1_000_000, queue=10_000) as found:
        until(lambda: found.get("/health").json()["status"] == "ok")
        send(found, wait=20)
        yield found


@pytest.mark.parametrize(("method", "path"), [one for one in ROUTES if one[1] not in STREAMS], ids=" ".join)
def test_answers_are_as_described_whatever_is_asked(client, method, path):
    described = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    described.config.base_url = str(client.base_url)

    @seed(1)
    @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=described[path][method].as_strategy())
    def ask(case):
        case.validate_response(case.call(timeout=20), checks=CHECKS)

    ask()


@settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_uploads_are_refused_or_answered(client, data):
    """A few changed, missing or doubled bytes of a form: a job, or a refusal that says why."""
    request = client.build_request("POST", "/api/jobs", data={"model": "lesion"}, files={"image": ("a.png", picture())})
    body = bytearray(request.read())
    for _ in range(data.draw(st.integers(1, 5))):
        place = int(data.draw(st.floats(0, 1, exclude_max=True)) ** 2 * len(body))
        change = data.draw(st.sampled_from(("set", "cut", "twice")))
        if change == "set":
            body[place] = data.draw(st.integers(0, 255))
        elif change == "cut":
            del body[place : place + data.draw(st.integers(1, 200))]
        else:
            body[place:place] = body[place : place + data.draw(st.integers(1, 200))]
    answer = client.post("/api/jobs", content=bytes(body), headers={"content-type": request.headers["content-type"]})
    assert answer.status_code in (202, 400, 404, 413, 415, 422), answer.text
    if answer.status_code != 202:
        assert set(answer.json()["error"]) == {"code", "message"}


@pytest.fixture
def pipeline(tmp_path):
    disc = LabelSet(names=("background", "rim", "cup"), regions={"disc": (1, 2), "cup": (2,)})
    return workflow.pipeline(tmp_path / "screening", disc=write_model(tmp_path / "disc.safetensors", disc)).path


#: Makes what `catenary export PIPELINE --to phone --out FOLDER` makes; counts how often.
MAKER = """
import json, sys
from pathlib import Path
out = Path(sys.argv[-1]); out.mkdir()
(out / "disc.onnx").write_bytes(b"onnx"); (out / "secret").write_bytes(b"x")
stages = [{"kind": "quality"}, {"kind": "disc", "model": {"file": "disc.onnx"}}]
(out / "bundle.json").write_text(json.dumps({"version": "1" * 64, "stages": stages}))
count = out.parent / "count"; count.write_text(count.read_text() + "x" if count.exists() else "x")
"""


def test_a_bundle_for_phones_is_made_once(tmp_path, pipeline, monkeypatch):
    monkeypatch.setattr("catenary.serve.phone.EXPORT", (sys.executable, "-c", MAKER))
    for _ in range(2):
        with serving(tmp_path, models=(("eyes", pipeline),)) as client:
            (offer,) = client.get("/phone/models.json").json()
            assert offer == {"name": "eyes", "url": "models/eyes/bundle.json", "version": "1" * 64}
            assert json.loads(client.get(f"/phone/{offer['url']}").content)["stages"]
            assert client.get("/phone/models/eyes/disc.onnx").content == b"onnx"
            for other in ("eyes/secret", "eyes/..%2Fcount", "other/disc.onnx", "eyes/"):
                assert client.get(f"/phone/models/{other}").status_code == 404
    assert (tmp_path / "data" / "phone" / "count").read_text() == "x"


def test_a_bundle_that_cannot_be_made_stops_nothing(tmp_path, pipeline, monkeypatch):
    code = "import sys; print('catenary: error: too large for a phone', file=sys.stderr); sys.exit(2)"
    monkeypatch.setattr("catenary.serve.phone.EXPORT", (sys.executable, "-c", code))
    with serving(tmp_path, models=(("eyes", pipeline),)) as client:
        assert client.get("/phone/models.json").json() == []
        assert client.app.state.desk.bundles.troubles == {"eyes": "too large for a phone"}
        assert send(client, model="eyes").status_code == 202


def test_pipelines_are_described(tmp_path, pipeline):
    served = catalogue((("eyes", pipeline),))["eyes"]
    assert (served.kind, served.told["stages"]) == ("pipeline", ["quality", "disc"])
    assert "no diagnosis" in served.told["warning"]
    assert Settings(models=(("eyes", pipeline),), data=tmp_path).max_voxels == 256_000_000
