"""The gate of a run: which variants are good enough, which is recommended, and what goes into bundles/."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compress.files import files_in, sha256
from export import gate
from pocketbert.recipe import Recipe


def gate_of(recipe: Recipe) -> gate.Gate:
    """The recipe's limits. A smoke run has none: it shows that all runs, not how good it would be."""
    if recipe.smoke:
        return gate.Gate(student_share=None)
    return gate.Gate(**recipe.gate.model_dump(exclude={"require"}))


def measured(facts: Mapping[str, Any], teacher_metric: float | None, latency_ms: float | None) -> gate.Measured:
    """What the gate looks at, of a variant's facts as `build_candidates` gives them: the worst of its providers."""
    held = [facts["parity"], *facts["other_providers"].values()]
    shifts = [each["company"][name] for each in held for name in ("batch_shift", "padding_shift")]
    return gate.Measured(
        metric=min(each["metric"] for each in held),
        student_metric=facts["parity"]["torch_metric"],
        teacher_metric=teacher_metric,
        batch_shift=float(np.max(shifts)),  # NaN, if one is
        size_bytes=facts["size_bytes"],
        latency_ms=latency_ms,
    )


def with_verdicts(
    recipe: Recipe, exported: Mapping[str, Any], teacher_metric: float, rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The export stage's facts with the gate's reasons among the failures, latencies, and `recommended`."""
    limits, variants, passed = gate_of(recipe), {}, {}
    for name, facts in exported["variants"].items():
        latency_ms = _latency_ms(rows, name)
        found = measured(facts, teacher_metric, latency_ms)
        failures = [*facts["failures"], *gate.failures(limits, found)]
        variants[name] = {**facts, "failures": failures, "latency_ms": latency_ms}
        if not failures:
            passed[name] = found
    return {**exported, "variants": variants, "recommended": gate.recommended(passed)}


def _latency_ms(rows: Sequence[Mapping[str, Any]], variant: str) -> float | None:
    """Median from text to label on the CPU, as the benchmark's row of a variant has it."""
    row = next((row for row in rows if row["name"] == f"student {variant}, onnxruntime"), None)
    return row["texts"]["median_ms"] if row is not None and row["texts"] is not None else None


def ship(recipe: Recipe, judged: Mapping[str, Any], folder: Path) -> list[str]:
    """Put the variants that passed into bundles/, and say which of those that must pass did not."""
    from export.bundle import note_verdict  # loads transformers

    variants = judged["variants"]
    passed = [name for name, facts in variants.items() if not facts["failures"]]
    bundles = folder / "bundles"
    bundles.mkdir(exist_ok=True)
    for stale in bundles.iterdir():
        if stale.is_dir() and stale.name not in passed:
            shutil.rmtree(stale)
    for name in passed:
        target, partial = bundles / name, bundles / f"{name}.partial"
        shutil.copytree(folder / "export" / name, partial)
        latency_ms = variants[name]["latency_ms"]
        timed = {} if latency_ms is None else {"median ms from text to label, batch 1": round(latency_ms, 3)}
        note_verdict(partial, recommended=name == judged["recommended"], measured=timed)
        if target.is_dir() and _digests(partial) == _digests(target):
            shutil.rmtree(partial)
            continue
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    must_pass = recipe.gate.require or ([] if passed or recipe.smoke else list(variants))
    return [f"{name}: {'; '.join(variants[name]['failures'])}" for name in must_pass if name not in passed]


def _digests(folder: Path) -> dict[Path, str]:
    return {path.relative_to(folder): sha256(path) for path in files_in(folder)}
