"""Students of four shapes on four tasks, from results/tasks/tasks.json."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from bench.results.measurements import Machine
from pocketbert.ablation.document import mean_text
from pocketbert.ablation.paired_seeds import Mean
from regions.cells import bullets, kept_cell, machine_words, megabytes, read_json, table
from regions.mpnet import summary_cells

TITLES = {"sst2": "SST-2", "cola": "CoLA", "rte": "RTE", "stsb": "STS-B"}
METRICS = {"accuracy": "accuracy", "matthews": "Matthews", "pearson_spearman": "mean of Pearson and Spearman"}


def tasks_table(results: Path) -> str:
    """For each task and student: scores, what the recommended bundle keeps, size and speed."""
    header = (
        "task", "baseline", "teacher", "student", "seeds", "fp32", "recommended", "its score", "kept", "size", "speed",
    )  # fmt: skip
    lines = [
        (
            TITLES[row["task"]],
            f"{row['baseline']['test']:.3f}",
            _teacher(row),
            row["student"],
            f"{len(row['seeds'])}",
            _interval(row["test"]),
            row["recommended"] or "none",
            *_bundle_cells(row),
        )
        for row in _rows(results)
    ]
    return table(header, lines, text_columns=(0, 3, 6))


def tasks_summary(results: Path) -> str:
    """What the recommended bundle of the 4 x 312 student keeps on each task, and of a larger teacher."""
    rows = [row for row in _rows(results) if row["student"] == "4 x 312"]
    lines = [
        (
            TITLES[row["task"]],
            METRICS[row["metric"]],
            *(f"{row[model]['test']:.3f}" for model in ("baseline", "teacher")),
            *_bundle_cells(row),
        )
        for row in rows
    ]
    lines.append(summary_cells(results))
    header = ("task", "metric", "baseline", "teacher", "student", "kept", "size", "times as fast")
    return table(header, lines, text_columns=(0, 1))


def tasks_agreement(results: Path) -> str:
    """How well the students agree with their teacher on the rows that both learned from, and on test."""
    lines = [
        (
            TITLES[row["task"]],
            row["student"],
            f"{row['num_parameters'] / 1e6:.1f} M",
            " to ".join(f"{steps:,}" for steps in sorted({*row["num_steps"]})),
            *(_interval(row["agreement"][split]) for split in ("train", "test")),
        )
        for row in _rows(results)
    ]
    header = ("task", "student", "parameters", "steps", "agreement, train", "agreement, test")
    return table(header, lines, text_columns=(0, 1))


def tasks_facts(results: Path) -> str:
    """Metrics, rows and machine."""
    document = read_json(results / "tasks" / "tasks.json")
    by_task = {row["task"]: row for row in document["rows"]}
    rows = "; ".join(
        f"{TITLES[task]} {row['num_rows']['train']:,}, {row['num_rows']['dev']:,} and {row['num_rows']['test']:,} "
        f"({METRICS[row['metric']]})"
        for task, row in by_task.items()
    )
    return bullets(
        [
            f"Rows of train, dev and test, and the metric: {rows}.",
            "One teacher per task. The scores of students are means on test over the seeds of task distillation, with "
            "95% t intervals. The interval of a teacher is a 95% bootstrap over test rows. The baseline is TF-IDF with "
            "a linear model.",
            '"Kept" is the share of the teacher\'s score. Its interval is a 95% bootstrap over test rows.',
            '"Speed" is how many times as fast as the teacher in torch the bundle of seed 0 is, one text at a time. '
            f"Measured on {machine_words_of(document)}.",
        ]
    )


def machine_words_of(document: Any) -> str:
    """The machine of the measurement."""
    return machine_words(TypeAdapter(Machine).validate_python(document["machine"]))


def _rows(results: Path) -> list[Any]:
    rows: list[Any] = read_json(results / "tasks" / "tasks.json")["rows"]
    return rows


def _teacher(row: Any) -> str:
    low, high = row["teacher_interval"] or (None, None)
    return mean_text(Mean(value=row["teacher"]["test"], low=low, high=high))


def _bundle_cells(row: Any) -> Iterator[str]:
    """Score, share kept, size and speed of the recommended bundle."""
    name, teacher = row["recommended"], row["teacher"]["test"]
    if name is None:
        yield from ("-",) * 4
        return
    variant = row["variants"][name]
    difference = variant["difference"]
    yield _interval(variant["test"])
    yield kept_cell(teacher, difference["seeds"]["value"], difference["rows_low"], difference["rows_high"])
    yield megabytes(variant["size_bytes"])
    speedup = next((each["speedup"] for each in row["speed"] or () if each["variant"] == name), None)
    yield "-" if speedup is None else f"{speedup['value']:.1f}"


def _interval(mean: Any) -> str:
    return mean_text(Mean(**mean))


REGIONS = {
    "tasks-table": tasks_table,
    "tasks-summary": tasks_summary,
    "tasks-agreement": tasks_agreement,
    "tasks-facts": tasks_facts,
}
