"""Students of a teacher with 110 million parameters, from the JSON files in results/mpnet/."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from bench.results.measurements import Machine, Ratio
from regions.cells import (
    bold,
    bullets,
    difference_cell,
    kept_cell,
    listed,
    machine_words,
    megabytes,
    minutes,
    ratio,
    read_json,
    table,
)
from regions.distillation import curve_table

RATIO = TypeAdapter(Ratio)


def mpnet_table(results: Path) -> str:
    """Accuracy on dev and test, the paired differences from the teacher, size and speed of each bundle."""
    document = _read(results)
    teacher, first = document["teacher"], next(iter(document["students"].values()))["teacher"]
    header = (
        "model", "dev", "test", "difference on dev", "difference on test", "kept on test", "size", "times as small",
        "times as fast",
    )  # fmt: skip
    scores = [f"{teacher[split]:.3f}" for split in ("dev", "test")]
    rows = [["teacher, torch fp32", *scores, "", "", "", megabytes(first["size_bytes"]), "1.0", "1.0"]]
    for name, student in document["students"].items():
        for variant, bundle in student["variants"].items():
            cells = bold if variant == student["recommended"] else list
            rows.append(
                cells(
                    [
                        f"{name} {variant}",
                        *(f"{bundle[split]['accuracy']:.3f}" for split in ("dev", "test")),
                        *(difference_cell(bundle[split]["difference"]) for split in ("dev", "test")),
                        _kept(bundle["test"], teacher["test"]),
                        megabytes(bundle["size_bytes"]),
                        f"{student['teacher']['size_bytes'] / bundle['size_bytes']:.1f}",
                        ratio(RATIO.validate_python(bundle["speedup"])),
                    ]
                )
            )
    return table(header, rows)


def summary_cells(results: Path) -> list[str]:
    """The recommended bundle of the first student, as a row of the table of tasks; without one, the smallest."""
    document = _read(results)
    student = next(iter(document["students"].values()))
    smallest = min(student["variants"], key=lambda variant: student["variants"][variant]["size_bytes"])
    name = student["recommended"] or smallest
    bundle, teacher = student["variants"][name], student["teacher"]
    refused = ", refused by the gate" if student["failures"][name] else ""
    return [
        f"SST-2, teacher of {megabytes(teacher['size_bytes'])}",
        "accuracy",
        *(f"{document[model]['test']:.3f}" for model in ("baseline", "teacher")),
        f"{bundle['test']['accuracy']:.3f}{refused}",
        _kept(bundle["test"], document["teacher"]["test"]),
        megabytes(bundle["size_bytes"]),
        f"{bundle['speedup']['value']:.1f}",
    ]


def mpnet_facts(results: Path) -> str:
    """Rows, steps, times and machine."""
    document = _read(results)
    num_rows = document["num_rows"]
    return bullets(
        [
            f"{num_rows['train']:,} train, {num_rows['dev']:,} dev and {num_rows['test']:,} test rows. One seed.",
            f"Teacher: {document['teacher']['num_steps']:,} steps in {minutes(document['teacher']['seconds'])}.",
            *_training(document["students"]),
            *_agreement(document["students"]),
            '"Difference": the accuracy minus the teacher\'s, with a paired 95% bootstrap over rows. "Kept": the '
            "share of the teacher's accuracy, with the same interval.",
            "Speed: one text at a time, from text to label, next to the teacher in torch. Measured on "
            f"{machine_words(TypeAdapter(Machine).validate_python(document['machine']))}.",
        ]
    )


def mpnet_tried(results: Path) -> str:
    """Students of several runs, with more and more steps."""
    document = _read(results)
    rows = [
        (
            f"{run['max_rows'] or document['num_rows']['train']:,}",
            f"{run['attention']:g}",
            *(f"{run['num_steps'][stage]:,}" for stage in ("general", "intermediate", "prediction")),
            *(f"{run['learning_rates'][stage]:g}" for stage in ("intermediate", "prediction")),
            *(f"{run['scores'][split]:.3f}" for split in ("dev", "test")),
        )
        for run in document["tried"]
    ]
    header = (
        "train rows", "weight of attention", "steps: general", "intermediate", "prediction", "rate: intermediate",
        "prediction", "dev", "test",
    )  # fmt: skip
    return table(header, rows, text_columns=())


def mpnet_weights(results: Path) -> str:
    """Intermediate distillation with several weights of the attention loss."""
    rows = [
        (
            f"{run['weights']['attention']:g}",
            f"{run['learning_rate']:g}",
            f"{run['num_steps']:,}",
            *(f"{run['losses'][step][part]:.3g}" for part in ("hidden", "attention") for step in ("first", "last")),
            f"{run['dev']:.3f}",
        )
        for run in _read(results)["weighted"]
    ]
    header = (
        "weight of attention", "learning rate", "steps", "hidden loss, first step", "last step",
        "attention loss, first step", "last step", "dev",
    )  # fmt: skip
    return table(header, rows, text_columns=())


def mpnet_curves(results: Path) -> str:
    """The loss from projected and from random weights, step by step."""
    return curve_table(results / "mpnet" / "curves.json")


def _training(students: Mapping[str, Any]) -> Iterator[str]:
    """Steps and minutes of each stage."""
    for name, student in students.items():
        stages = [
            f"{num_steps:,} steps of {stage} distillation in {minutes(student['seconds'][stage])}"
            for stage, num_steps in student["num_steps"].items()
        ]
        yield f"{name}: {listed(stages)}."


def _agreement(students: Mapping[str, Any]) -> Iterator[str]:
    """How often each student gives the teacher's label."""
    for name, student in students.items():
        shares = student["agreement"]
        yield (
            f"{name}, fp32, gives the teacher's label for {shares['train']:.1%} of the train rows and "
            f"{shares['test']:.1%} of the test rows."
        )


def _read(results: Path) -> Any:
    return read_json(results / "mpnet" / "mpnet.json")


def _kept(score: Any, teacher: float) -> str:
    difference = score["difference"]
    return kept_cell(teacher, difference["value"], difference["low"], difference["high"])


REGIONS = {
    "mpnet-table": mpnet_table,
    "mpnet-facts": mpnet_facts,
    "mpnet-tried": mpnet_tried,
    "mpnet-weights": mpnet_weights,
    "mpnet-curves": mpnet_curves,
}
