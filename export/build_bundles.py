"""Builds a bundle of each variant of a classifier and compares it with torch on the task's own rows."""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from compress.common.errors import UserError
from compress.common.files import size_bytes
from compress.data import task_types
from compress.data.columns import Split
from compress.data.label_order import label_doubt, require_label_order
from compress.data.metrics import Metric, Positive, metric_name
from compress.data.task_types import TaskType, TaskTypeName
from compress.data.tokenization import encode_split
from compress.models import loading
from compress.models.inference import predict_logits
from export.bundle.bundle_json import BundleInfo, BundleProof, GoldenExample, GoldenTerms, bundle_errors
from export.bundle.folder import finish_bundle, seal, write_bundle
from export.bundle.golden import golden_examples, golden_terms, golden_texts
from export.bundle.runtime import Classifier
from export.graph.fusion import EncoderShape, fuse
from export.graph.runtime_version import oldest_onnxruntime
from export.graph.to_onnx import export_onnx
from export.machine_facts import Machine
from export.parity import comparison
from export.parity.probes import Probes, make_probes
from export.quantisation.calibration import Inputs, require_disjoint, unpadded_inputs
from export.quantisation.quantize import build_variant
from export.quantisation.static_int8 import StaticOptions
from export.quantisation.variants import FOR_GPU, VARIANTS, Variant
from export.quantisation.vnni_emulation import can_saturate, write_saturating_model
from export.results import ExportResult, ExportSteps, Parity, Saturation, VariantResult, VariantScores

STEP_ROWS = 1000  # rows on which the intermediate graphs are compared
SATURATION_ROWS, SATURATION_TOKENS = 100, 32  # upper limits of the emulation
SATURATION_WORK = 2e10  # multiplications to emulate in total; takes seconds for any model size
CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
FP32 = VARIANTS["fp32"]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Metadata of the model for its bundle.

    `origin`: facts for the model card. `digests`, `dataset`, `dataset_splits`, `base_models`: as in `BundleInfo`.
    `measured`: figures measured before the export. `machine`: the machine on which parity is measured.
    """

    name: str
    origin: Mapping[str, str]
    versions: Mapping[str, str]
    measured: Mapping[str, int | float]
    digests: Mapping[str, str] = field(default_factory=dict)
    dataset: str | None = None
    dataset_splits: Sequence[str] = ("dev",)
    base_models: Sequence[str] = ()
    machine: Machine | None = None


@dataclass(frozen=True, kw_only=True)
class EvaluationSplits:
    """Parity is measured on dev. The test split, if any, is scored too. `calibration`: rows that are in neither."""

    dev: Split
    test: Split | None = None
    calibration: Split | None = None


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Options of an export.

    `positive`: the class of the metric f1, for two classes. `max_length`: texts are truncated to this number of tokens.
    `tolerances`: the variants to build, in this order, with their tolerances. `static`: options of calibrated variants.
    `gpu_provider`: provider on which variants for GPUs are also compared with torch.
    """

    task_type: TaskTypeName
    metric: Metric
    positive: Positive | None = None
    max_length: int
    tolerances: Mapping[Variant, comparison.Tolerance]
    static: StaticOptions
    gpu_provider: str | None = None

    @property
    def positive_name(self) -> str | None:
        """The name of the positive class; None if the metric has none."""
        return None if self.positive is None else self.positive.name


