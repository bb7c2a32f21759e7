"""Exporting, of a run's student and of any fine-tuned Hugging Face folder: candidate bundles, each proved."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import numpy as np
from rich.console import Console
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bench import machine
from bench.report import read_results
from compress import locations, models
from compress.architectures import WITH_CARRIED_WEIGHTS
from compress.cells import Split
from compress.errors import UserError
from compress.metrics import Metric, is_regression
from compress.progress import ProgressBar
from compress.tasks import REGRESSION_OUTPUT, read_split
from export import gate
from export.calibration import calibration_rows
from export.candidates import Origin, Rows, build_candidates, cuda_provider
from export.fuse import FusionError
from export.manifest import read_manifest
from export.parity import Tolerance, default_tolerance
from export.static import Static
from export.variants import VARIANTS, Variant
from pocketbert.preflight import read_encoder
from pocketbert.runs import Workspace
from pocketbert.shipping import measured
from pocketbert.stages import Stages

DEFAULT_MAX_LENGTH = 128
TEACHER_ROWS = 256  # on which the teacher's own bundles are looked at
WITHOUT_A_CHOICE = ("fp32", "int8-dynamic", "int8-static", "int4-static", "int8-weight", "int4-weight")


def export_student(stages: Stages, workspace: Workspace, teacher_scores: Mapping[str, float]) -> dict[str, Any]:
    """The export stage: every variant as a candidate bundle, held against the torch student; the teacher's too."""
    recipe, task, section = stages.recipe, stages.task, stages.recipe.export
    student = str(stages.folder / "prediction" / "model")
    shape = "{layers} layers x {width}, feed-forward {ffn_width}, {heads} heads".format(**vars(stages.shape))
    calibration = calibration_rows(task.train, seed=recipe.seed, count=section.calibration_rows)
    found = _candidates(
        models.load_classifier(student),
        models.load_tokenizer(student),
        workspace.output,
        rows=Rows(dev=task.dev, test=task.test, calibration=calibration),
        max_length=task.max_length,
        metric=recipe.task.metric,
        tolerances={VARIANTS[name]: _tolerance(stages, VARIANTS[name]) for name in section.variants},
        static=Static(share=section.range_share, reduced=section.reduce_range),
        name=recipe.name,
        origin={
            "recipe": recipe.name,
            "task": f"{recipe.task.data} (sha256 {task.fingerprint()[:12]})",
            "teacher": recipe.teacher.model or f"fine-tuned from {recipe.teacher.base}",
            "student": shape,
        },
        also_measured={f"teacher's test {recipe.task.metric}": teacher_scores["test"]},
        console=stages.console,
    )
    return {**found, **_export_teacher(stages, workspace.output / "teacher", calibration)}


def _export_teacher(stages: Stages, folder: Path, calibration: Split) -> dict[str, Any]:
    """The teacher's bundles, for the benchmark alone: their names, and why there are none where there are none."""
    recipe, task, wanted = stages.recipe, stages.task, stages.recipe.export.teacher_variants
    if not wanted:
        return {"teacher_variants": []}
    teacher = str(stages.folder / "teacher" / "model")
    folder.mkdir()
    try:
        _candidates(
            models.load_classifier(teacher),
            models.load_tokenizer(teacher),
            folder,
            rows=Rows(dev=task.dev.take(np.arange(min(TEACHER_ROWS, len(task.dev)))), calibration=calibration),
            max_length=task.max_length,
            metric=recipe.task.metric,
            tolerances={VARIANTS[name]: default_tolerance(VARIANTS[name]) for name in wanted},
            static=Static(share=recipe.export.range_share, reduced=recipe.export.reduce_range),
            name=f"{recipe.name}'s teacher",
            origin={"model": recipe.teacher.model or f"fine-tuned from {recipe.teacher.base}"},
            also_measured={},
            console=stages.console,
        )
    except (FusionError, UserError) as error:  # an architecture that can be a teacher need not be one that we export
        shutil.rmtree(folder)
        return {"teacher_variants": [], "teacher_not_exported": str(error)}
    return {"teacher_variants": list(wanted)}


