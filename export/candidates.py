"""Every variant of a classifier as a candidate bundle, each held against torch on the task's own rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from compress import metrics, models
from compress.cells import Split
from compress.encoding import encode_split
from compress.errors import UserError
from compress.inference import predict_logits
from export import parity, quantize
from export.bundle import finish_bundle, golden_examples, write_bundle
from export.fuse import fuse
from export.runtime import Classifier
from export.to_onnx import export_onnx

NUM_GOLDEN = 16
CALIBRATION_ROWS = 256


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What goes into a bundle beside the model: its name, where it came from, and figures measured elsewhere."""

    name: str
    origin: Mapping[str, str]
    versions: Mapping[str, str]
    measured: Mapping[str, Any]


def build_candidates(
    student: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    *,
    dev: Split,
    test: Split | None,
    calibration: Split | None,
    max_length: int,
    metric: metrics.Metric,
    tolerances: Mapping[quantize.Variant, parity.Tolerance],
    origin: Origin,
    announce: Callable[[str], None],
) -> dict[str, Any]:
    """Write a bundle folder/VARIANT for each variant in `tolerances`; returns what was measured, as plain values.

    Parity is taken on `dev`; `test`, where there is one, is scored as well. `calibration`: rows that are in neither,
    from which static variants take their ranges. A variant over its tolerance has its `failures` in words. Raises
    FusionError where the graph does not fuse, and UserError where calibration rows are missing or stand in dev or test.
    """
    inputs = _calibration_inputs(calibration, tokenizer, max_length, [dev, *([test] if test is not None else [])])
    if not inputs and (missing := [variant for variant in tolerances if variant in quantize.CALIBRATED]):
        raise UserError(f"{missing[0]} takes the ranges of its activations from calibration rows, and there are none")
    encoded = encode_split(dev, tokenizer, max_length=max_length)
    reference = predict_logits(student, encoded)
    raw, fused = folder / "raw.onnx", folder / "fused.onnx"
    export_onnx(student, raw, takes_token_types="token_type_ids" in tokenizer.model_input_names)
    nodes = fuse(
        raw,
        fused,
        num_layers=student.config.num_hidden_layers,
        num_heads=student.config.num_attention_heads,
        hidden_size=student.config.hidden_size,
        model_type=student.config.model_type,
    )
    raw.unlink()
    told = {}
    for variant, tolerance in tolerances.items():
        announce(f"  {variant}")
        bundle = folder / variant
        model_file = folder / f"{variant}.onnx"
        quantize.build_variant(variant, fused, model_file, inputs)
        write_bundle(
            bundle,
            model_file=model_file,
            config=student.config,
            tokenizer=tokenizer,
            labels=models.label_names(student),
            max_length=max_length,
            takes_pairs=dev.pairs is not None,
            variant=variant,
            facts={"name": origin.name, "origin": dict(origin.origin), "versions": dict(origin.versions)},
        )
        model_file.unlink()
        told[variant] = _prove(bundle, reference, dev, test, metric, tolerance, origin)
    fused.unlink()
    return {"fused_nodes": nodes, "variants": told}


def calibration_rows(train: Split, *, seed: int, count: int = CALIBRATION_ROWS) -> Split:
    """Up to `count` rows, drawn by the seed: of each class as many, as far as they go; of a regression any."""
    order = np.random.default_rng(seed).permutation(len(train))
    if train.labels.dtype.kind == "f":
        return train.take(np.sort(order[:count]))
    classes = [order[train.labels[order] == label] for label in np.unique(train.labels)]
    in_turn = [rows[place] for place in range(len(order)) for rows in classes if place < len(rows)]
    return train.take(np.sort(in_turn[:count]))


def _calibration_inputs(
    calibration: Split | None, tokenizer: PreTrainedTokenizerBase, max_length: int, held_out: Sequence[Split]
) -> list[dict[str, np.ndarray]]:
    """The model's inputs of each row alone. Raises UserError where one of them stands in dev or test too."""
    if calibration is None:
        return []
    shared = set(calibration.rows()) & {row for split in held_out for row in split.rows()}
    if shared:
        raise UserError(
            f"calibration: {len(shared)} of its {len(calibration)} rows stand in dev or test too, the first "
            f"{min(shared)[0]!r}; ranges taken from them would flatter the figures; take others"
        )
    rows = encode_split(calibration, tokenizer, max_length=max_length).rows
    takes_types = "token_type_ids" in tokenizer.model_input_names
    found = []
    for row in rows:
        tokens = np.array([row["input_ids"]])
        types = (
            {"token_type_ids": np.array([row.get("token_type_ids") or [0] * tokens.shape[1]])} if takes_types else {}
        )
        found.append({"input_ids": tokens, "attention_mask": np.ones_like(tokens), **types})
    return found


def _prove(
    bundle: Path,
    reference: np.ndarray,
    dev: Split,
    test: Split | None,
    metric: metrics.Metric,
    tolerance: parity.Tolerance,
    origin: Origin,
) -> dict[str, Any]:
    """Hold the bundle against the torch logits on dev, and write into it what was found."""

    def scored(rows: Split, logits: np.ndarray) -> float:
        return metrics.score(metric, rows.labels, metrics.decide(logits), num_classes=logits.shape[1])

    classifier = Classifier(bundle)
    shift = parity.measure_batch_shift(classifier, dev.texts, dev.pairs)
    classifier.batch_invariant = shift <= parity.INVARIANT_PROBABILITY
    logits = classifier.logits(dev.texts, dev.pairs)
    found = parity.compare(
        logits, reference, metric=scored(dev, logits), torch_metric=scored(dev, reference), batch_shift=shift
    )
    scores = {"dev": found.metric}
    measured = {f"dev {metric}": found.metric, "dev rows": len(dev)}
    if test is not None:
        scores["test"] = scored(test, classifier.logits(test.texts, test.pairs))
        measured |= {f"test {metric}": scores["test"], "test rows": len(test)}
    finish_bundle(
        bundle,
        batch_invariant=classifier.batch_invariant,
        measured={
            **measured,
            **origin.measured,
            **({} if logits.shape[1] == 1 else {"label flips against torch on dev": found.num_label_flips}),
            "mean logit error / spread": found.logit_error,
        },
        golden=golden_examples(classifier, dev.texts[:NUM_GOLDEN], _first(dev.pairs)),
    )
    return {"parity": asdict(found), "failures": found.failures(tolerance), "scores": scores}


def _first(pairs: Sequence[str] | None) -> Sequence[str] | None:
    return None if pairs is None else pairs[:NUM_GOLDEN]