@bundle_errors()
def build_bundles(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    *,
    splits: EvaluationSplits,
    options: ExportOptions,
    origin: Origin,
    on_progress: Callable[[int, int, str], None],
    on_caution: Callable[[str], None] | None = None,
) -> ExportResult:
    """Write a bundle folder/VARIANT for each variant and compare it with torch.

    `on_progress` receives (steps done, total, name of the next step). `on_caution` receives a line if the labels of dev
    may not be those of the model. A variant that exceeds its tolerance or has other tokens than torch has `failures`.
    Raises FusionError if the graph cannot be fused. Raises UserError if calibration rows are missing, or are also in
    dev or test. Raises UserError if the model's outputs are in a different order than the labels.
    """
    calibration = _calibration(splits, options.tolerances, tokenizer, options.max_length)
    encoded = encode_split(splits.dev, tokenizer, max_length=options.max_length)
    source = _Source(
        model=model,
        tokenizer=tokenizer,
        labels=loading.label_names_of_model(model),
        dev_logits=predict_logits(model, encoded),
        probes=make_probes(model, tokenizer, splits.dev, max_length=options.max_length),
        splits=splits,
        options=options,
        origin=origin,
    )
    predictions = source.task_type.decide(source.dev_logits)
    require_label_order(splits.dev, predictions, source.labels, origin.name, options.task_type)
    doubt = label_doubt(splits.dev, predictions, source.labels, origin.name, options.task_type)
    if doubt is not None and on_caution is not None:
        on_caution(doubt)
    raw, fused = folder / "raw.onnx", folder / "fused.onnx"
    export_onnx(model, raw, takes_token_types="token_type_ids" in tokenizer.model_input_names)
    encoder = EncoderShape.of(model.config)
    fused_nodes = fuse(raw, fused, encoder, fuses_embeddings=True)
    total = 2 + len(options.tolerances)
    on_progress(0, total, "the exported graph")
    exported_parity = _step_parity(source, raw, folder / "step")
    on_progress(1, total, "the fused graph")
    fused_parity = _step_parity(source, fused, folder / "step")
    fused.unlink()
    step_failures = [
        *_step_failures("exported graph", exported_parity),
        *_step_failures("fused graph", fused_parity),
    ]
    variants = {}
    for done, (variant, tolerance) in enumerate(options.tolerances.items(), start=2):
        on_progress(done, total, variant.name)
        model_file, bundle = folder / f"{variant.name}.onnx", folder / variant.name
        build_variant(variant, raw, model_file, encoder, calibration, options.static)
        _write(source, model_file, bundle, variant.name)
        model_file.unlink()
        measurements = _measure(source, bundle, variant)
        _finish(source, bundle, measurements)
        variants[variant.name] = VariantResult(
            parity=measurements.parity,
            other_providers=measurements.other_providers,
            without_vnni=measurements.without_vnni,
            failures=[*step_failures, *_failures(measurements, tolerance)],
            scores=measurements.scores,
            size_bytes=size_bytes(bundle),
        )
    raw.unlink()
    on_progress(total, total, "")
    return ExportResult(
        metric=options.metric,
        positive=options.positive_name,
        task_type=options.task_type,
        variants=variants,
        fused_nodes=fused_nodes,
        steps=ExportSteps(exported=exported_parity, fused=fused_parity),
        labels=list(source.labels),
    )


def cuda_provider() -> str | None:
    """onnxruntime's provider for NVIDIA GPUs; None if this build lacks it."""
    return CUDA if CUDA in onnxruntime.get_available_providers() else None


