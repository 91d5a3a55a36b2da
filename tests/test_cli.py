"""The command line: parsing, printing, errors and exit codes, with the work itself replaced."""

import io
import os
import subprocess
import sys
from importlib import import_module
from inspect import getdoc
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import catenary
from catenary.cli.main import COMMANDS, main
from catenary.cli.options import seeded
from catenary.cli.progress import plain, show_progress
from catenary.cli.settings import every_setting
from catenary.errors import ConfigError, DataError, MissingExtra, ModelError, OutputError, TrainingError
from catenary.metrics.results import Baseline, Comparison, Difference, Evaluation, Interval
from catenary.predict.files import PredictionRecord
from catenary.recipe import Recipe, fields, override

SCORE = Interval(value=0.91234, low=0.88, high=0.94, n=12)
MAJORITY = Baseline.model_construct(mean={"dice": Interval(value=0.0, n=12), "iou": Interval(value=None, n=0)})
EVALUATION = Evaluation.model_construct(
    split="test",
    n=12,
    classes={"[lesion]": {"dice": SCORE, "iou": SCORE}},
    mean={"dice": SCORE, "iou": SCORE},
    baselines={"majority class": MAJORITY},
)
WORSE = Difference(a=0.9, b=0.8, value=-0.1, low=-0.2, high=-0.05, p=0.01, n=12, better="a")
COMPARISON = Comparison(
    a="skin", b="deep", n=12, groups=6, classes={"lesion": {"dice": WORSE}}, mean={"dice": WORSE}, conventions={}
)
FINDINGS = (
    SimpleNamespace(level="note", code="n", message="sizes differ", remedy="none needed", cases=()),
    SimpleNamespace(level="error", code="e", message="3 images have no mask", remedy="add them", cases=("a",)),
)
RUN = SimpleNamespace(
    path=Path("runs/skin"), evaluation=EVALUATION, report=Path("runs/skin/report.html"), start="41 of 42 arrays of old"
)
DATASET = SimpleNamespace(
    name="lesions",
    layout="isic",
    cases=[SimpleNamespace(group=name, mask=Path(name), source="") for name in "ab"],
    grid=SimpleNamespace(spacing=None, unit=None),
    licence="CC0",
    labels=SimpleNamespace(regions={}, names=(), scope="pixel"),
    channel_names=(),
)
PLAN = SimpleNamespace(rows=lambda: [("sample.batch", "8", "what [memory] holds")], expected_steps=300)
ANSWERS = {
    "inspect": SimpleNamespace(dataset=DATASET, fingerprint=None, findings=FINDINGS, contact_sheet=None),
    "plan": PLAN,
    "fit": RUN,
    "predict": [
        PredictionRecord(source=Path("a.png"), mask=Path("masks/a_mask.png"), engine="torch", warnings=("odd",)),
        PredictionRecord(source=Path("bad.png"), error="cannot read bad.png: it is empty; remove it"),
    ],
    "evaluate": EVALUATION,
    "export": SimpleNamespace(path=Path("skin.onnx"), written=(), notes=("odd",)),
    "compare": COMPARISON,
    "demo": RUN,
}


@pytest.fixture
def workflow(monkeypatch):
    """A stand-in for `catenary.workflow` that records how it is called and gives `ANSWERS`."""
    fake = ModuleType("catenary.workflow")
    fake.calls = []

    def stand_in(name):
        def function(*args, progress=None, **kwargs):
            fake.calls.append((name, args, kwargs))
            return ANSWERS[name]

        return function

    for name in ANSWERS:
        setattr(fake, name, stand_in(name))
    monkeypatch.setitem(sys.modules, "catenary.workflow", fake)
    monkeypatch.setattr(catenary, "workflow", fake, raising=False)
    return fake


def raising(workflow, error):
    def function(*args, **kwargs):
        raise error

    for name in ANSWERS:
        setattr(workflow, name, function)


NO_BUDGET = {"minutes": 0.0, "epochs": 0, "steps": 0, "settings": [], "group": None, "recipe": "default"}


@pytest.mark.parametrize(
    ("line", "args", "kwargs"),
    [
        ("inspect data --group (\\d+)", (Path("data"),), {"group": "(\\d+)", "out": None}),
        (
            "export runs/a --to openvino --precision int8 --data lesions --out skin",
            (Path("runs/a"),),
            {
                "to": "openvino",
                "precision": "int8",
                "data": Path("lesions"),
                "out": Path("skin"),
                "drift": 0.001,
            },
        ),
        ("plan data --minutes 2.5", (Path("data"),), NO_BUDGET | {"minutes": 2.5}),
        (
            "fit data --out runs/a --epochs 3 --set model.depth=5 --set train.lr=0.1 --resume --devices 2 --seed 7",
            (Path("data"),),
            NO_BUDGET
            | {
                "out": Path("runs/a"),
                "epochs": 3,
                "settings": ["split.seed=7", "train.seed=7", "model.depth=5", "train.lr=0.1"],
                "resume": True,
                "devices": 2,
                "init": None,
            },
        ),
        (
            "predict runs/a x.png y/*.tif --out masks --engine torch --tta --probability --overlay --overlap 0.5",
            (Path("runs/a"), ["x.png", "y/*.tif"]),
            {
                "out": Path("masks"),
                "engine": "torch",
                "tta": True,
                "probability": True,
                "overlay": True,
                "overlap": 0.5,
                "others": [],
                "dicom_seg": False,
                "disaster": "",
            },
        ),
        (
            "evaluate runs/a data --split val",
            (Path("runs/a"), Path("data")),
            {"split": "val", "out": None, "prevalence": None},
        ),
        ("compare runs/skin runs/deep", (Path("runs/skin"), Path("runs/deep")), {}),
        ("demo", (Path("runs/demo"),), {}),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) else "",
)
def test_a_command_calls_the_function_of_its_name(workflow, line, args, kwargs):
    main(line.split())
    assert workflow.calls == [(line.split()[0], args, kwargs)]