def export_model(
    model: str,
    *,
    variants: Sequence[str] | None,
    data: Path,
    calibration: Path | None,
    text: list[str],
    label: str,
    metric: str,
    max_length: int | None,
    reduce_range: bool,
    student_share: float,
    output: Path,
    console: Console,
) -> dict[str, Any]:
    """Bundles of a fine-tuned BERT under output/VARIANT; returns parity by variant, and the folder of each that passed.

    `variants`: by default one of each kind, without `calibration` those that need none. `max_length`: by default 128
    tokens, or as many as the model takes. `data`: a labelled table on which every variant must agree with torch;
    `calibration`: another one, whose rows the ranges of activations are taken from. `student_share`: of torch's metric,
    to keep. Nothing that exists is overwritten.
    """
    chosen = _chosen(variants, calibrated=calibration is not None)
    scored_by: Metric = _one_of(get_args(Metric), metric, "--metric")
    max_length = _fitting_length(model, max_length)
    for variant in chosen:
        if (output / variant.name).exists():
            raise UserError(f"{output / variant.name}: is there already; remove it or choose another --output")
    names = locations.label_names(model)
    if is_regression(scored_by) != (len(names) == 1):
        wanted = "one output" if is_regression(scored_by) else "two or more"
        raise UserError(f"{model}: has {len(names)} outputs; --metric {metric} expects {wanted}")
    labels = (REGRESSION_OUTPUT,) if len(names) == 1 else names
    split = read_split(data, text=text, label=label, labels=labels)
    others = None if calibration is None else read_split(calibration, text=text, label=label, labels=labels)
    output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=output, prefix=".partial-") as partial:
        work = Path(partial)
        found = _candidates(
            models.load_classifier(model),
            models.load_tokenizer(model),
            work,
            rows=Rows(dev=split, calibration=None if others is None else calibration_rows(others, seed=0)),
            max_length=max_length,
            metric=scored_by,
            tolerances={variant: default_tolerance(variant) for variant in chosen},
            static=Static(reduced=reduce_range),
            name=Path(model).name,
            origin={"model": model, "data": str(data)},
            also_measured={},
            console=console,
        )
        for name, facts in found["variants"].items():
            facts["failures"] += gate.failures(gate.Gate(student_share=student_share), measured(facts, None, None))
            facts["bundle"] = None
            if not facts["failures"]:
                (work / name).rename(output / name)
                facts["bundle"] = str(output / name)
    return {"metric": metric, **found}


def ledger_of(folder: Path) -> dict[str, Any]:
    """The parity ledger of a run or a bundle, as `export_model` returns it. Raises UserError where there is none."""
    if (folder / "bundle.json").is_file():
        manifest = read_manifest(folder)
        if "proof" not in manifest:
            raise UserError(f"{folder}: its bundle.json holds no proof; export the model again")
        proof, name = manifest["proof"], manifest["variant"]
        return {
            "metric": proof["metric"],
            "hops": {},
            "variants": {name: {**proof, "failures": []}},
            "recommended": name if manifest.get("recommended") else None,
        }
    if not (folder / "results.json").is_file():
        raise UserError(f"{folder}: neither a run (results.json) nor a bundle (bundle.json); give a model --task-data")
    results = read_results(folder)
    if "hops" not in results["stages"].get("export", {}):
        raise UserError(
            f"{folder}: nothing was exported there; name a run folder, a bundle, or a model with --task-data"
        )
    return {"metric": results["metric"], **results["stages"]["export"]}


def _candidates(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    *,
    name: str,
    origin: Mapping[str, str],
    also_measured: Mapping[str, Any],
    console: Console,
    **how: Any,
) -> dict[str, Any]:
    """`build_candidates` with what this machine is and has, and progress on the console."""
    with ProgressBar("export", console) as bar:
        return build_candidates(
            model,
            tokenizer,
            folder,
            origin=Origin(
                name=name,
                origin=origin,
                versions=machine.package_versions(),
                measured=also_measured,
                machine=machine.describe(),
            ),
            on_progress=bar.update,
            gpu_provider=cuda_provider() if machine.cuda_device() is not None else None,
            **how,
        )


def _tolerance(stages: Stages, variant: Variant) -> Tolerance:
    wanted = stages.recipe.export.tolerance.get(variant.name)
    return replace(default_tolerance(variant), **(wanted.model_dump(exclude_none=True) if wanted else {}))


def _fitting_length(model: str, wanted: int | None) -> int:
    """Tokens that texts are cut to. Raises UserError for a model that can't be fused, or has too few positions."""
    encoder = read_encoder(model)
    if encoder.kind not in WITH_CARRIED_WEIGHTS or encoder.activation != "gelu":
        raise UserError(
            f"{model}: got a {encoder.kind} with {encoder.activation}; expected one of "
            f"{', '.join(WITH_CARRIED_WEIGHTS)} with gelu, whose graph can be fused whole"
        )
    found = wanted or min(DEFAULT_MAX_LENGTH, encoder.max_tokens)
    if found > encoder.max_tokens:
        raise UserError(f"--max-length {found}: {model} has positions for {encoder.max_tokens} tokens")
    return found


def _chosen(names: Sequence[str] | None, *, calibrated: bool) -> list[Variant]:
    """The variants by name; by default one of each kind, as far as that can be without rows to calibrate on."""
    wanted = [_one_of(tuple(VARIANTS), name, "--variant") for name in names or WITHOUT_A_CHOICE]
    found = [VARIANTS[name] for name in dict.fromkeys(wanted)]
    unfit = [variant for variant in found if variant.is_calibrated and not calibrated]
    if unfit and names:
        raise UserError(
            f"--variant {unfit[0].name}: needs --calibration, a table with other rows than --task-data (of train, say)"
        )
    return [variant for variant in found if variant not in unfit]


def _one_of(choices: Sequence[Any], name: str, option: str) -> Any:
    if name not in choices:
        raise UserError(f"{option} {name}: expected one of {', '.join(choices)}")
    return name
