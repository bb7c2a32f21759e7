"""Every variant of a classifier as a candidate bundle, each held against torch on the task's own rows."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from compress import metrics, models
from compress.cells import Split
from compress.encoding import encode_split
from compress.errors import UserError
from compress.files import size_bytes
from compress.inference import predict_logits
from compress.tasks import require_label_order
from export import parity
from export.bundle import finish_bundle, golden_examples, write_bundle
from export.calibration import Inputs, inputs_alone, require_apart
from export.fuse import Encoder, fuse
from export.quantize import build_variant
from export.runtime import Classifier
from export.saturation import can_saturate, saturating
from export.static import Static
from export.to_onnx import export_onnx
from export.variants import FOR_GPU, Variant

NUM_GOLDEN = 16
HOP_ROWS = 1000  # on which the steps before the variants are compared
SATURATION_ROWS, SATURATION_TOKENS = 100, 32  # at most
SATURATION_WORK = 2e10  # multiplications that are emulated in all: seconds, whatever the model's size
CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What goes into a bundle beside the model: its name, where it came from, and figures measured elsewhere.

    `machine`: what the figures in it are measured on.
    """

    name: str
    origin: Mapping[str, str]
    versions: Mapping[str, str]
    measured: Mapping[str, Any]
    machine: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What variants are held against torch on, and scored. `calibration`: rows that are in neither of the others."""

    dev: Split
    test: Split | None = None
    calibration: Split | None = None


def build_candidates(
    student: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    *,
    rows: Rows,
    max_length: int,
    metric: metrics.Metric,
    tolerances: Mapping[Variant, parity.Tolerance],
    static: Static,
    origin: Origin,
    on_progress: Callable[[int, int, str], None],
    gpu_provider: str | None = None,
) -> dict[str, Any]:
    """Write a bundle folder/VARIANT for each variant in `tolerances`; returns what was measured, as plain values.

    Parity is taken on dev; test, where there is one, is scored as well. `on_progress` gets (done, total, what comes
    next). `gpu_provider`: where the variants for GPUs are held against torch too. A variant over its tolerance has its
    `failures` in words. Raises FusionError where the graph does not fuse, and UserError where calibration rows are
    missing or stand in dev or test, or where the model's outputs are in another order than the labels.
    """
    calibration = _calibration(rows, tolerances, tokenizer, max_length)
    encoded = encode_split(rows.dev, tokenizer, max_length=max_length)
    reference = predict_logits(student, encoded)
    require_label_order(rows.dev, metrics.decide(reference), models.label_names(student), origin.name)
    prover = _Prover(student, tokenizer, rows, reference, max_length, metric, origin)
    raw, fused = folder / "raw.onnx", folder / "fused.onnx"
    export_onnx(student, raw, takes_token_types="token_type_ids" in tokenizer.model_input_names)
    encoder = Encoder.of(student.config)
    nodes = fuse(raw, fused, encoder, fuses_embeddings=True)
    total = 2 + len(tolerances)
    on_progress(0, total, "the exported graph")
    hops = {"onnx": prover.hop(raw, folder / "hop")}
    on_progress(1, total, "the fused graph")
    hops["fused"] = prover.hop(fused, folder / "hop")
    fused.unlink()
    told = {}
    for done, (variant, tolerance) in enumerate(tolerances.items(), start=2):
        on_progress(done, total, variant.name)
        model_file = folder / f"{variant.name}.onnx"
        build_variant(variant, raw, model_file, encoder, calibration, static)
        providers = [CPU, *([gpu_provider] if gpu_provider and variant.weights in FOR_GPU else [])]
        told[variant.name] = prover.prove(variant, model_file, folder / variant.name, tolerance, providers)
        model_file.unlink()
    raw.unlink()
    on_progress(total, total, "")
    return {"fused_nodes": nodes, "hops": hops, "variants": told}


def cuda_provider() -> str | None:
    """onnxruntime's provider for NVIDIA GPUs, where this build has it."""
    return CUDA if CUDA in onnxruntime.get_available_providers() else None


