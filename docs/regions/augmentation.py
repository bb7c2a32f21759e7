"""Data augmentation: its speed and its effect on the student, from results/augmentation/."""

from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from pydantic import TypeAdapter
from scipy import stats

from bench.augmentation_speed.ladder import AugmentationLadder
from regions.cells import megabytes, ratio, read_json, table

NAMES = {
    "one word at a time, unpadded, all logits": "(a) one word at a time, unpadded, all logits",
    "as first written": "(b) as first written",
    "PocketBERT, fp32": "PocketBERT, fp32 (the default)",
    "PocketBERT, bf16 where there is": "PocketBERT, bf16",
}
TASKS = {"sst2": ("SST-2, accuracy", "test"), "cola": ("CoLA, Matthews", "test"), "rte": ("RTE, accuracy", "dev")}
SEEDS = (0, 1, 2)


def _ladder(results: Path) -> AugmentationLadder:
    content = read_json(results / "augmentation" / "augmentation.json")
    ladder: AugmentationLadder = TypeAdapter(AugmentationLadder).validate_python(content)
    return ladder


def _effect(results: Path) -> Any:
    return read_json(results / "augmentation" / "effect.json")


def augmentation_speed(results: Path) -> str:
    """Milliseconds per word and per augmented text, and the speedups over both references."""
    rows = [
        (
            NAMES[row.name],
            f"{row.ms_per_word:.2f}",
            f"{row.ms_per_variant:.2f}",
            ratio(row.over_plain.per_word),
            ratio(row.over_plain.per_variant),
            ratio(row.over_first_written.per_word),
            ratio(row.over_first_written.per_variant),
            "-" if row.comparison is None else f"{row.comparison.num_different} of {row.comparison.num_words:,}",
        )
        for row in _ladder(results).rows
    ]
    header = (
        "", "ms per word", "ms per text", "over (a), per word", "over (a), per text", "over (b), per word",
        "over (b), per text", "words with other candidates than (a)",
    )  # fmt: skip
    return table(header, rows)


def augmentation_memory(results: Path) -> str:
    """Peak memory by the number of texts."""
    rows = [
        (f"{line.num_texts:,}", f"{line.num_rows:,}", megabytes(line.before_bytes), megabytes(line.peak_rss_bytes))
        for line in _ladder(results).memory
    ]
    return table(("texts", "rows written", "memory before", "peak memory"), rows)


def augmentation_effect(results: Path) -> str:
    """The student's score with and without augmentation, by task, stage and seed."""
    effect = _effect(results)
    rows = []
    for (task, (title, split)), stage in product(TASKS.items(), ("intermediate", "prediction")):
        without, augmented = (
            [effect[f"{task}-{kind}-{seed}"][stage][split] for seed in SEEDS] for kind in ("plain", "aug")
        )
        rows.append(
            (
                title,
                f"{split}, after {stage}",
                " ".join(f"{score:.3f}" for score in without),
                " ".join(f"{score:.3f}" for score in augmented),
                _paired_difference(without, augmented),
            )
        )
    return table(("task", "rows and stage", "without", "with", "difference"), rows, text_columns=(0, 1))


def _paired_difference(before: list[float], after: list[float]) -> str:
    """The mean difference of paired scores with its 95% t interval."""
    differences = [b - a for a, b in zip(before, after, strict=True)]
    half = stats.t.ppf(0.975, len(differences) - 1) * stdev(differences) / len(differences) ** 0.5
    centre = mean(differences)
    return f"{centre:+.3f} ({centre - half:.3f} to {centre + half:.3f})"


def augmentation_flips(results: Path) -> str:
    """How often the teacher's label changes, by task."""
    effect = _effect(results)
    rows = []
    for task, (title, _) in TASKS.items():
        shares = [effect[f"{task}-aug-{seed}"]["drift"]["flips"] for seed in SEEDS]
        rows.append((title.partition(",")[0], *(f"{share:.1%}" for share in shares)))
    return table(("task", *(f"seed {seed}" for seed in SEEDS)), rows)


REGIONS = {
    "augmentation-speed": augmentation_speed,
    "augmentation-memory": augmentation_memory,
    "augmentation-effect": augmentation_effect,
    "augmentation-flips": augmentation_flips,
}
