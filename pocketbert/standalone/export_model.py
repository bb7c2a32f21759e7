"""`pocketbert export`: bundles of any fine-tuned Hugging Face model, without a run."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar, get_args

from rich.console import Console

from bench.measurement import machine
from compress.common.errors import UserError
from compress.common.escaping import one_line
from compress.common.files import digests_of, disk_errors
from compress.common.owned_files import open_output, require_writable
from compress.common.progress import ProgressBar
from compress.data.columns import Split
from compress.data.label_matching import has_default_names
from compress.data.metrics import Metric, positive_class
from compress.data.task_types import task_type, type_for_metric
from compress.data.tasks import read_split
from compress.models import loading, sources
from compress.models.architectures import ARCHITECTURES
from compress.models.compatibility import Activation, activation_problems, read_encoder
from export import gate
from export.build_bundles import EvaluationSplits, ExportOptions, Origin, build_bundles, cuda_provider
from export.parity.comparison import default_tolerance
from export.quantisation.calibration import calibration_rows
from export.quantisation.static_int8 import Attention, StaticOptions
from export.quantisation.variants import VARIANTS, Variant
from export.results import ExportResult
from pocketbert.data.table_labels import print_remarks, print_warning, require_table_labels
from pocketbert.recipe.preflight import check_named_models
from pocketbert.stages.gate import gate_inputs
from pocketbert.standalone.explain_export import EXPORT_FILE, read_export_file, write_export_file

DEFAULT_MAX_LENGTH = 128
DEFAULT_VARIANTS_OF_EXPORT = ("fp32", "int8-dynamic", "int8-static", "int4-static", "int8-weight", "int4-weight")

Choice = TypeVar("Choice")


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """The options of the command.

    `data`: a labelled table for the comparison with torch. `calibration`: a second table for the activation ranges of
    static variants. `text`, `label`, `encoding`: of both tables. `labels`: the tables' label for each output of the
    model; by default its names. They name the outputs of a model with default names. `variants`: by default
    DEFAULT_VARIANTS_OF_EXPORT; without a calibration table, those that are not static. `positive`: the class of the
    metric f1, for two classes. `max_length`: by default 128 tokens, or the model's maximum if that is less.
    `reduce_range`: whether int8 weights have 7 bits. `attention`: the precision of its products in static variants.
    `student_share`: the share of torch's metric that a variant must reach.
    """

    data: Path
    calibration: Path | None = None
    text: Sequence[str] = ("text",)
    label: str = "label"
    labels: Sequence[str] | None = None
    encoding: str = "utf-8"
    variants: Sequence[str] | None = None
    metric: str | None = None
    positive: str | None = None
    max_length: int | None = None
    reduce_range: bool = True
    attention: Attention = "int8"
    student_share: float = 0.99


def export_model(model: str, request: ExportRequest, *, output: Path, console: Console) -> ExportResult:
    """Write a bundle of a fine-tuned classifier to output/VARIANT for each variant that passes, and export.json.

    Overwrites no bundle. The result has the folder of each bundle, and the failures of the other variants. Raises
    UserError.
    """
    variants = _select_variants(request.variants, calibrated=request.calibration is not None)
    kind = task_type(sources.task_type_of(model))
    metric = kind.default_metric if request.metric is None else _one_of(get_args(Metric), request.metric, "--metric")
    max_length = _max_length(model, request.max_length)
    for variant in variants:
        if os.path.lexists(output / variant.name):
            raise UserError(f"{output / variant.name}: already exists; remove it, or choose another --output")
    require_writable(output, [EXPORT_FILE])
    read_export_file(output)  # a damaged one is reported before the work
    names = sources.label_names_in_config(model)
    scored_as = task_type(type_for_metric(metric))
    if metric not in kind.metrics or not kind.has_outputs(len(names)):
        raise UserError(
            f"{model}: this {kind.name} model has {len(names)} outputs; --metric {metric} expects {scored_as.outputs} "
            f"(a {scored_as.name} model)"
        )

    if request.labels is not None:
        require_table_labels(request.labels, names, kind.name, model=model)
    positive = positive_class(metric, request.positive, request.labels or names)
    remarks = list[str]()

    def read(table: Path) -> Split:
        return read_split(
            table,
            text=request.text,
            label=request.label,
            labels=request.labels or names,
            task_type=kind.name,
            encoding=request.encoding,
            remarks=remarks,
        )

    splits = EvaluationSplits(dev=read(request.data))
    if request.calibration is not None:
        rows = read(request.calibration)
        splits = replace(splits, calibration=calibration_rows(rows, task_type=kind.name, seed=0))
    print_remarks(remarks, console)
    print_remarks(check_named_models([model], takes_pairs=splits.dev.pairs is not None), console)
    classifier = loading.load_classifier(model)
    if request.labels is not None and has_default_names(names):
        loading.name_outputs(classifier, request.labels)
    tables = {"data": request.data} | ({"calibration": request.calibration} if request.calibration is not None else {})
    owned = open_output(output, [EXPORT_FILE])
    with (
        disk_errors(output),
        TemporaryDirectory(dir=output, prefix=".partial-") as partial,
        ProgressBar("export", console) as bar,
    ):
        work = Path(partial)
        exported = build_bundles(
            classifier,
            loading.load_tokenizer(model),
            work,
            splits=splits,
            options=ExportOptions(
                task_type=kind.name,
                metric=metric,
                positive=positive,
                max_length=max_length,
                tolerances={variant: default_tolerance(variant) for variant in variants},
                static=StaticOptions(reduced=request.reduce_range, attention=request.attention),
                gpu_provider=cuda_provider() if machine.cuda_device() is not None else None,
            ),
            origin=Origin(
                name=Path(model).name,
                origin={"model": model, "data": str(request.data)},
                versions=machine.package_versions(),
                measured={},
                digests=digests_of(tables),
                dataset=one_line(request.data.name),
                base_models=sources.hub_names([model]),
                machine=machine.describe(),
            ),
            on_progress=bar.update,
            on_caution=lambda caution: print_warning(caution, console),
        )
        thresholds = gate.Gate(student_share=request.student_share)
        results = {}
        for name, variant_result in exported.variants.items():
            inputs = gate_inputs(variant_result, None, None)
            failures = [*variant_result.failures, *gate.gate_failures(thresholds, inputs)]
            bundle = None
            if not failures:
                with owned.writing(name):
                    (work / name).rename(output / name)
                bundle = str(output / name)
            results[name] = replace(variant_result, failures=failures, bundle=bundle)
    exported = replace(exported, variants=results)
    write_export_file(owned, exported)
    return exported


def _max_length(model: str, requested: int | None) -> int:
    """Tokens per text. Raises UserError for a model that cannot be fused or has too few positions."""
    encoder = read_encoder(model)
    fusable = [kind for kind, capabilities in ARCHITECTURES.items() if capabilities.fuses_fully]
    if encoder.model_type not in fusable or activation_problems(model, encoder):
        raise UserError(
            f"{model}: got {encoder.model_type} with {encoder.activation}; expected one of {', '.join(fusable)} with "
            f"{' or '.join(get_args(Activation))}, whose graph can be fused completely"
        )
    length = requested or int(min(DEFAULT_MAX_LENGTH, encoder.max_tokens, sources.tokenizer_limit(model)))
    if length > encoder.max_tokens:
        raise UserError(f"--max-length {length}: {model} has positions for {encoder.max_tokens} tokens")
    return length


def _select_variants(names: Sequence[str] | None, *, calibrated: bool) -> list[Variant]:
    """The variants with these names; by default DEFAULT_VARIANTS_OF_EXPORT. Static ones need calibration."""
    checked = [_one_of(tuple(VARIANTS), name, "--variant") for name in names or DEFAULT_VARIANTS_OF_EXPORT]
    variants = [VARIANTS[name] for name in dict.fromkeys(checked)]
    unusable = [variant for variant in variants if variant.is_calibrated and not calibrated]
    if unusable and names:
        raise UserError(
            f"--variant {unusable[0].name}: needs --calibration, a table of other rows than --data, such as train rows"
        )
    return [variant for variant in variants if variant not in unusable]


def _one_of(choices: Sequence[Choice], name: str, option: str) -> Choice:
    for choice in choices:
        if choice == name:
            return choice
    raise UserError(f"{option} {name}: expected one of {', '.join(map(str, choices))}")
