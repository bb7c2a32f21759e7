"""Tables from which nothing can be learned: `check` and `run` refuse them in one line, with code 3."""

import pytest

from pocketbert.cli import app
from tiny_bert import rows, write_csv
from tiny_recipes import write_recipe

HOPELESS = {
    "identical texts": (
        [("the same film", f"{index % 2}") for index in range(60)], {},
        "the number of different texts in the 60 rows of train is 1; expected at least 10",
    ),
    "nearly identical texts": (
        [(f"the same {'film' if index % 9 else 'Film'}{' ' * (index % 5)} here{index % 7}", f"{index % 2}")
         for index in range(70)], {},
        "different texts; expected at least 10",
    ),
    "one row per class": (
        [(f"the film {index}", f"class {index}") for index in range(40)], {},
        "40 different labels in 40 rows of column 'label'; expected at least 2 rows per class on average",
    ),
    "one row per class, few classes": (
        [(f"the film {index}", f"class {index}") for index in range(15)], {},
        "train has 15 rows for 15 classes; expected at least 2 rows per class on average",
    ),
    "one row per class with named labels": (
        [(f"the film {index}", f"class {index}") for index in range(40)],
        {"labels": [f"class {index}" for index in range(40)]},
        "train has 40 rows for 40 classes; expected at least 2",
    ),
    "fewer than two rows per class": (
        [(f"the film {index}", f"class {index % 20}") for index in range(30)], {},
        "rows for 20 classes; expected at least 2 rows per class on average",
    ),
}  # fmt: skip
BAD = {
    "one class": ([(f"the film {index}", "good") for index in range(40)], {}, "holds 1 class (good)"),
    "one class of two": (
        [(f"the film {index}", "good") for index in range(40)], {"labels": ["good", "bad"]},
        "rows of train have one and the same label; expected more",
    ),
    "one score": (
        [(f"the film {index}", "2.5") for index in range(40)], {"type": "regression"},
        "rows of train have one and the same label; expected more",
    ),
    "few rows": ([("a film", "x"), ("the plot", "y"), ("a cast", "x")], {}, "expected at least 10 different ones"),
}  # fmt: skip


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize(("kind", "code"), [*((kind, 3) for kind in HOPELESS), *((kind, 2) for kind in BAD)])
def test_the_reason_is_printed_before_any_model_is_trained(
    tmp_path, base_folder, capsys, monkeypatch, command, kind, code
):
    monkeypatch.chdir(tmp_path)
    lines, task, message = {**HOPELESS, **BAD}[kind]
    data = write_csv(tmp_path / "t.csv", ("text", "label"), lines)
    path = write_recipe(tmp_path, data, teacher={"base": str(base_folder)}, task=task)
    assert app.main([command, path]) == code
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert message in line
    assert not (tmp_path / "runs").exists()


def test_a_smoke_run_of_many_classes_is_not_refused(tmp_path, base_folder, monkeypatch, capsys):
    """Its sample of 200 rows has fewer than two rows for each of 150 classes."""
    monkeypatch.chdir(tmp_path)
    lines = [(f"{text} {index}", f"class {index % 150}") for index, (text, _) in enumerate(rows(600))]
    data = write_csv(tmp_path / "t.csv", ("text", "label"), lines)
    path = write_recipe(tmp_path, data, teacher={"base": str(base_folder)})
    assert app.main(["run", path, "--smoke", "--until", "baseline", "--output", str(tmp_path / "run")]) == 0
    assert "150 labels" in capsys.readouterr().err
