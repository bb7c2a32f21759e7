"""`pocketbert export`: a fine-tuned Hugging Face folder to proved bundles, without a recipe."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from rich.console import Console

from bench import machine
from compress import locations, models
from compress.architectures import WITH_CARRIED_WEIGHTS
from compress.errors import UserError
from compress.files import size_bytes
from compress.metrics import Metric, is_regression
from compress.tasks import REGRESSION_OUTPUT, read_split
from export.candidates import Origin, build_candidates, calibration_rows
from export.parity import DEFAULT_TOLERANCES
from export.quantize import CALIBRATED, VARIANTS
from pocketbert.preflight import read_encoder

DEFAULT_MAX_LENGTH = 128


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
    output: Path,
    console: Console,
) -> dict[str, Any]:
    """Bundles of a fine-tuned BERT under output/VARIANT; returns parity by variant, and the folder of each that passed.

    `variants`: by default all, without `calibration` those that need none. `max_length`: by default 128 tokens, or as
    many as the model takes. `data`: a labelled table on which every variant must agree with torch; `calibration`:
    another one, whose rows the ranges of activations are taken from. Nothing that exists is overwritten.
    """
    possible = [variant for variant in VARIANTS if calibration is not None or variant not in CALIBRATED]
    chosen = [_one_of(VARIANTS, name, "--variant") for name in variants or possible]
    if unfit := [variant for variant in chosen if variant not in possible]:
        raise UserError(
            f"--variant {unfit[0]}: needs --calibration, a table with other rows than --data (of train, say)"
        )
    scored_by: Metric = _one_of(get_args(Metric), metric, "--metric")
    encoder = read_encoder(model)
    if encoder.kind not in WITH_CARRIED_WEIGHTS or encoder.activation != "gelu":
        raise UserError(
            f"{model}: got a {encoder.kind} with {encoder.activation}; expected one of "
            f"{', '.join(WITH_CARRIED_WEIGHTS)} with gelu, whose graph can be fused whole"
        )
    max_length = max_length or min(DEFAULT_MAX_LENGTH, encoder.max_tokens)
    if max_length > encoder.max_tokens:
        raise UserError(f"--max-length {max_length}: {model} has positions for {encoder.max_tokens} tokens")
    for variant in chosen:
        if (output / variant).exists():
            raise UserError(f"{output / variant}: is there already; remove it or choose another --output")
    names = locations.label_names(model)
    if is_regression(scored_by) != (len(names) == 1):
        wanted = "one output" if is_regression(scored_by) else "two or more"
        raise UserError(f"{model}: has {len(names)} outputs; --metric {metric} expects {wanted}")
    labels = (REGRESSION_OUTPUT,) if len(names) == 1 else names
    split = read_split(data, text=text, label=label, labels=labels)
    others = None if calibration is None else read_split(calibration, text=text, label=label, labels=labels)
    classifier = models.load_classifier(model)
    work = output / ".partial"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        found = build_candidates(
            classifier,
            models.load_tokenizer(model),
            work,
            dev=split,
            test=None,
            calibration=None if others is None else calibration_rows(others, seed=0),
            max_length=max_length,
            metric=scored_by,
            tolerances={variant: DEFAULT_TOLERANCES[variant] for variant in chosen},
            origin=Origin(
                name=Path(model).name,
                origin={"model": model, "data": str(data)},
                versions=machine.package_versions(),
                measured={},
            ),
            announce=console.print,
        )
        for variant, facts in found["variants"].items():
            facts["bundle"] = None
            if not facts["failures"]:
                (work / variant).rename(output / variant)
                facts["bundle"] = str(output / variant)
                facts["size_bytes"] = size_bytes(output / variant)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return {"metric": metric, **found}


def _one_of(choices: Sequence[Any], name: str, option: str) -> Any:
    if name not in choices:
        raise UserError(f"{option} {name}: expected one of {', '.join(choices)}")
    return name
