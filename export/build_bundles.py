"""Every variant of a classifier as a candidate bundle, each compared with torch on the task's own rows."""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from compress.common.errors import UserError
from compress.common.files import size_bytes
from compress.data.columns import Split
from compress.data.metrics import Metric
from compress.data.task_types import TaskType, TaskTypeName, task_type
from compress.data.tasks import require_label_order
from compress.data.tokenization import encode_split
from compress.models import loading
from compress.models.inference import predict_logits
from export.bundle.bundle_json import BundleInfo, BundleProof, Golden
from export.bundle.folder import finish_bundle, golden_examples, write_bundle
from export.bundle.runtime import Classifier
from export.graph.fusion import EncoderShape, fuse
from export.graph.to_onnx import export_onnx
from export.machine_facts import Machine
from export.parity import comparison
from export.quantisation.calibration import Inputs, require_disjoint, unpadded_inputs
from export.quantisation.quantize import build_variant
from export.quantisation.static_int8 import StaticOptions
from export.quantisation.variants import FOR_GPU, Variant
from export.quantisation.vnni_emulation import can_saturate, saturating
from export.results import ExportResult, ExportSteps, Parity, Saturation, VariantResult, VariantScores

NUM_GOLDEN = 16
STEP_ROWS = 1000  # on which the steps before the variants are compared
SATURATION_ROWS, SATURATION_TOKENS = 100, 32  # at most
SATURATION_WORK = 2e10  # multiplications that are emulated in all: seconds, whatever the model's size
CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a bundle records about its model: its name, where it came from, and figures measured elsewhere.

    `machine`: what parity is measured on.
    """

    name: str
    origin: Mapping[str, str]
    versions: Mapping[str, str]
    measured: Mapping[str, int | float]
    machine: Machine | None = None


@dataclass(frozen=True, kw_only=True)
class EvaluationSplits:
    """Parity is measured on dev; test, where there is one, is scored too. `calibration`: rows in neither of them."""

    dev: Split
    test: Split | None = None
    calibration: Split | None = None


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """`max_length`: tokens that texts are cut to. `tolerances`: by each variant to build, in this order.

    `static`: of calibrated variants. `gpu_provider`: where the variants for GPUs are compared with torch too.
    """

    task_type: TaskTypeName
    metric: Metric
    max_length: int
    tolerances: Mapping[Variant, comparison.Tolerance]
    static: StaticOptions
    gpu_provider: str | None = None


def build_bundles(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    *,
    splits: EvaluationSplits,
    options: ExportOptions,
    origin: Origin,
    on_progress: Callable[[int, int, str], None],
) -> ExportResult:
    """Write a bundle folder/VARIANT for each variant, and compare it with torch.

    `on_progress` gets (done, total, what comes next). A variant over its tolerance has its `failures` in words. Raises
    FusionError where the graph does not fuse, and UserError where calibration rows are missing or stand in dev or test,
    or where the model's outputs are in another order than the labels.
    """
    calibration = _calibration(splits, options.tolerances, tokenizer, options.max_length)
    encoded = encode_split(splits.dev, tokenizer, max_length=options.max_length)
    source = _Source(
        model=model,
        tokenizer=tokenizer,
        labels=loading.label_names_of_model(model),
        dev_logits=predict_logits(model, encoded),
        splits=splits,
        options=options,
        origin=origin,
    )
    answers = source.kind.decide(source.dev_logits)
    require_label_order(splits.dev, answers, source.labels, origin.name, options.task_type)
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
    variants = {}
    for done, (variant, tolerance) in enumerate(options.tolerances.items(), start=2):
        on_progress(done, total, variant.name)
        model_file, bundle = folder / f"{variant.name}.onnx", folder / variant.name
        build_variant(variant, raw, model_file, encoder, calibration, options.static)
        _write(source, model_file, bundle, variant.name)
        model_file.unlink()
        measurements = _measure(source, bundle, variant)
        _seal(source, bundle, measurements)
        variants[variant.name] = VariantResult(
            parity=measurements.parity,
            other_providers=measurements.other_providers,
            without_vnni=measurements.without_vnni,
            failures=_failures(measurements, tolerance),
            scores=measurements.scores,
            size_bytes=size_bytes(bundle),
        )
    raw.unlink()
    on_progress(total, total, "")
    return ExportResult(
        metric=options.metric,
        task_type=options.task_type,
        variants=variants,
        fused_nodes=fused_nodes,
        steps=ExportSteps(exported=exported_parity, fused=fused_parity),
    )


def cuda_provider() -> str | None:
    """onnxruntime's provider for NVIDIA GPUs, where this build has it."""
    return CUDA if CUDA in onnxruntime.get_available_providers() else None


