"""`pocketbert export`: bundles of any fine-tuned Hugging Face folder, without a run; and the parity of what exists."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar, get_args

from rich.console import Console

from bench.measurement import machine
from bench.results.document import read_results
from compress.common.errors import UserError
from compress.common.progress import ProgressBar
from compress.data.columns import Split
from compress.data.metrics import Metric
from compress.data.task_types import task_type, type_for_metric
from compress.data.tasks import read_split
from compress.models import loading, sources
from compress.models.architectures import ARCHITECTURES
from compress.models.compatibility import read_encoder
from export import gate
from export.build_bundles import EvaluationSplits, ExportOptions, Origin, build_bundles, cuda_provider
from export.bundle.bundle_json import read_bundle_info
from export.parity.comparison import default_tolerance
from export.quantisation.calibration import calibration_rows
from export.quantisation.static_int8 import StaticOptions
from export.quantisation.variants import VARIANTS, Variant
from export.results import ExportResult, VariantResult
from pocketbert.stages.gate import gate_inputs

DEFAULT_MAX_LENGTH = 128
WITHOUT_A_CHOICE = ("fp32", "int8-dynamic", "int8-static", "int4-static", "int8-weight", "int4-weight")

Choice = TypeVar("Choice")


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """What the command asks for.

    `data`: a labelled table on which every variant must agree with torch; `calibration`: another one, whose rows the
    ranges of activations are taken from; `text`, `label`, `encoding`: of both. `variants`: by default one of each kind,
    without `calibration` those that need none. `max_length`: by default 128 tokens, or as many as the model takes.
    `student_share`: of torch's metric, to keep.
    """

    data: Path
    calibration: Path | None = None
    text: Sequence[str] = ("text",)
    label: str = "label"
    encoding: str = "utf-8"
    variants: Sequence[str] | None = None
    metric: str | None = None
    max_length: int | None = None
    reduce_range: bool = False
    student_share: float = 0.99


def export_model(model: str, request: ExportRequest, *, output: Path, console: Console) -> ExportResult:
    """Bundles of a fine-tuned classifier under output/VARIANT; the result names the folder of each that passed.

    Nothing that exists is overwritten. Raises UserError.
    """
    variants = _chosen(request.variants, calibrated=request.calibration is not None)
    kind = task_type(sources.task_type_of(model))
    metric = kind.default_metric if request.metric is None else _one_of(get_args(Metric), request.metric, "--metric")
    max_length = _fitting_length(model, request.max_length)
    for variant in variants:
        if (output / variant.name).exists():
            raise UserError(f"{output / variant.name}: is there already; remove it or choose another --output")
    names = sources.label_names_in_config(model)
    scored_as = task_type(type_for_metric(metric))
    if metric not in kind.metrics or not kind.has_outputs(len(names)):
        raise UserError(
            f"{model}: a {kind.name} that has {len(names)} outputs; --metric {metric} expects {scored_as.outputs}, of "
            f"a {scored_as.name}"
        )

    def read(table: Path) -> Split:
        return read_split(
            table,
            text=request.text,
            label=request.label,
            labels=names,
            task_type=kind.name,
            encoding=request.encoding,
        )

    splits = EvaluationSplits(dev=read(request.data))
    if request.calibration is not None:
        rows = read(request.calibration)
        splits = replace(splits, calibration=calibration_rows(rows, task_type=kind.name, seed=0))
    output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=output, prefix=".partial-") as partial, ProgressBar("export", console) as bar:
        work = Path(partial)
        exported = build_bundles(
            loading.load_classifier(model),
            loading.load_tokenizer(model),
            work,
            splits=splits,
            options=ExportOptions(
                task_type=kind.name,
                metric=metric,
                max_length=max_length,
                tolerances={variant: default_tolerance(variant) for variant in variants},
                static=StaticOptions(reduced=request.reduce_range),
                gpu_provider=cuda_provider() if machine.cuda_device() is not None else None,
            ),
            origin=Origin(
                name=Path(model).name,
                origin={"model": model, "data": str(request.data)},
                versions=machine.package_versions(),
                measured={},
                machine=machine.describe(),
            ),
            on_progress=bar.update,
        )
        limits = gate.Gate(student_share=request.student_share)
        judged = {}
        for name, variant_result in exported.variants.items():
            failures = [*variant_result.failures, *gate.gate_failures(limits, gate_inputs(variant_result, None, None))]
            bundle = None
            if not failures:
                (work / name).rename(output / name)
                bundle = str(output / name)
            judged[name] = replace(variant_result, failures=failures, bundle=bundle)
    return replace(exported, variants=judged)


def parity_of(folder: Path) -> ExportResult:
    """What was measured of the variants of a run, or of a bundle. Raises UserError where there is nothing."""
    if (folder / "bundle.json").is_file():
        info = read_bundle_info(folder)
        if info.proof is None:
            raise UserError(f"{folder}: its bundle.json holds no proof; export the model again")
        variant = VariantResult(
            parity=info.proof.parity,
            other_providers=info.proof.other_providers,
            without_vnni=info.proof.without_vnni,
        )
        return ExportResult(
            metric=info.proof.metric,
            task_type=info.task_type,
            variants={info.variant: variant},
            recommended=info.variant if info.recommended else None,
        )
    if not (folder / "results.json").is_file():
        raise UserError(f"{folder}: neither a run (results.json) nor a bundle (bundle.json); give a model --task-data")
    exported = read_results(folder).stages.export
    if exported is None:
        raise UserError(
            f"{folder}: nothing was exported there; name a run folder, a bundle, or a model with --task-data"
        )
    return exported


def _fitting_length(model: str, wanted: int | None) -> int:
    """Tokens that texts are cut to. Raises UserError for a model that can't be fused, or has too few positions."""
    encoder = read_encoder(model)
    fused_whole = [kind for kind, capabilities in ARCHITECTURES.items() if capabilities.fuses_whole]
    if encoder.kind not in fused_whole or encoder.activation != "gelu":
        raise UserError(
            f"{model}: got a {encoder.kind} with {encoder.activation}; expected one of {', '.join(fused_whole)} with "
            "gelu, whose graph can be fused whole"
        )
    length = wanted or min(DEFAULT_MAX_LENGTH, encoder.max_tokens)
    if length > encoder.max_tokens:
        raise UserError(f"--max-length {length}: {model} has positions for {encoder.max_tokens} tokens")
    return length


def _chosen(names: Sequence[str] | None, *, calibrated: bool) -> list[Variant]:
    """The variants by name; by default one of each kind, as far as that can be without rows to calibrate on."""
    wanted = [_one_of(tuple(VARIANTS), name, "--variant") for name in names or WITHOUT_A_CHOICE]
    variants = [VARIANTS[name] for name in dict.fromkeys(wanted)]
    unfit = [variant for variant in variants if variant.is_calibrated and not calibrated]
    if unfit and names:
        raise UserError(
            f"--variant {unfit[0].name}: needs --calibration, a table with other rows than --task-data (of train, say)"
        )
    return [variant for variant in variants if variant not in unfit]


def _one_of(choices: Sequence[Choice], name: str, option: str) -> Choice:
    for choice in choices:
        if choice == name:
            return choice
    raise UserError(f"{option} {name}: expected one of {', '.join(map(str, choices))}")
