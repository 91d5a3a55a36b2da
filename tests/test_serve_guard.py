"""Who may ask what: names of the server, other pages, tokens, headers; settings and the command."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from catenary.cli.main import main
from catenary.errors import ConfigError
from catenary.serve.guard import PAGE_POLICY
from catenary.serve.settings import Settings, named_models, parse_amount, parse_seconds
from serving import message, picture, send, serving, write_model

TOKEN = "a token nobody guesses"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("open"), hosts=("eyes.example",)) as found:
        yield found


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("locked"), token=TOKEN) as found:
        yield found


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200), ("127.0.0.1", 200), ("[::1]:80", 200), ("127.8.8.8:1", 200), ("eyes.example", 200),
        ("evil.example", 421), ("127.0.0.1.evil.example", 421), ("localhost.evil.example:80", 421), ("", 421),
        ("localhost@evil.example", 421), ("evil.example:127.0.0.1", 421),
    ],
)  # fmt: skip
def test_a_name_of_another_place_is_refused(client, host, status):
    answer = client.get("/api/models", headers={"host": host})
    assert answer.status_code == status
    if status == 421:
        assert "not called" in message(answer)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 202),
        ({"origin": "http://{host}", "sec-fetch-site": "same-origin"}, 202),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
    ],
)
def test_pages_of_other_places_change_nothing(client, headers, status):
    host = f"{client.base_url.host}:{client.base_url.port}"
    known = {name: value.format(host=host) for name, value in headers.items()}
    answer = client.post("/api/jobs", data={"model": "lesion"}, files={"image": picture()}, headers=known)
    assert answer.status_code == status
    assert client.get("/api/models", headers=known).status_code == 200  # what it reads, the browser keeps from it


def test_a_token_is_needed_where_one_is_set(locked):
    right = {"authorization": f"Bearer {TOKEN}"}
    for path in ("/api/models", "/api/jobs", "/metrics", "/docs", "/openapi.json", "/phone/models.json"):
        refused = locked.get(path)
        assert refused.status_code == 401, path
        assert refused.headers["www-authenticate"] == "Bearer"
        assert "token" in message(refused)
        for wrong in ("", "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Basic abc", "Bearer tökén"):
            assert locked.get(path, headers={"authorization": wrong.encode()}).status_code == 401
    assert locked.get("/api/models", headers=right).status_code == 200
    assert send(locked).status_code == 401
    assert locked.get("/").status_code == 200  # the page asks for it
    assert locked.get("/health").json()["models"] == {}
    assert locked.get("/health", headers=right).json()["models"] == {"lesion": ""}


def test_every_answer_has_its_headers(client):
    for path in ("/", "/api/models", "/health", "/nothing", "/api/jobs/x"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
    assert client.get("/api/models").headers["cache-control"] == "no-store"
    assert client.get("/api/models").headers["content-security-policy"].endswith("sandbox")
    for word in ("'wasm-unsafe-eval'", "worker-src 'self' blob:", "img-src 'self' data: blob:"):
        assert word in PAGE_POLICY


def test_what_is_not_there_is_told_in_the_same_form(client):
    assert "nothing at this address" in message(client.get("/nothing"))
    assert client.put("/api/jobs").status_code == 405
    assert "does not take" in message(client.put("/api/jobs"))
    assert message(client.get("/api/jobs/abc"))


def test_a_mistake_of_the_server_shows_nothing_of_it(client, monkeypatch):
    monkeypatch.setattr(client.app.state.desk.store, "count", lambda *_: 1 / 0)
    answer = client.get("/api/jobs")
    assert answer.status_code == 500
    assert "ZeroDivision" not in answer.text
    assert "mistake" in message(answer)


def test_pages_are_given_where_they_are_built(tmp_path):
    static = tmp_path / "static"
    (static / "phone").mkdir(parents=True)
    (static / "assets").mkdir()
    (static / "index.html").write_text("<h1>desk</h1>")
    (static / "phone" / "index.html").write_text("<h1>phone</h1>")
    (static / "assets" / "a-1.js").write_text("1")
    with serving(tmp_path, static=static) as client:
        page = client.get("/")
        assert page.text == "<h1>desk</h1>"
        assert page.headers["content-security-policy"] == PAGE_POLICY
        assert page.headers["cache-control"] == "no-cache"
        assert client.get("/phone/").text == "<h1>phone</h1>"
        assert "immutable" in client.get("/assets/a-1.js").headers["cache-control"]
        assert client.get("/..%2flesion.safetensors").status_code == 404
        assert client.get("/assets/../../lesion.safetensors").status_code == 404
        assert "nothing at this address" in message(client.get("/assets/none.js"))


def test_beyond_this_machine_a_token_is_needed(tmp_path):
    one = (("a", Path("a")),)
    for host in ("0.0.0.0", "192.168.1.5", "::", "eyes.example"):
        with pytest.raises(ConfigError, match="without a token"):
            Settings(models=one, data=tmp_path, host=host)
        assert Settings(models=one, data=tmp_path, host=host, token=TOKEN).token
    with pytest.raises(ConfigError, match="can be guessed"):
        Settings(models=one, data=tmp_path, token="short")
    for strange in ("bücherwurm", " spaced token", "line\nbreak token"):
        with pytest.raises(ConfigError, match="ASCII"):
            Settings(models=one, data=tmp_path, token=strange)
    with pytest.raises(ConfigError, match="nothing to serve"):
        Settings(models=(), data=tmp_path)
    assert TOKEN not in repr(Settings(models=one, data=tmp_path, token=TOKEN))


def test_settings_are_read():
    assert named_models(["runs/skin", "x/model.safetensors", "eye=a=b"])[1][0] == "x"
    assert dict(named_models(["eye=a=b"]))["eye"] == Path("a=b")
    for wrong in (["a/x", "b/x"], ["bad name=x"]):
        with pytest.raises(ConfigError):
            named_models(wrong)
    for wrong in ("", "much", "12 parsecs", "-1", "0", "5b"):
        with pytest.raises(ConfigError, match="is no amount"):
            parse_amount(wrong)
        with pytest.raises(ConfigError, match="is no span"):
            parse_seconds(wrong)


def test_the_command_says_what_is_wrong(tmp_path, capsys):
    model = write_model(tmp_path / "lesion.safetensors")
    data = ["--data", str(tmp_path / "data")]
    assert main(["serve", str(tmp_path / "none"), *data]) == 2
    assert "there is no model" in capsys.readouterr().err
    assert main(["serve", str(model), "--host", "0.0.0.0", *data]) == 2
    assert "without a token" in capsys.readouterr().err
    assert main(["serve", str(model), "--keep", "long", *data]) == 2
    assert "span of time" in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", str(model), "--port", str(taken.getsockname()[1]), *data]) == 2
    assert "it is in use, perhaps by another catenary serve; choose another --port" in capsys.readouterr().err
    with serving(tmp_path):
        assert main(["serve", str(model), "--port", "0", *data]) == 1
        assert "in use by another server" in capsys.readouterr().err


def test_the_command_serves_and_ends_in_order(tmp_path):
    model = write_model(tmp_path / "lesion.safetensors")
    # Where tests run in the background of a shell, interrupts are ignored and a child would inherit that.
    start = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    start += "from catenary.cli.main import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", start, "serve", f"eye={model}", "--port", "0", "--data", str(tmp_path / "data")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        try:
            line = run.stdout.readline()
            assert line.startswith("catenary serves eye at http://127.0.0.1:")
            with httpx.Client(base_url=line.split(" at ")[1].split()[0]) as client:  # one connection
                waits = [client.get("/health").elapsed.total_seconds() for _ in range(20)]
            run.send_signal(signal.SIGINT)
            _, told = run.communicate(timeout=60)
        finally:
            run.kill()  # nothing where it has ended
    assert run.returncode == 130
    assert "interrupted" in told
    assert "Traceback" not in told
    assert min(waits) < 0.03  # small packets that are held back take 40 ms each
