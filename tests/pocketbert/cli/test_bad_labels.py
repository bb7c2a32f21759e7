"""Tables whose labels do not say which outputs of a model they mean. The model is right about every row."""

import io
import json
import shlex
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from bench.results.benchmark import BenchResult
from bench.timing.systems import Contender, System
from compress.common.errors import UserError
from example_results import BENCH
from perfect_model import WORDS, perfect_model, perfect_rows
from pocketbert.cli import app
from pocketbert.cli_parts.options import split_labels
from pocketbert.data.recipe_task import load_recipe_task
from pocketbert.data.table_labels import joined_labels
from pocketbert.recipe.loading import load_recipe
from pocketbert.standalone import bench_models
from pocketbert.standalone.bench_models import BenchRequest, common_outputs
from tiny_bert import write_csv

MOODS = ("negative", "neutral", "positive")
STARS = ("1 star", "2 stars", "3 stars")
NAMES: dict[str, Sequence[str] | None] = {
    "default": None,
    "moods": MOODS,
    "stars": STARS,
    "turned": ("LABEL_2", "LABEL_0", "LABEL_1"),
    "commas": ("red, green", "blue", "none"),
}
REMEDY = "; name the table's label for each output of the model, in the order of its outputs, with --labels A,B,C"


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> dict[str, Path]:
    """The same perfect model with other names of its outputs."""
    root = tmp_path_factory.mktemp("perfect")
    default = perfect_model(root / "default")
    folders = {"default": default}
    for kind, names in NAMES.items():
        if names is not None:
            folders[kind] = renamed(default, root / kind, id2label=dict(enumerate(names)), label2id=None)
    return folders


def renamed(model: Path, target: Path, **config: object) -> Path:
    shutil.copytree(model, target)
    path = target / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
    return target