def test_fit_leaves_to_the_planner_what_nobody_asked_for(workflow):
    main(["fit", "data", "--out", "a"])
    (_, _, kwargs) = workflow.calls[0]
    assert override(Recipe(), kwargs["settings"]) == Recipe()
    assert kwargs["resume"] is False
    assert kwargs["devices"] == 1


def test_set_wins_over_seed():
    assert override(Recipe(), seeded(["train.seed=3"], 1)).train.seed == 3


def test_results_are_printed_on_standard_output(workflow, capsys):
    assert main(["fit", "data", "--out", "a"]) == 0
    printed = capsys.readouterr().out
    for part in ("[lesion]", "0.912 (0.880 to 0.940)", "majority class", "report.html", "12 cases"):
        assert part in printed
    assert main(["plan", "data"]) == 0
    assert "what [memory] holds" in capsys.readouterr().out


def test_compare_shows_the_paired_difference(workflow, capsys):
    assert main(["compare", "runs/skin", "runs/deep"]) == 0
    printed = capsys.readouterr().out
    for part in ("12 cases in 6 groups", "deep - skin", "-0.100 (-0.200 to -0.050)"):
        assert part in printed


def test_inspect_shows_errors_first_and_fails_on_them(workflow, capsys):
    assert main(["inspect", "data"]) == 2
    printed = capsys.readouterr().out
    assert printed.index("3 images have no mask") < printed.index("sizes differ")


