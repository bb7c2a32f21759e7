"""The gate: select the variants that are good enough, recommend one, and ship them to bundles/."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bench.results.benchmark import BenchmarkRow, BenchResult
from compress.common.files import digests_of, sha256
from compress.common.owned_files import OwnedFolder, is_regular, regular_files
from compress.results import BaselineResult, TeacherResult
from compress.tables.splits import files_of_splits
from export import gate
from export.bundle.listed_files import BUNDLE_FILE
from export.results import ExportResult, VariantResult
from pocketbert.recipe.sections import Recipe
from pocketbert.stage_parts.context import StageContext
from pocketbert.store.working_folder import discard

BUNDLES = "bundles"
WORK = ".partial/gate"  # where a bundle is copied before it replaces another


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


def apply_gate(context: StageContext, owned: OwnedFolder) -> GateResult:
    """Judge every variant. The run folder's `bundles` then holds those of our bundles that passed, and no others."""
    recipe = context.recipe
    judged = judge(
        recipe,
        context.result("export", ExportResult),
        context.result("teacher", TeacherResult).scores.dev,
        context.result("bench", BenchResult).rows,
        baseline_score=context.result("baseline", BaselineResult).scores.dev,
    )
    passed = judged.passed
    _ship(judged, passed, owned, context.records["export"].files, _digests(context))
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


def _digests(context: StageContext) -> dict[str, str]:
    """The digests of the run's recipe and of its local tables.

    Not in the export stage, whose result other recipes and other tables with the same rows share.
    """
    section = context.recipe.task
    location = Path(section.data).expanduser()
    is_local = section.subset is None and location.exists()
    tables = files_of_splits(location, {str(split): name for split, name in section.splits.items()}) if is_local else {}
    return {"recipe": sha256(context.folder / "recipe.yaml"), **digests_of(tables)}


def _ship(
    judged: ExportResult,
    passed: Sequence[str],
    owned: OwnedFolder,
    candidates: Mapping[str, str],
    digests: Mapping[str, str],
) -> None:
    """Copy the bundles that passed, and record the verdict in them. Remove our bundles that no longer pass.

    `candidates`: the files of the export stage. Others in its folder are not copied. `digests`: of what the run was
    made from.
    """
    from export.bundle.folder import record_verdict  # loads transformers

    discard(owned, WORK)
    owned.make_folders(f"{BUNDLES}/fp32")
    listed = {name.split("/")[1] for name in owned.files if name.startswith(f"{BUNDLES}/")}
    unlisted = {name for name in judged.variants if (owned.folder / BUNDLES / name / BUNDLE_FILE).exists()}
    for name in sorted((listed | unlisted) - set(passed)):
        owned.make_way(f"{BUNDLES}/{name}")
        owned.forget(f"{BUNDLES}/{name}")
    for name in passed:
        target, partial = owned.folder / BUNDLES / name, owned.folder / WORK / "output"
        for file in candidates:
            if file.startswith(f"{name}/"):
                copy = partial / file.removeprefix(f"{name}/")
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(owned.folder / "export" / file, copy)
        latency_ms = judged.variants[name].latency_ms
        timed = {} if latency_ms is None else {"median ms from text to label, batch 1": round(latency_ms, 3)}
        record_verdict(partial, recommended=name == judged.recommended, measured=timed, digests=digests)
        hashes = {path.relative_to(partial).as_posix(): sha256(path) for path in regular_files(partial)}
        has_others = any(
            listed.startswith(f"{BUNDLES}/{name}/") and listed.removeprefix(f"{BUNDLES}/{name}/") not in hashes
            for listed in owned.files
        )
        if has_others or not all(
            is_regular(target / file) and sha256(target / file) == digest for file, digest in hashes.items()
        ):
            owned.make_way(f"{BUNDLES}/{name}")
            partial.rename(target)
        owned.forget(f"{BUNDLES}/{name}")
        owned.files |= {f"{BUNDLES}/{name}/{file}": digest for file, digest in hashes.items()}
        owned.save()
        discard(owned, WORK)