def _calibration(
    rows: Rows, variants: Mapping[Variant, Any], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> list[Inputs]:
    calibrated = [variant.name for variant in variants if variant.is_calibrated]
    if rows.calibration is None or not len(rows.calibration):
        if calibrated:
            raise UserError(
                f"{calibrated[0]} takes the ranges of its activations from calibration rows, and there are none"
            )
        return []
    require_apart(rows.calibration, [rows.dev, *([rows.test] if rows.test is not None else [])])
    return inputs_alone(rows.calibration, tokenizer, max_length) if calibrated else []


class _Prover:
    """Turns model files into bundles and holds them against the torch logits on dev."""

    def __init__(
        self,
        student: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        rows: Rows,
        reference: np.ndarray,
        max_length: int,
        metric: metrics.Metric,
        origin: Origin,
    ) -> None:
        self.student = student
        self.labels = models.label_names(student)
        self.tokenizer = tokenizer
        self.rows = rows
        self.reference = reference
        self.max_length = max_length
        self.metric = metric
        self.origin = origin

    def hop(self, model_file: Path, folder: Path) -> dict[str, Any]:
        """Parity of a step on the way, of which no bundle is kept."""
        self._write(model_file, folder, "fp32")
        some = np.arange(min(HOP_ROWS, len(self.rows.dev)))
        found = self._held(folder, CPU, self.rows.dev.take(some), self.reference[some])
        shutil.rmtree(folder)
        return parity.as_plain(found)

    def prove(
        self, variant: Variant, model_file: Path, folder: Path, tolerance: parity.Tolerance, providers: Sequence[str]
    ) -> dict[str, Any]:
        """Write a variant's bundle, hold it against torch with each provider, and put in what was found."""
        self._write(model_file, folder, variant.name)
        held = {provider: self._held(folder, provider, self.rows.dev, self.reference) for provider in providers}
        found = held[CPU]
        batch_invariant = all(each.company.is_invariant for each in held.values())
        dev, test = self.rows.dev, self.rows.test
        scores = {"dev": found.metric}
        measured = {f"dev {self.metric}": found.metric, "dev rows": len(dev)}
        classifier = Classifier(folder)
        classifier.batch_invariant = batch_invariant
        if test is not None:
            answers = metrics.decide(classifier.logits(test.texts, test.pairs))
            scores["test"] = metrics.score(self.metric, test.labels, answers, num_classes=len(self.labels))
            measured |= {f"test {self.metric}": scores["test"], "test rows": len(test)}
        flips = {} if len(self.labels) == 1 else {"label flips against torch on dev": found.num_label_flips}
        told = {
            "parity": parity.as_plain(found),
            "other_providers": {name: parity.as_plain(each) for name, each in held.items() if name != CPU},
            "without_vnni": self._without_vnni(folder, dev) if variant.is_calibrated else None,
        }
        finish_bundle(
            folder,
            batch_invariant=batch_invariant,
            measured={**measured, **self.origin.measured, **flips, "mean logit error / spread": found.logit_error},
            golden=golden_examples(classifier, dev.texts[:NUM_GOLDEN], dev.pairs and dev.pairs[:NUM_GOLDEN]),
            proof={"metric": self.metric, **told, "measured_on": dict(self.origin.machine)},
        )
        failures = [
            reason if provider == CPU else f"{provider}: {reason}"
            for provider, each in held.items()
            for reason in each.failures(tolerance)
        ]
        return {**told, "failures": failures, "scores": scores, "size_bytes": size_bytes(folder)}

    def _held(self, folder: Path, provider: str, rows: Split, reference: np.ndarray) -> parity.Parity:
        return parity.hold_against_torch(folder, reference, rows, self.metric, self.labels, provider=provider)

    def _without_vnni(self, folder: Path, dev: Split) -> dict[str, Any]:
        """What a processor whose byte products saturate makes of a static variant, where nothing prevents it.

        Of no rows where no product of its weights can saturate.
        """
        classifier = Classifier(folder)
        if not classifier.saturates:
            return {"num_rows": 0, "max_logit_shift": 0.0, "num_label_changes": 0}
        count = SATURATION_WORK / (SATURATION_TOKENS * self.student.num_parameters(exclude_embeddings=True))
        some = dev.take(np.arange(min(SATURATION_ROWS, max(1, int(count)), len(dev))))
        encodings = classifier.encode(some.texts, some.pairs)
        for encoding in encodings:
            encoding.truncate(SATURATION_TOKENS)
        emulated = folder.with_name("saturating")
        shutil.copytree(folder, emulated)
        saturating(folder / "onnx" / "model.onnx", emulated / "onnx" / "model.onnx")
        as_emulated = Classifier(emulated)
        usual, found = (
            np.concatenate([model.run([encoding]) for encoding in encodings]) for model in (classifier, as_emulated)
        )
        shutil.rmtree(emulated)
        return {
            "num_rows": len(some),
            "max_logit_shift": float(np.abs(found - usual).max()),
            "num_label_changes": int((found.argmax(axis=1) != usual.argmax(axis=1)).sum()),
        }

    def _write(self, model_file: Path, folder: Path, variant: str) -> None:
        write_bundle(
            folder,
            model_file=model_file,
            config=self.student.config,
            tokenizer=self.tokenizer,
            labels=self.labels,
            max_length=self.max_length,
            takes_pairs=self.rows.dev.pairs is not None,
            variant=variant,
            saturates=can_saturate(model_file),
            facts={
                "name": self.origin.name,
                "origin": dict(self.origin.origin),
                "versions": dict(self.origin.versions),
            },
        )