def test_predict_names_doubtful_and_failed_inputs_and_ends_with_2(workflow, capsys):
    assert main(["predict", "run", "a.png", "bad.png", "--out", "masks"]) == 2
    captured = capsys.readouterr()
    assert captured.out.strip() == "1 mask written to masks by torch"
    assert captured.err.splitlines() == [
        "catenary: warning: a.png: odd",
        "catenary: error: cannot read bad.png: it is empty; remove it",
    ]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("fti data", "there is no command 'fti'; did you mean 'fit'?"),
        ("fit data --minuts 3", "there is no option '--minuts'; did you mean '--minutes'?"),
        ("--vresion", "there is no option '--vresion'; did you mean '--version'?"),
        ("fit", "missing argument 'DATA'; see catenary fit --help"),
        ("fit data", "missing option '--out'; see catenary fit --help"),
        ("plan data --minutes abc", "invalid value for '--minutes'"),
        ("plan data --minutes -1", "invalid value for '--minutes'"),
        ("evaluate run data --split tst", "invalid value for '--split': 'tst' is not one of"),
        ("settings modle", "no field begins with 'modle'; did you mean 'model'?"),
    ],
)
def test_a_wrong_command_line_gives_one_sentence_and_2(workflow, capsys, line, told):
    assert main(line.split()) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"catenary: error: {told}")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not workflow.calls


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (DataError("no pairs in data; add masks"), 2, "catenary: error: no pairs in data; add masks"),
        (ConfigError("unknown setting 'a'"), 2, "catenary: error: unknown setting 'a'"),
        (ModelError("no model in runs/a"), 2, "catenary: error: no model in runs/a"),
        (MissingExtra("openvino", "fast"), 2, "catenary: error: openvino is not installed"),
        (OutputError("cannot write a: no space"), 1, "catenary: error: cannot write a: no space"),
        (TrainingError("the loss is nan"), 1, "catenary: error: the loss is nan"),
        (
            PermissionError(13, "Permission denied", "a/b"),
            1,
            "catenary: error: the system refused a/b: Permission denied",
        ),
        (MemoryError(), 1, "catenary: error: the memory is used up"),
        (
            ZeroDivisionError("division\nby zero"),
            1,
            "catenary: error: ZeroDivisionError: division by zero; this should",
        ),
        (KeyboardInterrupt(), 130, "catenary: interrupted; the same command with --resume goes on"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_an_error_is_one_sentence_with_its_exit_code(workflow, capsys, error, code, told):
    raising(workflow, error)
    assert main(["fit", "data", "--out", "a"]) == code
    captured = capsys.readouterr()
    assert captured.err.startswith(told)
    assert captured.err.count("\n") == 1


def test_traceback_shows_where_an_error_came_from(workflow, capsys):
    raising(workflow, ZeroDivisionError("x"))
    assert main(["fit", "data", "--out", "a", "--traceback"]) == 1
    captured = capsys.readouterr().err
    assert "Traceback (most recent call last)" in captured
    assert captured.splitlines()[-1].startswith("catenary: error: ZeroDivisionError")


def test_an_interrupt_elsewhere_does_not_speak_of_resuming(workflow, capsys):
    raising(workflow, KeyboardInterrupt())
    assert main(["predict", "run", "a.png", "--out", "b"]) == 130
    assert "--resume" not in capsys.readouterr().err


def test_terminating_the_process_cleans_up_on_the_way_out(tmp_path):
    code = """
import os, signal, sys, types
import catenary
fake = types.ModuleType("catenary.workflow")
def demo(out, progress):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        print("cleaned up")
fake.demo = demo
sys.modules["catenary.workflow"] = catenary.workflow = fake
from catenary.cli.main import main
sys.exit(main(["demo"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 143
    assert done.stdout.strip() == "cleaned up"
    assert done.stderr.startswith("catenary: terminated")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes close in another way there")
def test_a_reader_that_goes_away_is_no_error():
    writer = subprocess.Popen(
        [sys.executable, "-m", "catenary", "settings"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    writer.stdout.close()
    told = writer.stderr.read()
    writer.stderr.close()
    assert writer.wait() == 141
    assert told == b""


def test_a_console_without_the_characters_gets_others():
    code = """
import sys, types
import catenary
fake = types.ModuleType("catenary.workflow")
fake.predict = lambda *args, **kwargs: []
sys.modules["catenary.workflow"] = catenary.workflow = fake
from catenary.cli.main import main
sys.exit(main(["predict", "run", "a.png", "--out", "m\\xe4sken"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False, env=os.environ | {"PYTHONIOENCODING": "ascii"}
    )
    assert done.stdout.split() == b"0 masks written to m?sken".split(), done.stderr


def test_version_is_the_installed_one(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"catenary {catenary.__version__}\n"


def test_no_arguments_show_the_help(capsys):
    assert main([]) == 0
    assert capsys.readouterr().out.startswith("Usage: catenary COMMAND")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_tells_what_the_commands_tell(name):
    function = getattr(import_module(f"catenary.cli.{name}"), name)
    assert getdoc(function).splitlines()[0] == COMMANDS[name]


def test_every_field_can_be_set_from_its_own_default():
    found = every_setting()
    assert [setting.key for setting in found] == list(fields())
    assert all(setting.meaning for setting in found)
    settings = [f"{setting.key}={setting.default}" for setting in found]
    assert override(Recipe(), settings) == Recipe()


def test_public_names_are_those_listed():
    assert set(catenary.__all__) <= set(dir(catenary))
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        catenary.fitt  # noqa: B018


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@given(
    calls=st.lists(
        st.tuples(st.sampled_from(["a", "b, loss 1", "b, loss 2"]), st.integers(1, 15), st.floats(0, 5)),
        max_size=300,
    )
)
def test_plain_progress_never_floods(calls):
    lines, clock = [], Clock()
    progress = plain(lines.append, clock=clock)
    done = {"a": 0, "b": 0}
    for what, more, seconds in calls:
        clock.now += seconds
        done[what[0]] = min(done[what[0]] + more, 1000)
        progress(what, done[what[0]], 1000)
    for name in done:
        assert sum(line[0] == name for line in lines) <= 11


def test_plain_progress_tells_each_tenth_of_slow_work_once():
    lines, clock = [], Clock()
    progress = plain(lines.append, clock=clock)
    for done in range(1, 1001):
        clock.now += 2.0
        progress("training", done, 1000)
    assert [line.split(", ")[0] for line in lines] == [f"training: {tenth}0 %" for tenth in range(1, 11)]


def test_plain_progress_tells_the_end_of_what_it_told_of():
    lines, clock = [], Clock()
    progress = plain(lines.append, clock=clock)
    for done, seconds in ((0, 0.0), (5, 2.0), (10, 0.1)):
        clock.now += seconds
        progress("reading", done, 10)
    assert lines == ["reading: 50 %, 2 s left", "reading: 100 %, 2 s"]


def test_plain_progress_counts_from_where_a_resumed_run_stood():
    lines, clock = [], Clock()
    progress = plain(lines.append, clock=clock)
    for done in (50, 75):
        progress("training", done, 100)
        clock.now += 60.0
    progress("training", 90, 100)
    assert lines == ["training: 75 %, 1 min 00 s left", "training: 90 %, 30 s left"]


def test_plain_progress_does_not_mention_quick_or_endless_work():
    lines, clock = [], Clock()
    progress = plain(lines.append, clock=clock)
    for what in "abcdef":
        clock.now += 100.0
        for done in range(11):
            progress(what, done, 10)
    progress("endless", 5, 0)
    assert lines == []


def test_bars_on_a_terminal(monkeypatch):
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with show_progress() as progress:
        for done in range(4):
            progress(f"training, loss [red]{done}", done, 3)
        progress("reading [1]: x", 1, 0)
    assert "training, loss [red]3" in screen.getvalue()
    assert "100%" in screen.getvalue()
    assert "reading [1]" in screen.getvalue()
