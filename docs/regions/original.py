"""PocketBERT beside the original scripts, from results/original/original.json."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pocketbert.ablation.document import mean_text
from pocketbert.ablation.paired_seeds import mean_of
from regions.cells import bullets, read_json, table

NAMES = {"original": "original scripts", "pocketbert": "PocketBERT"}
STEPS = ("intermediate", "prediction")
Rows = Sequence[dict[str, Any]]  # of one kind, by seed


def original_table(results: Path) -> str:
    """Scores and seconds of both systems, and of their variants."""
    lines = []
    for (system, start, variant), rows in _kinds(_document(results)).items():
        lines.append(
            (
                ", ".join(filter(None, (NAMES[system], variant))),
                start,
                f"{len(rows)}",
                *(mean_text(mean_of([row["scores"][split] for row in rows])) for split in ("dev", "test")),
                *(f"{_seconds(rows, step, 'training_s'):.0f}" for step in STEPS),
                *(f"{_seconds(rows, step, 'stage_s'):.0f}" for step in STEPS),
            )
        )
    header = (
        "system", "first weights", "seeds", "accuracy, dev", "accuracy, test", "step 1, training, s",
        "step 2, training, s", "step 1, whole, s", "step 2, whole, s",
    )  # fmt: skip
    return table(header, lines, text_columns=(0, 1))


def original_facts(results: Path) -> str:
    """Differences paired by seed, ratios of the times, and the conditions."""
    document = _document(results)
    kinds = _kinds(document)
    lines = []
    for start in dict.fromkeys(start for _, start, variant in kinds if not variant):
        ours, theirs = kinds["pocketbert", start, ""], kinds["original", start, ""]
        gains = {
            split: mean_of(
                [own["scores"][split] - other["scores"][split] for own, other in zip(ours, theirs, strict=True)]
            )
            for split in ("dev", "test")
        }
        words = " and ".join(
            f"{gain.value:+.3f} on {split} (95% t interval over seeds: {gain.low:+.3f} to {gain.high:+.3f})"
            for split, gain in gains.items()
        )
        lines.append(f"From {start} first weights, PocketBERT minus the original scripts: {words}.")
    for step in STEPS:
        ratios = [
            other["stages"][step]["training_s"] / own["stages"][step]["training_s"]
            for start in ("random", "projected")
            for own, other in zip(kinds["pocketbert", start, ""], kinds["original", start, ""], strict=True)
        ]
        lines.append(
            f"Training time of the original scripts over PocketBERT's, {step} step: {min(ratios):.1f} to "
            f"{max(ratios):.1f}, in {len(ratios)} pairs."
        )
    shape = document["shape"]
    lines.append(
        f"{document['num_rows']:,} train rows of at most {document['max_length']} tokens, {document['steps']} steps of "
        f"32 rows for each of the two steps; student {shape['layers']} x {shape['width']}; "
        f"{document['num_threads']} threads of {document['machine']['cpu']}."
    )
    largest = max(check["largest_logit_difference"] for name, check in document["checks"].items() if name != "relu")
    lines.append(
        f"Before training, the scripts and transformers give the same logits for the same weights: the largest "
        f"difference on {document['checks']['teacher']['num_rows']} dev rows is {largest:.0e}."
    )
    return bullets(lines)


def _document(results: Path) -> Any:
    return read_json(results / "original" / "original.json")


def _kinds(document: Any) -> dict[tuple[str, str, str], Rows]:
    """The rows of each system, start and variant, those without a variant first."""
    kinds: dict[tuple[str, str, str], list[dict[str, Any]]] = {}

    def order(row: dict[str, Any]) -> tuple[Any, ...]:
        return (row["variant"], row["start"] != "random", row["system"], row["seed"])

    for row in sorted(document["rows"], key=order):
        kinds.setdefault((row["system"], row["start"], row["variant"]), []).append(row)
    return kinds


def _seconds(rows: Rows, step: str, key: str) -> float:
    return sum(row["stages"][step][key] for row in rows) / len(rows)


REGIONS = {"original-table": original_table, "original-facts": original_facts}
