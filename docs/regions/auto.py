"""Runs with the recipes of `pocketbert new` and no key edited, and a grid of learning rates, from results/auto/."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regions.cells import bullets, megabytes, read_json, table

TABLES = ("intents", "emotions28", "sst2_1000", "cola", "rte", "stsb")
GRIDS = ("intents", "cola", "emotions28")


def _runs(results: Path) -> list[tuple[str, Any]]:
    paths = [(name, results / "auto" / f"{name}.json") for name in TABLES]
    return [(name, read_json(path)) for name, path in paths if path.is_file()]


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f}"


def _score(values: Sequence[float]) -> str:
    score, *interval = values
    return f"{score:.3f}" + (f" ({interval[0]:.3f}-{interval[1]:.3f})" if interval else "")


def auto_tables(results: Path) -> str:
    """Scores on test with 95 % intervals, the share that the bundle keeps, and the minutes of each run."""
    rows = []
    for name, run in _runs(results):
        scores, retention = run["scores"], run["retention"]
        kept = "-" if retention is None else f"{retention[0]:.1%} ({retention[1]:.1%}-{retention[2]:.1%})"
        rows.append(
            (
                name,
                run["metric"],
                *(_score(scores[model]) if model in scores else "-" for model in ("baseline", "teacher", "student")),
                "none" if run["variant"] is None else f"{run['variant']}, {_score(scores['bundle'])}",
                kept,
                f"{run['estimated_minutes']:.0f}, at most {run['maximum_minutes']:.0f}",
                _minutes(sum(run["taken_s"].values())),
            )
        )
    header = ("table", "metric", "baseline", "teacher", "student", "recommended", "kept", "min estimated", "min taken")
    return table(header, rows, text_columns=(0, 1))


def auto_stages(results: Path) -> str:
    """The seconds of each stage, the chosen values, and the size of the bundle."""
    rows = []
    for name, run in _runs(results):
        chosen = run["choices"]
        rows.append(
            (
                name,
                f"{run['rows']['train']:,}",
                chosen.get("teacher.fine_tune.learning_rate", "-"),
                chosen.get("teacher.fine_tune.epochs", "-"),
                *(
                    f"{run['taken_s'].get(stage, 0):.0f}"
                    for stage in ("search", "intermediate", "prediction", "export")
                ),
                f"{run['taken_s']['bench']:.0f}",
                "-" if run["size_bytes"] is None else megabytes(run["size_bytes"]),
            )
        )
    header = (
        "table", "train rows", "rate", "epochs", "search, s", "intermediate, s", "prediction, s", "export, s",
        "bench, s", "bundle",
    )  # fmt: skip
    return table(header, rows)


def auto_grid(results: Path) -> str:
    """The teacher of the search next to the best of a grid, on the first 3,000 train rows."""
    grid = read_json(results / "auto" / "grid.json")
    sentences = []
    for name in GRIDS:
        points = grid["points"].get(name)
        if not points:
            continue
        best = max(points, key=lambda point: point["dev"])
        text = (
            f"{name}: the best of {len(points)} points has {best['dev']:.3f} on dev and {best['test']:.3f} on test, "
            f"with rate {best['learning_rate']:g} and {best['epochs']} epochs"
        )
        searched = grid["searched"].get(name)
        if searched is not None:
            text += (
                f". The search chose rate {searched['learning_rate']:g}: {searched['dev']:.3f} on dev and "
                f"{searched['test']:.3f} on test"
            )
        sentences.append(f"{text}.")
    return bullets(sentences)


REGIONS = {"auto-tables": auto_tables, "auto-stages": auto_stages, "auto-grid": auto_grid}