@pytest.fixture
def run(tmp_path, monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in the test's folder, in which t.csv has these labels. Returns the code and both outputs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POCKETBERT_CACHE", str(tmp_path / "cache"))

    def call(labels: Sequence[object], *arguments: object) -> tuple[int, str, str]:
        write_csv(tmp_path / "t.csv", ("text", "label"), perfect_rows(labels))
        capsys.readouterr()
        code = app.main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return code, printed.out, printed.err

    return call


def export(model: Path, *options: str) -> list[object]:
    return ["export", model, "--data", "t.csv", "--variant", "fp32", "--max-length", "32", "--output", "out", *options]


REFUSED: list[tuple[str, list[object], list[str], tuple[str, ...]]] = [
    ("default", [None, 1, 2], [], ("1, 2", "may count from 0 (1 is LABEL_1, 2 is LABEL_2) or from 1", REMEDY)),
    ("default", [1, 2, None], [], ("1, 2", "may count from 0", REMEDY)),
    ("moods", [0, 1, None], [], ("0 is negative, 1 is neutral", "no row has the last one, 2", REMEDY)),
    ("default", [1, 2, 3], [], ("may count from 1 (1 is LABEL_0", REMEDY)),
    ("moods", [-1, 0, 1], [], ("the labels -1, 0, 1 in column 'label'", "not the positions 0 to 2", REMEDY)),
    ("default", list(MOODS), [], ("classes negative, neutral, positive", "only the default names", REMEDY)),
    ("default", ["True", "False", "None"], [], ("only the default names", REMEDY)),
    ("moods", ["neg", "neutral", "positive"], [], ("label 'neg'", "not one of negative, neutral, positive", REMEDY)),
    ("stars", [1, 2, None], [], ("1 is 2 stars", REMEDY)),
    ("turned", [0, 1, 2], [], ("the numbers in these names are not their positions", REMEDY)),
    ("default", [2, 0, 1], [], ("not in the order of the labels", "LABEL_2, LABEL_0, LABEL_1", REMEDY)),
    ("moods", ["neutral", "negative", "positive"], [], ("not in the order", "seems to be neutral, negative, positive")),
    ("default", list(MOODS), ["--labels", "positive,neutral,negative"], ("not in the order of the labels",)),
    ("default", list(MOODS), ["--labels", "negative,positive"], ("got 2 labels", "expected 3, one for each output")),
    ("default", list(MOODS), ["--labels", "negative,neutral,neutral"], ("'neutral' is given for two outputs",)),
    ("moods", list(MOODS), ["--labels", "positive,neutral,negative"], ("'positive' for output 0", "'negative'")),
    ("default", list(MOODS), ["--labels", "negative,,positive"], ("--labels negative,,positive: a label is empty",)),
    ("default", list(MOODS), ["--labels", 'a,"b'], ('--labels a,"b: ', "put a label with a comma in double quotes")),
    ("default", ["bad", "fair", "good"], ["--labels", "a,b,c"], ("label 'bad'", "not one of a, b, c; nor are", REMEDY)),
]


@pytest.mark.parametrize(("model", "labels", "options", "expected"), REFUSED)
def test_a_guess_is_refused_in_one_line(models, run, tmp_path, model, labels, options, expected):
    code, out, err = run(labels, *export(models[model], *options))
    (line,) = (line for line in err.splitlines() if line.startswith("error: "))
    assert code == 2 and out == ""
    for part in expected:
        assert part in line
    assert not list((tmp_path / "out").glob("[!.]*")), "no bundle of a table that was not understood"


ACCEPTED: list[tuple[str, list[object], list[str], str, Sequence[str] | None]] = [
    ("default", [0, None, 2], [], "labels 0 and 2 are positions: 0 is LABEL_0, 2 is LABEL_2", None),
    ("moods", ["0.0", "1.0", "2.0"], [], "0.0 is negative, 1.0 is neutral, 2.0 is positive", None),
    ("moods", ["Negative", None, "POSITIVE"], [], "regardless of case", None),
    ("stars", [1, 2, 3], [], "labels 1 to 3 are read as follows: 1 is 1 star, 2 is 2 stars, 3 is 3 stars", None),
    ("default", list(MOODS), ["--labels", "negative,neutral,positive"], "", MOODS),
    ("default", [None, 1, 2], ["--labels", "0,1,2"], "no row has the label 0", ("0", "1", "2")),
    ("default", [1, 2, None], ["--labels", "1,2,3"], "no row has the label 3", ("1", "2", "3")),
    ("moods", [-1, 0, 1], ["--labels", "-1,0,1"], "", MOODS),
    ("moods", ["neg", "neutral", "pos"], ["--labels", " neg, neutral, pos"], "", MOODS),
    ("commas", ["red, green", "blue", "none"], [], "", None),
    ("default", ["red, green", "10", "9"], ["--labels", '"red, green",10,9'], "", ("red, green", "10", "9")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("model", "labels", "options", "remark", "names"), ACCEPTED)
def test_what_is_certain_is_read_right_and_reported(models, run, tmp_path, model, labels, options, remark, names):
    code, out, err = run(labels, *export(models[model], *options, "--json"))
    assert code == 0, err
    assert json.loads(out)["variants"]["fp32"]["parity"]["torch_score"] == 1.0
    assert any("t.csv" in line and remark in line for line in err.splitlines()), err
    bundle = json.loads((tmp_path / "out" / "fp32" / "bundle.json").read_text())
    config = json.loads((tmp_path / "out" / "fp32" / "config.json").read_text())
    default = NAMES[model] or ("LABEL_0", "LABEL_1", "LABEL_2")
    assert bundle["labels"] == list(config["id2label"].values()) == list(names or default)
    if config.get("label2id"):
        assert config["label2id"] == {name: index for index, name in enumerate(bundle["labels"])}


@pytest.mark.slow
def test_a_score_below_the_most_common_label_is_reported(models, run):
    """All rows have one label, so that no other order of the outputs explains the predictions."""
    code, _, err = run(["neutral", "neutral", "neutral"], *export(models["moods"]))
    (line,) = (line for line in err.splitlines() if line.startswith("warning: "))
    assert code == 0 and "its accuracy of 0.333 is below 1.000, that of always predicting" in line


def test_labels_of_a_regression_model_are_refused(models, run, tmp_path):
    one = {"id2label": {"0": "score"}, "label2id": {"score": 0}, "problem_type": "regression"}
    regression = renamed(models["default"], tmp_path / "regression", **one)
    code, _, err = run([0.5, 1.5, 2.5], *export(regression, "--labels", "a,b"))
    assert code == 2 and "--labels a,b: " in err and "is a regression model, so its table holds numbers" in err


# -- benchmarks


@pytest.mark.parametrize("command", [["bench", "models"], ["bench", "self-check"]])
def test_benchmarks_refuse_a_guess_before_they_measure(models, run, command):
    code, _, err = run([None, 1, 2], *command, models["default"], "--data", "t.csv")
    (line,) = (line for line in err.splitlines() if line.startswith("error: "))
    assert code == 2 and "may count from 0" in line and line.endswith(REMEDY)


def test_a_benchmark_reads_the_given_labels_and_can_be_repeated(models, run, monkeypatch):
    workloads = []

    def measure(lineup, workload, *options, **more) -> BenchResult:
        workloads.append(workload)
        return BENCH

    monkeypatch.setattr(bench_models, "run_benchmark", measure)
    options = ("--data", "t.csv", "--labels", '"a, b",10,9', "--json")
    code, out, err = run(["a, b", 10, 9], "bench", "models", models["default"], *options)
    assert code == 0, err
    assert np.unique(workloads[0].labels).tolist() == [0, 1, 2] and workloads[0].labels[:3] == [0, 1, 2]
    words = shlex.split(json.loads(out)["reproduce"]["command"])
    assert words[words.index("--labels") + 1] == '"a, b",10,9'
    assert "warning: " not in err
    bad = [row.score for row in BENCH.rows if row.score is not None]
    assert min(bad) > 0.5, "the scores are above one third, the share of each label"
    code, _, err = run(["a, b", "a, b", "a, b"], "bench", "models", models["default"], *options)
    assert code == 0 and "that of always predicting 'a, b'; are the labels of the table in the order" in err


def test_models_without_names_can_be_compared_with_models_that_have_them(models):
    def contenders(*kinds: str) -> list[Contender]:
        return [
            Contender(system=System(label=kind, role="student", engine="torch"), path=str(models[kind]))
            for kind in kinds
        ]

    with pytest.raises(
        UserError, match=r"the models' labels differ: .* LABEL_0, LABEL_1, LABEL_2; .* negative"
    ) as error:
        common_outputs(contenders("default", "moods"))
    assert error.value.problems[0].option == "labels"
    assert common_outputs(contenders("default", "moods"), MOODS).labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    with pytest.raises(UserError, match=r"the models' labels differ: .* negative.* 1 star"):
        common_outputs(contenders("moods", "stars"), ("a", "b", "c"))
    with pytest.raises(UserError, match="got 2 labels"):
        common_outputs(contenders("default"), ("a", "b"))


def test_labels_on_the_command_line_survive_a_round_trip():
    for labels in (("a", "b"), ("red, green", 'say "no"'), ("-1", "1"), ("\xe4", "not spam")):
        assert split_labels(joined_labels(labels)) == labels
    assert split_labels(None) is None
    options = BenchRequest(data=Path("d.csv"), labels=("a", "b, c"), num_threads=1).options()
    assert options[options.index("--labels") + 1] == 'a,"b, c"'


# -- recipes


def recipe(tmp_path: Path, model: Path, **task: object) -> str:
    shape = {"layers": 1, "width": 16, "ffn_width": 32, "heads": 4}
    content = {
        "name": "tiny",
        "task": {"data": "t.csv", "max_length": 32, **task},
        "teacher": {"model": str(model)},
        "student": {**shape, "initialisation": "random"},
        "gate": {"teacher_over_baseline": False},
    }
    (tmp_path / "r.yaml").write_text(json.dumps(content))
    return "r.yaml"


RECIPES: list[tuple[str, list[object], dict[str, object], str]] = [
    ("default", list(MOODS), {}, "only the default names LABEL_0, LABEL_1, LABEL_2; these do not say"),
    ("default", [1, 2, 3], {}, "only the default names"),
    ("moods", ["neg", "neutral", "positive"], {}, "only the teacher has negative; only the data have neg"),
    ("moods", [None, 1, 2], {"labels": list(MOODS)}, "may count from 0 (1 is neutral, 2 is positive) or from 1"),
]


@pytest.mark.parametrize(("model", "labels", "task", "expected"), RECIPES)
def test_a_recipe_does_not_guess_either(models, run, tmp_path, model, labels, task, expected):
    code, _, err = run(labels, "check", recipe(tmp_path, models[model], **task))
    (line,) = (line for line in err.splitlines() if line.startswith("error: "))
    assert code == 2 and expected in line
    assert "; name the classes of the data in task.labels, in the order of the model's outputs" in line


READ: list[tuple[str, list[object], dict[str, object], str, list[str]]] = [
    ("default", [0, 1, 2], {}, "labels are the teacher's outputs in order: 0 is LABEL_0", ["0", "1", "2"]),
    ("default", list(MOODS), {"labels": list(MOODS)}, "negative is LABEL_0, neutral is LABEL_1", list(MOODS)),
    ("moods", ["0.0", "1.0", "2.0"], {"labels": list(MOODS)}, "0.0 is negative, 1.0 is neutral", list(MOODS)),
    ("moods", ["neg", "mid", "pos"], {"labels": ["neg", "mid", "pos"]}, "neg is negative, mid is neutral", list(MOODS)),
    ("moods", ["negative", "Neutral", "POSITIVE"], {}, "POSITIVE is positive", list(MOODS)),
    ("stars", [1, 2, 3], {"labels": list(STARS)}, "1 is 1 star, 2 is 2 stars", list(STARS)),
]


@pytest.mark.parametrize(("model", "labels", "task", "remark", "names"), READ)
def test_a_recipe_reports_how_labels_are_read(models, run, tmp_path, model, labels, task, remark, names):
    path = recipe(tmp_path, models[model], **task)
    if model == "stars":
        code, out, err = run(labels, "check", path, "--json")
        assert code == 0, err
        assert json.loads(out)["labels"] == names and any(remark in line for line in json.loads(out)["remarks"])
        return
    write_csv(tmp_path / "t.csv", ("text", "label"), perfect_rows(labels))
    printed = io.StringIO()
    loaded = load_recipe_task(load_recipe(path), Console(file=printed, width=400))
    assert list(loaded.labels) == names and remark in printed.getvalue()
    outputs = {text.split()[0]: label for text, label in zip(loaded.dev.texts, loaded.dev.labels, strict=True)}
    assert outputs and all(WORDS[output] == word for word, output in outputs.items())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_dev_rows", "code", "expected"),
    [
        (30, 2, "its outputs are not in the order of the labels: where it predicts '0', the data have '2'"),
        (
            6,
            0,
            "warning: MODEL: where it predicts '0', more rows have the label '2'; are the labels of the table in the",
        ),
    ],
)
def test_the_teacher_stage_checks_the_order(models, run, tmp_path, num_dev_rows, code, expected):
    labels = [2, 0, 1]
    for split, lines in (("train", perfect_rows(labels, repeats=25)), ("dev", perfect_rows(labels)[:num_dev_rows])):
        write_csv(tmp_path / f"{split}.csv", ("text", "label"), lines)
    path = recipe(tmp_path, models["default"], data=".")
    actual, _, err = run(labels, "run", path, "--until", "teacher", "--output", "run")
    assert actual == code and expected.replace("MODEL", str(models["default"])) in " ".join(err.split())