def _calibration(
    splits: EvaluationSplits, variants: Iterable[Variant], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> list[Inputs]:
    calibrated = [variant.name for variant in variants if variant.is_calibrated]
    if splits.calibration is None or not len(splits.calibration):
        if calibrated:
            raise UserError(f"{calibrated[0]} needs calibration rows for the ranges of its activations; got none")
        return []
    require_disjoint(splits.calibration, [splits.dev, *([splits.test] if splits.test is not None else [])])
    return unpadded_inputs(splits.calibration, tokenizer, max_length) if calibrated else []


@dataclass(frozen=True, kw_only=True)
class _Source:
    """The torch model to export. `dev_logits`: its logits on dev, (rows, classes). `probes`: further texts."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    labels: Sequence[str]
    dev_logits: np.ndarray
    probes: Probes
    splits: EvaluationSplits
    options: ExportOptions
    origin: Origin

    @property
    def task_type(self) -> TaskType:
        """The task type of the model."""
        return task_types.task_type(self.options.task_type)


@dataclass(frozen=True, kw_only=True)
class _Measurements:
    """The measurements of one bundle. `golden`: its outputs for some texts, none if one is NaN or infinite."""

    parity: Parity
    other_providers: dict[str, Parity]
    scores: VariantScores
    without_vnni: Saturation | None
    golden: list[GoldenExample]
    golden_terms: GoldenTerms | None

    @property
    def is_batch_invariant(self) -> bool:
        """Whether it is batch-invariant with every provider."""
        return all(parity.batch_invariance.is_invariant for parity in (self.parity, *self.other_providers.values()))


def _write(source: _Source, model_file: Path, folder: Path, variant: str) -> None:
    info = BundleInfo(
        name=source.origin.name,
        variant=variant,
        task_type=source.options.task_type,
        labels=list(source.labels),
        takes_pairs=source.splits.dev.pairs is not None,
        max_length=source.options.max_length,
        pad_token_id=source.tokenizer.pad_token_id,
        truncation_side="left" if source.tokenizer.truncation_side == "left" else "right",
        split_special_tokens=source.tokenizer.split_special_tokens,
        requires={"onnxruntime": oldest_onnxruntime(model_file)},
        saturates=can_saturate(model_file),
        origin=dict(source.origin.origin),
        digests=dict(source.origin.digests),
        dataset=source.origin.dataset,
        dataset_splits=list(source.origin.dataset_splits),
        base_models=list(source.origin.base_models),
        versions=dict(source.origin.versions),
        vocabulary_size=source.model.config.vocab_size,
    )
    write_bundle(folder, info, model_file=model_file, config=source.model.config, tokenizer=source.tokenizer)


def _step_parity(source: _Source, model_file: Path, folder: Path) -> Parity:
    """Parity of an intermediate graph. Its bundle is deleted."""
    _write(source, model_file, folder, "fp32")
    first_rows = np.arange(min(STEP_ROWS, len(source.splits.dev)))
    parity = _compare(source, folder, FP32, CPU, source.splits.dev.take(first_rows), source.dev_logits[first_rows])
    shutil.rmtree(folder)
    return parity


def _step_failures(step: str, parity: Parity) -> list[str]:
    """The reasons why an intermediate graph differs from torch. Other tokens are reported for each variant."""
    if parity.probes is None or parity.probes.num_token_changes:
        return []
    return [f"{step}: {reason}" for reason in comparison.probe_failures(parity, comparison.default_tolerance(FP32))]


def _compare(
    source: _Source, folder: Path, variant: Variant, provider: str, rows: Split, reference: np.ndarray
) -> Parity:
    return comparison.compare_with_torch(
        folder,
        reference,
        rows,
        source.options.metric,
        source.labels,
        task_type=source.task_type,
        positive=source.options.positive,
        provider=provider,
        probes=source.probes,
        compares_probe_logits=variant == FP32,
    )


def _measure(source: _Source, folder: Path, variant: Variant) -> _Measurements:
    """Compare a bundle with torch on each of its providers, score it, and compute its golden examples."""
    dev, test, options = source.splits.dev, source.splits.test, source.options
    others = [options.gpu_provider] if options.gpu_provider and variant.weights in FOR_GPU else []
    by_provider = {
        provider: _compare(source, folder, variant, provider, dev, source.dev_logits) for provider in (CPU, *others)
    }
    classifier = Classifier(folder)
    classifier.batch_invariant = all(parity.batch_invariance.is_invariant for parity in by_provider.values())
    test_score = None
    if test is not None:
        predictions = source.task_type.decide(classifier.unchecked_logits(test.texts, test.pairs))
        test_score = source.task_type.score(
            options.metric, test.labels, predictions, len(source.labels), positive=options.positive
        )
    golden, terms = _golden(classifier, dev)
    return _Measurements(
        parity=by_provider[CPU],
        other_providers={provider: by_provider[provider] for provider in others},
        scores=VariantScores(dev=by_provider[CPU].score, test=test_score),
        without_vnni=_emulate_saturation(source, folder, classifier) if variant.is_calibrated else None,
        golden=golden,
        golden_terms=terms,
    )


def _golden(classifier: Classifier, dev: Split) -> tuple[list[GoldenExample], GoldenTerms | None]:
    """The golden examples and their terms. A model that computes NaN or infinity has none."""
    texts, pairs = golden_texts(classifier, dev)
    if not np.isfinite(classifier.unchecked_logits(texts, pairs)).all():
        return [], None
    golden = golden_examples(classifier, texts, pairs)
    return golden, golden_terms(classifier, golden)


def _emulate_saturation(source: _Source, folder: Path, classifier: Classifier) -> Saturation:
    """Compare a static variant with its emulation on a processor whose int8 products saturate."""
    if not classifier.saturates:
        return Saturation(num_rows=0, max_logit_shift=0.0, num_label_changes=0)
    dev = source.splits.dev
    affordable = SATURATION_WORK / (SATURATION_TOKENS * source.model.num_parameters(exclude_embeddings=True))
    rows = dev.take(np.arange(min(SATURATION_ROWS, max(1, int(affordable)), len(dev))))
    encodings = classifier.encode(rows.texts, rows.pairs)
    for encoding in encodings:
        encoding.truncate(SATURATION_TOKENS)
    emulated = folder.with_name("saturating")
    shutil.copytree(folder, emulated)
    write_saturating_model(folder / "onnx" / "model.onnx", emulated / "onnx" / "model.onnx")
    seal(emulated)
    exact, saturated = (
        np.concatenate([model.run([encoding]) for encoding in encodings])
        for model in (classifier, Classifier(emulated, golden_check=False))
    )
    shutil.rmtree(emulated)
    return Saturation(
        num_rows=len(rows),
        max_logit_shift=float(np.abs(saturated - exact).max()),
        num_label_changes=int(source.task_type.changed(saturated, exact).sum()),
    )


def _finish(source: _Source, folder: Path, measurements: _Measurements) -> None:
    """Add the figures, the golden examples and the proof to the bundle."""
    options, parity, test_score = source.options, measurements.parity, measurements.scores.test
    metric = metric_name(options.metric, options.positive_name)
    on_dev = {f"dev {metric}": parity.score, "dev rows": len(source.splits.dev)}
    on_test = {}
    if "test" in source.origin.dataset_splits and source.splits.test is not None and test_score is not None:
        on_test = {f"test {metric}": test_score, "test rows": len(source.splits.test)}
    flips = {"label flips against torch on dev": parity.num_label_flips} if source.task_type.has_classes else {}
    logit_error = {"mean logit error / spread": parity.logit_error}
    finish_bundle(
        folder,
        batch_invariant=measurements.is_batch_invariant,
        measured={**on_dev, **on_test, **source.origin.measured, **flips, **logit_error},
        golden=measurements.golden,
        golden_terms=measurements.golden_terms,
        proof=BundleProof(
            metric=options.metric,
            positive=options.positive_name,
            parity=parity,
            other_providers=measurements.other_providers,
            without_vnni=measurements.without_vnni,
            measured_on=source.origin.machine,
        ),
    )


def _failures(measurements: _Measurements, tolerance: comparison.Tolerance) -> list[str]:
    """The reasons why the variant does not count as a correct export, over all providers."""
    on_other_providers = [
        f"{provider}: {reason}"
        for provider, parity in measurements.other_providers.items()
        for reason in comparison.tolerance_failures(parity, tolerance)
    ]
    return [*comparison.tolerance_failures(measurements.parity, tolerance), *on_other_providers]