def _calibration(
    splits: EvaluationSplits, variants: Iterable[Variant], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> list[Inputs]:
    calibrated = [variant.name for variant in variants if variant.is_calibrated]
    if splits.calibration is None or not len(splits.calibration):
        if calibrated:
            raise UserError(
                f"{calibrated[0]} takes the ranges of its activations from calibration rows, and there are none"
            )
        return []
    require_disjoint(splits.calibration, [splits.dev, *([splits.test] if splits.test is not None else [])])
    return unpadded_inputs(splits.calibration, tokenizer, max_length) if calibrated else []


@dataclass(frozen=True, kw_only=True)
class _Source:
    """The torch model that the bundles are made of; `dev_logits`: its own on dev, (rows, classes)."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    labels: Sequence[str]
    dev_logits: np.ndarray
    splits: EvaluationSplits
    options: ExportOptions
    origin: Origin

    @property
    def kind(self) -> TaskType:
        """The task type of the model."""
        return task_type(self.options.task_type)


@dataclass(frozen=True, kw_only=True)
class _Measurements:
    """All that is measured with one bundle. `golden`: its own answers to the first rows of dev."""

    parity: Parity
    other_providers: dict[str, Parity]
    scores: VariantScores
    without_vnni: Saturation | None
    golden: list[Golden]

    @property
    def is_batch_invariant(self) -> bool:
        """With every provider."""
        return all(each.batch_invariance.is_invariant for each in (self.parity, *self.other_providers.values()))


def _write(source: _Source, model_file: Path, folder: Path, variant: str) -> None:
    info = BundleInfo(
        name=source.origin.name,
        variant=variant,
        task_type=source.options.task_type,
        labels=list(source.labels),
        takes_pairs=source.splits.dev.pairs is not None,
        max_length=source.options.max_length,
        pad_token_id=source.tokenizer.pad_token_id,
        saturates=can_saturate(model_file),
        origin=dict(source.origin.origin),
        versions=dict(source.origin.versions),
    )
    write_bundle(folder, info, model_file=model_file, config=source.model.config, tokenizer=source.tokenizer)


def _step_parity(source: _Source, model_file: Path, folder: Path) -> Parity:
    """Parity of a graph on the way to the variants; its bundle is not kept."""
    _write(source, model_file, folder, "fp32")
    first = np.arange(min(STEP_ROWS, len(source.splits.dev)))
    result = _compare(source, folder, CPU, source.splits.dev.take(first), source.dev_logits[first])
    shutil.rmtree(folder)
    return result


def _compare(source: _Source, folder: Path, provider: str, rows: Split, reference: np.ndarray) -> Parity:
    metric, labels = source.options.metric, source.labels
    return comparison.compare_with_torch(folder, reference, rows, metric, labels, kind=source.kind, provider=provider)


def _measure(source: _Source, folder: Path, variant: Variant) -> _Measurements:
    """Compare a bundle with torch on each of its providers, score it, and let it answer the golden examples."""
    dev, test, options = source.splits.dev, source.splits.test, source.options
    others = [options.gpu_provider] if options.gpu_provider and variant.weights in FOR_GPU else []
    by_provider = {each: _compare(source, folder, each, dev, source.dev_logits) for each in (CPU, *others)}
    classifier = Classifier(folder)
    classifier.batch_invariant = all(each.batch_invariance.is_invariant for each in by_provider.values())
    test_score = None
    if test is not None:
        answers = source.kind.decide(classifier.logits(test.texts, test.pairs))
        test_score = source.kind.score(options.metric, test.labels, answers, len(source.labels))
    return _Measurements(
        parity=by_provider[CPU],
        other_providers={each: by_provider[each] for each in others},
        scores=VariantScores(dev=by_provider[CPU].score, test=test_score),
        without_vnni=_emulate_saturation(source, folder, classifier) if variant.is_calibrated else None,
        golden=golden_examples(classifier, dev.texts[:NUM_GOLDEN], dev.pairs and dev.pairs[:NUM_GOLDEN]),
    )


def _emulate_saturation(source: _Source, folder: Path, classifier: Classifier) -> Saturation:
    """What a static variant answers on a processor whose byte products saturate, where nothing prevents it."""
    if not classifier.saturates:
        return Saturation(num_rows=0, max_logit_shift=0.0, num_label_changes=0)
    dev = source.splits.dev
    count = SATURATION_WORK / (SATURATION_TOKENS * source.model.num_parameters(exclude_embeddings=True))
    some = dev.take(np.arange(min(SATURATION_ROWS, max(1, int(count)), len(dev))))
    encodings = classifier.encode(some.texts, some.pairs)
    for encoding in encodings:
        encoding.truncate(SATURATION_TOKENS)
    emulated = folder.with_name("saturating")
    shutil.copytree(folder, emulated)
    saturating(folder / "onnx" / "model.onnx", emulated / "onnx" / "model.onnx")
    exact, saturated = (
        np.concatenate([each.run([encoding]) for encoding in encodings]) for each in (classifier, Classifier(emulated))
    )
    shutil.rmtree(emulated)
    return Saturation(
        num_rows=len(some),
        max_logit_shift=float(np.abs(saturated - exact).max()),
        num_label_changes=int(source.kind.changed(saturated, exact).sum()),
    )


def _seal(source: _Source, folder: Path, measurements: _Measurements) -> None:
    """Put the figures, the golden examples and the proof into the bundle."""
    metric, result, test_score = source.options.metric, measurements.parity, measurements.scores.test
    on_dev = {f"dev {metric}": result.score, "dev rows": len(source.splits.dev)}
    on_test = {}
    if source.splits.test is not None and test_score is not None:
        on_test = {f"test {metric}": test_score, "test rows": len(source.splits.test)}
    flips = {"label flips against torch on dev": result.num_label_flips} if source.kind.has_classes else {}
    logit_error = {"mean logit error / spread": result.logit_error}
    finish_bundle(
        folder,
        batch_invariant=measurements.is_batch_invariant,
        measured={**on_dev, **on_test, **source.origin.measured, **flips, **logit_error},
        golden=measurements.golden,
        proof=BundleProof(
            metric=metric,
            parity=result,
            other_providers=measurements.other_providers,
            without_vnni=measurements.without_vnni,
            measured_on=source.origin.machine,
        ),
    )


def _failures(measurements: _Measurements, tolerance: comparison.Tolerance) -> list[str]:
    """What forbids shipping the variant, of every provider."""
    elsewhere = [
        f"{provider}: {reason}"
        for provider, each in measurements.other_providers.items()
        for reason in comparison.tolerance_failures(each, tolerance)
    ]
    return [*comparison.tolerance_failures(measurements.parity, tolerance), *elsewhere]
