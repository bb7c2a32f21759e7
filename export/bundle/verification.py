"""Verifies a bundle: its files, the parts that must fit each other, and its golden examples."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from compress.common.wording import short_name
from compress.data.task_types import task_type
from export.bundle.bundle_json import (
    NUM_GOLDEN,
    BundleInfo,
    GoldenExample,
    GoldenTerms,
    bundle_errors,
    read_bundle_info,
)
from export.bundle.listed_files import COPY_AGAIN, BundleError, check_files, read_sums
from export.bundle.runtime import Classifier
from export.bundle.settings import read_json_object

DEFAULT_LABELS = {"0": "LABEL_0", "1": "LABEL_1"}  # of a config.json that names none


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The result of `verify_bundle`: actual outputs compared with the stored golden examples.

    `largest_difference`: of a probability, or of a regression's value. `num_changed`: number of examples with a
    different label. A regression's value counts as changed if it moved by more than a tenth of the range of the stored
    values. Logits within the bundle's tolerance are no change. `failures`: the reasons why the bundle is not usable
    here; empty if it is. `warnings`: what the checks leave open.
    """

    num_files: int
    num_golden: int
    largest_difference: float
    num_changed: int
    failures: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def verify_bundle(folder: Path) -> Verification:
    """Check the files of a bundle and repeat its golden examples.

    Raises UserError for the first missing, extra or changed file, and for parts that do not fit each other.
    """
    info = read_bundle_info(folder)
    with bundle_errors():
        warnings = check_files(folder)
        num_files = len(read_sums(folder))
        config = read_json_object(folder / "config.json")
        if info.golden_terms is not None:
            _check_labels(folder / "config.json", config, info)
        classifier = Classifier(folder, golden_check=False)  # all golden examples are repeated below
        _check_vocabulary(classifier, config)
        _check_golden(folder, info)
        golden = info.golden
        pairs = [example.pair or "" for example in golden] if info.takes_pairs else None
        logits = classifier.logits([example.text for example in golden], pairs)
    answers = classifier.answers(logits)
    stored = np.array([example.probabilities for example in golden])
    is_changed = task_type(info.task_type).noticeably_changed(answers, stored)
    if info.golden_terms is None:
        failures = [f"{int(is_changed.sum())} of {len(golden)} golden examples have other predictions"]
        failures = failures if is_changed.any() else []
        warnings.append(
            f"{folder}: PocketBERT 0.5.0 or older wrote this bundle; its golden examples reveal changed predictions, "
            "but not the model of another variant and not renamed labels; export it again"
        )
    else:
        stored_logits = np.array([example.logits for example in golden])
        differences = np.maximum(np.abs(logits - stored_logits), np.abs(answers - stored)).max(axis=1)
        is_changed &= differences > info.golden_terms.logit_tolerance
        failures = _logit_failures(golden, differences, info.golden_terms)
    return Verification(
        num_files=num_files,
        num_golden=len(golden),
        largest_difference=float(np.abs(answers - stored).max()),
        num_changed=int(is_changed.sum()),
        failures=[f"{folder}: {failure}; {_advice(info)}" for failure in failures],
        warnings=warnings,
    )


def _check_labels(path: Path, config: Mapping[str, Any], info: BundleInfo) -> None:
    names = config.get("id2label", DEFAULT_LABELS)
    if names != {str(index): label for index, label in enumerate(info.labels)}:
        raise BundleError(f"{path}: names other labels than bundle.json, or in another order; {COPY_AGAIN}")


def _check_vocabulary(classifier: Classifier, config: Mapping[str, Any]) -> None:
    """Raise BundleError if the tokenizer has ids for which the model has no embedding."""
    largest_id = max(classifier.tokenizer.get_vocab(with_added_tokens=True).values())
    size = config.get("vocab_size")
    if type(size) is int and classifier.vocabulary_size not in (None, size):
        raise BundleError(
            f"{classifier.folder}: config.json has {size} tokens, bundle.json another number; {COPY_AGAIN}"
        )
    if type(size) is int and largest_id >= size:
        raise BundleError(
            f"{classifier.folder}: tokenizer.json has token ids up to {largest_id}, but the model only {size} tokens; "
            f"{COPY_AGAIN}"
        )
    tokens = {"input_ids": largest_id, "attention_mask": 1, "token_type_ids": 0}
    classifier.forward({name: np.full((1, 1), tokens[name], dtype=np.int64) for name in classifier.input_names})


def _check_golden(folder: Path, info: BundleInfo) -> None:
    """Raise BundleError if the golden examples are missing or are those of another bundle."""
    if not info.golden:
        raise BundleError(f"{folder}: bundle.json has no golden examples; {COPY_AGAIN}")
    terms, num_labels = info.golden_terms, len(info.labels)
    for number, example in enumerate(info.golden):
        num_logits = num_labels if terms is not None else len(example.logits)
        if (len(example.probabilities), len(example.logits)) != (num_labels, num_logits):
            raise BundleError(
                f"{folder}: golden.{number}: expected as many values as labels, {num_labels}; {COPY_AGAIN}"
            )
        if (example.pair is not None) != info.takes_pairs:
            expected = "two texts" if info.takes_pairs else "one text"
            raise BundleError(f"{folder}: golden.{number}: expected {expected}; {COPY_AGAIN}")
    if terms is None and info.vocabulary_size is not None:
        raise BundleError(f"{folder}: bundle.json has golden examples without golden_terms; {COPY_AGAIN}")
    if terms is None:
        return
    if len(info.golden) < NUM_GOLDEN:
        raise BundleError(
            f"{folder}: bundle.json has {len(info.golden)} golden examples; expected {NUM_GOLDEN} or more; {COPY_AGAIN}"
        )
    if terms.labels != info.labels:
        raise BundleError(
            f"{folder}: bundle.json names other labels than its golden examples, or in another order; {COPY_AGAIN}"
        )


def _logit_failures(golden: list[GoldenExample], differences: np.ndarray, terms: GoldenTerms) -> list[str]:
    """The failure of the golden example whose logits differ most, if they exceed the tolerance."""
    worst = int(differences.argmax())
    if differences[worst] <= terms.logit_tolerance:
        return []
    return [
        f"golden example {worst} ({short_name(golden[worst].text)}): a logit differs by {differences[worst]:.4g}; "
        f"rounding explains at most {terms.logit_tolerance:.4g}"
    ]


def _advice(info: BundleInfo) -> str:
    written_by = info.versions.get("onnxruntime") or info.versions.get("onnxruntime-gpu") or "unknown"
    return (
        f"the files are as written, so onnxruntime {onnxruntime.__version__} (the bundle: {written_by}) or this "
        "processor computes differently; try another version, or the variant fp32"
    )
