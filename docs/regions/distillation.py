"""Task distillation, the pruned vocabulary and the loss curves, from results/distillation/ and results/general/."""

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from bench.plots.loss_curves import CurveComparison
from regions.cells import bullets, megabytes, minutes, read_json, table

RUNS = {
    "sst2-0": "SST-2, seed 0",
    "sst2-1": "SST-2, seed 1",
    "sst2-2": "SST-2, seed 2",
    "rte-0": "RTE",
    "cola-0": "CoLA",
    "stsb-0": "STS-B",
}
VOCABULARIES = {
    "sst2-0": "all, rate 3e-5",
    "sst2-v8000-slow": "8,000, rate 3e-5",
    "sst2-v8000": "8,000, rate 1e-4",
}
METRICS = {"accuracy": "accuracy", "matthews": "Matthews", "pearson_spearman": "mean of Pearson and Spearman"}


def _run(results: Path, name: str) -> Any:
    return read_json(results / "distillation" / f"{name}.json")


def _scores(run: Any, stage: str) -> str:
    """Dev and test; dev alone where the test rows are the dev rows."""
    scores = run["scores"][stage]
    test = "-" if run["rows"]["test"] == run["rows"]["dev"] else f"{scores['test']:.3f}"
    return f"{scores['dev']:.3f} / {test}"


def _kept(run: Any) -> float:
    share: float = run["scores"]["after prediction"]["test"] / run["scores"]["teacher"]["test"]
    return share


def _steps(run: Any) -> str:
    return f"{run['steps']['intermediate']:,} and {run['steps']['prediction']:,}"


def _row_of(run: Any, name: str) -> Any:
    return next(row for row in run["bench"] if row["name"] == name)


def distillation_tasks(results: Path) -> str:
    """The metric of teacher and student after each stage."""
    rows = []
    for name, title in RUNS.items():
        run = _run(results, name)
        rows.append(
            (
                title,
                METRICS[run["metric"]],
                *(_scores(run, stage) for stage in ("teacher", "as it came", "after intermediate", "after prediction")),
                f"{_row_of(run, 'student int8-dynamic, onnxruntime')['score']:.3f}",
                f"{_kept(run):.1%}",
            )
        )
    header = (
        "task", "metric", "teacher", "student before training", "after intermediate", "after prediction",
        "int8-dynamic", "kept",
    )  # fmt: skip
    return table(header, rows, text_columns=(0, 1))


def distillation_facts(results: Path) -> str:
    """The share kept on SST-2, the steps of each task and the longest run."""
    runs = {name: _run(results, name) for name in RUNS}
    seeds = [_kept(run) for run in (runs["sst2-0"], runs["sst2-1"], runs["sst2-2"])]
    longest = max(sum(run["seconds"].values()) for run in runs.values())
    size = megabytes(_row_of(runs["sst2-0"], "student int8-dynamic, onnxruntime")["size_bytes"])
    steps = "; ".join(
        f"{RUNS[name].partition(',')[0]} {_steps(runs[name])}" for name in ("sst2-0", "rte-0", "cola-0", "stsb-0")
    )
    return bullets(
        (
            f"On SST-2 the student keeps {sum(seeds) / len(seeds):.1%} of the teacher's test accuracy, the mean of "
            "three seeds.",
            f"Steps of 32 rows, intermediate and prediction: {steps}.",
            f"The longest run took {minutes(longest)}. The int8 bundle has {size}.",
        )
    )


def distillation_vocabulary(results: Path) -> str:
    """The SST-2 student with its whole vocabulary and with 8,000 tokens."""
    rows = []
    for name, title in VOCABULARIES.items():
        run = _run(results, name)
        fp32, int8 = (_row_of(run, f"student {variant}, onnxruntime") for variant in ("fp32", "int8-dynamic"))
        rows.append(
            (
                title,
                f"{run['steps']['prediction']:,}",
                _scores(run, "before prediction"),
                _scores(run, "after prediction"),
                f"{_kept(run):.1%}",
                megabytes(fp32["size_bytes"]),
                megabytes(int8["size_bytes"]),
                f"{int8['score']:.3f}",
            )
        )
    header = (
        "tokens", "steps", "before prediction", "after prediction", "kept", "fp32 bundle", "int8 bundle",
        "int8 accuracy",
    )  # fmt: skip
    return table(header, rows)


def general_curves(results: Path) -> str:
    """The loss of general distillation from projected and from random weights."""
    return curve_table(results / "general" / "curves.json")


def curve_table(file: Path) -> str:
    """The loss from projected and from random weights, step by step. `file`: that of `pocketbert curves`."""
    comparison = TypeAdapter(CurveComparison).validate_python(read_json(file))
    last = comparison.lines[-1].step
    rows = [
        (
            f"{line.step:,}",
            f"{line.first:.2f}",
            "-" if line.second is None else f"{line.second:.2f}",
            f"more than {last:,}" if line.steps_of_second is None else f"{line.steps_of_second:,}",
        )
        for line in comparison.lines
    ]
    return table(("step", "loss, projected", "loss, random", "steps that random needs for this loss"), rows)


REGIONS = {
    "distillation-tasks": distillation_tasks,
    "distillation-facts": distillation_facts,
    "distillation-vocabulary": distillation_vocabulary,
    "general-curves": general_curves,
}
