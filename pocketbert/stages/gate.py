"""The gate: select the variants that are good enough, recommend one, and ship them to bundles/."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bench.results.benchmark import BenchmarkRow, BenchResult
from compress.common.files import files_in, sha256
from compress.results import BaselineResult, TeacherResult
from export import gate
from export.results import ExportResult, VariantResult
from pocketbert.recipe.sections import Recipe
from pocketbert.stage_parts.context import StageContext
from pocketbert.store.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """The decisions of the gate.

    `export`: the result of the export stage, with latencies, the failures of the gate, and the recommended variant.
    `not_shipped`: the variants that failed, each with the reasons: the required ones, or all if none is recommended.
    `not_recommended`: if none is recommended, the shipped variants with the reasons.
    """

    export: ExportResult
    not_shipped: list[str]
    not_recommended: list[str] = field(default_factory=list)


def apply_gate(context: StageContext, workspace: Workspace) -> GateResult:
    """Judge every variant. The workspace's output then holds the bundles that passed, and no others."""
    recipe = context.recipe
    judged = judge(
        recipe,
        context.result("export", ExportResult),
        context.result("teacher", TeacherResult).scores.dev,
        context.result("bench", BenchResult).rows,
        baseline_score=context.result("baseline", BaselineResult).scores.dev,
    )
    passed = [name for name, variant in judged.variants.items() if not variant.failures]
    _ship(judged, passed, context.folder / "export", workspace.output)
    lists_all = judged.recommended is None and not recipe.smoke
    must_pass = list(judged.variants) if lists_all else recipe.gate.require
    failed = [name for name in must_pass if name not in passed]
    return GateResult(
        export=judged,
        not_shipped=[f"{name}: {'; '.join(judged.variants[name].failures)}" for name in failed],
        not_recommended=[f"{name}: {judged.variants[name].not_recommended}" for name in passed if lists_all],
    )


def judge(
    recipe: Recipe,
    exported: ExportResult,
    teacher_score: float,
    rows: Sequence[BenchmarkRow],
    *,
    baseline_score: float | None = None,
) -> ExportResult:
    """The export result with the verdict on each variant. A smoke run has no limits."""
    if recipe.smoke:
        limits, baseline_score = gate.Gate(student_share=None, teacher_share=None, teacher_over_baseline=False), None
    else:
        limits = gate.Gate(**recipe.gate.model_dump(exclude={"require"}))
    variants, passed = {}, {}
    for name, variant in exported.variants.items():
        latency_ms = _latency_ms(rows, name)
        inputs = replace(gate_inputs(variant, teacher_score, latency_ms), baseline_score=baseline_score)
        failures = [*variant.failures, *gate.gate_failures(limits, inputs)]
        obstacle = gate.why_below_baseline(inputs) or ("not timed" if latency_ms is None else None)
        not_recommended = None if failures else obstacle
        variants[name] = replace(variant, failures=failures, latency_ms=latency_ms, not_recommended=not_recommended)
        if not failures:
            passed[name] = inputs
    return replace(exported, variants=variants, recommended=gate.recommend(passed))


def gate_inputs(variant: VariantResult, teacher_score: float | None, latency_ms: float | None) -> gate.GateInputs:
    """The figures of a variant that the gate judges: the worst of its execution providers."""
    parities = [variant.parity, *variant.other_providers.values()]
    shifts = [(each.batch_invariance.batch_shift, each.batch_invariance.padding_shift) for each in parities]
    assert variant.size_bytes is not None
    return gate.GateInputs(
        score=min(each.score for each in parities),
        student_score=variant.parity.torch_score,
        teacher_score=teacher_score,
        batch_shift=float(np.max(shifts)),  # NaN if any is NaN
        size_bytes=variant.size_bytes,
        latency_ms=latency_ms,
    )


def _latency_ms(rows: Sequence[BenchmarkRow], variant: str) -> float | None:
    """Median latency from text to label on the CPU; None if the variant was not timed."""
    on_cpu = [
        row
        for row in rows
        if (row.role, row.variant, row.engine, row.device) == ("student", variant, "onnxruntime", "cpu")
    ]
    return next((row.latency.median_ms for row in on_cpu if row.latency is not None), None)


def _ship(judged: ExportResult, passed: Sequence[str], candidates: Path, bundles: Path) -> None:
    """Copy the bundles that passed, and record the verdict in them. Remove bundles that no longer pass."""
    from export.bundle.folder import record_verdict  # loads transformers

    bundles.mkdir(exist_ok=True)
    for stale in bundles.iterdir():
        if stale.is_dir() and stale.name not in passed:
            shutil.rmtree(stale)
    for name in passed:
        target, partial = bundles / name, bundles / f"{name}.partial"
        shutil.copytree(candidates / name, partial)
        latency_ms = judged.variants[name].latency_ms
        timed = {} if latency_ms is None else {"median ms from text to label, batch 1": round(latency_ms, 3)}
        record_verdict(partial, recommended=name == judged.recommended, measured=timed)
        if target.is_dir() and _digests(partial) == _digests(target):
            shutil.rmtree(partial)
            continue
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)


def _digests(folder: Path) -> dict[Path, str]:
    return {path.relative_to(folder): sha256(path) for path in files_in(folder)}
