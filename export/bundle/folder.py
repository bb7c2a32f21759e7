"""Writes bundles. A bundle is a folder with one variant of a model, its runtime, figures and origin."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TYPE_CHECKING, assert_never

from tokenizers import Tokenizer

from compress.common import escaping
from compress.common.errors import library_errors
from compress.common.files import files_in, sha256, write_json
from compress.common.wording import brief_list
from compress.data.metrics import metric_name
from export.bundle.bundle_json import (
    BundleInfo,
    BundleProof,
    GoldenExample,
    GoldenTerms,
    bundle_errors,
    read_bundle_info,
    write_bundle_info,
)
from export.bundle.consumer_files import other_programs, write_consumer_files
from export.bundle.listed_files import CARD, SIGNATURE, SUMS_FILE, check_files
from export.bundle.predict_file import predict_source
from export.card_metadata import Score, card_metadata

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

TEACHERS = "teacher's "  # begins the names of the teacher's figures


def write_bundle(
    folder: Path,
    info: BundleInfo,
    *,
    model_file: Path,
    config: "PretrainedConfig",
    tokenizer: "PreTrainedTokenizerBase",
) -> None:
    """Write a bundle that `runtime.Classifier` can load. `finish_bundle` later adds what was measured with it.

    The folder must not exist.
    """
    folder.mkdir(parents=True)
    (folder / "onnx").mkdir()
    shutil.copyfile(model_file, folder / "onnx" / "model.onnx")
    config.save_pretrained(folder)
    _write_tokenizer(folder, tokenizer, info)
    (folder / "predict.py").write_text(predict_source(), encoding="utf-8", newline="\n")
    write_bundle_info(info, folder)
    seal(folder)


def finish_bundle(
    folder: Path,
    *,
    batch_invariant: bool,
    measured: Mapping[str, int | float],
    golden: Sequence[GoldenExample],
    golden_terms: GoldenTerms | None = None,
    proof: BundleProof,
) -> None:
    """Add the figures, the golden examples, the model card and the checksums.

    `measured` goes into the model card and bundle.json; `proof` goes into bundle.json only.
    """
    info = replace(
        _checked_info(folder),
        batch_invariant=batch_invariant,
        measured=dict(measured),
        golden=list(golden),
        golden_terms=golden_terms,
        proof=proof,
    )
    write_consumer_files(folder, info)
    _write_info(folder, info)


def record_verdict(
    folder: Path,
    *,
    recommended: bool,
    measured: Mapping[str, int | float],
    digests: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Add the results of the benchmark to a bundle: whether it is recommended, and further figures.

    `digests`: of what the run was made from, in addition to those of the export.
    """
    info = replace(_checked_info(folder), recommended=recommended)
    _write_info(folder, replace(info, measured={**info.measured, **measured}, digests={**info.digests, **digests}))


def _checked_info(folder: Path) -> BundleInfo:
    """The settings of a bundle whose files are those that were written. Raises UserError."""
    with bundle_errors():
        check_files(folder)
    return read_bundle_info(folder)


def _write_info(folder: Path, info: BundleInfo) -> None:
    """Write bundle.json, the model card, and the checksums."""
    write_bundle_info(info, folder)
    model_bytes = (folder / "onnx" / "model.onnx").stat().st_size
    (folder / CARD).write_text(_model_card(info, model_bytes), encoding="utf-8", newline="\n")
    seal(folder)


def seal(folder: Path) -> None:
    """Write the checksums of all files in the folder."""
    (folder / SUMS_FILE).unlink(missing_ok=True)
    lines = [f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files_in(folder)]
    (folder / SUMS_FILE).write_text("".join(lines), encoding="utf-8", newline="\n")


def _write_tokenizer(folder: Path, tokenizer: "PreTrainedTokenizerBase", info: BundleInfo) -> None:
    with (
        TemporaryDirectory(dir=folder) as saved,
        library_errors("the tokenizer cannot be saved as tokenizer.json, which a bundle needs"),
    ):
        tokenizer.save_pretrained(saved)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.move(Path(saved) / name, folder / name)
    fast_tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    fast_tokenizer.no_padding()  # discard the settings of the last caller, which the file includes
    fast_tokenizer.no_truncation()
    fast_tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    settings: dict[str, object] = {"model_max_length": info.max_length}
    if info.truncation_side != "right":  # it may come from the discarded settings
        settings["truncation_side"] = info.truncation_side
    path = folder / "tokenizer_config.json"
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | settings)


def _description(info: BundleInfo) -> str:
    match info.task_type:
        case "classification":
            return f"A text classifier with {len(info.labels)} labels ({brief_list(info.labels)})"
        case "regression":
            return f"A text regressor ({', '.join(info.labels)}: the output of the model without an activation)"
    assert_never(info.task_type)


def _figure(value: float) -> str:
    """A figure with at most four significant digits. Counts are complete."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _metadata(info: BundleInfo) -> str:
    """The metadata of the model card, with the metric on each split that was scored."""
    scores = []
    if info.proof is not None:
        metric = info.proof.metric
        name = metric_name(metric, info.proof.positive)
        scores = [
            Score(split=split, metric=metric, name=name, value=info.measured[f"{split} {name}"])
            for split in info.dataset_splits
            if f"{split} {name}" in info.measured
        ]
    return card_metadata(
        info.name,
        tags=["pocketbert", "onnx", "onnxruntime", info.variant],
        base_models=info.base_models,
        dataset=info.dataset,
        scores=scores,
    )


def _rows_of_figures(info: BundleInfo, model_bytes: int) -> str:
    """The lines of the table: what was measured, the share of the teacher's score that is kept, and the size."""
    figures = {name: _figure(value) for name, value in info.measured.items()}
    for name, teacher_score in info.measured.items():
        score = info.measured.get(name.removeprefix(TEACHERS)) if name.startswith(TEACHERS) else None
        if score is not None and teacher_score > 0:
            figures[f"share of the {name}"] = f"{score / teacher_score:.1%}"
    figures["size of onnx/model.onnx"] = f"{model_bytes / 1e6:.1f} MB"
    return "\n".join(f"| {escaping.markdown(name, in_cell=True)} | {value} |" for name, value in figures.items())


def _model_card(info: BundleInfo, model_bytes: int) -> str:
    facts = [*info.origin.items(), *((f"sha256 of {name}", digest) for name, digest in info.digests.items())]
    origin = "\n".join(f"- {escaping.markdown(f'{name}: {value}')}" for name, value in facts)
    batches = (
        "The output for a text does not depend on the other texts in its batch."
        if info.batch_invariant
        else "The output for a text depends on the other texts in its batch, so `predict.py` runs texts one at a time."
    )
    machine = None if info.proof is None else info.proof.measured_on
    instructions = "" if machine is None else escaping.markdown(", ".join(machine.instructions), in_cell=True)
    measured_on = f"Measured on a processor with {instructions}. " if instructions else ""
    emulated = None if info.proof is None else info.proof.without_vnni
    shift = f", and a logit moves by up to {emulated.max_logit_shift:.2g}" if emulated and emulated.num_rows else ""
    saturation = (
        f"On x86-64 processors without VNNI, the int8 products of this model saturate{shift}. `predict.py` prevents "
        "this with the session option `session.x64quantprecision`; set it to 1 too if you load the model yourself."
        if info.saturates
        else "It does not saturate on processors without VNNI."
    )
    advice = "**This is the recommended variant.** " if info.recommended else ""
    cut = "" if info.truncation_side == "right" else " The end of a longer text is kept, not its beginning."
    oldest = info.requires.get("onnxruntime")
    onnxruntime = "onnxruntime" if oldest is None else escaping.shell_word(f"onnxruntime>={oldest}")
    example = (
        'python predict.py "first text" --pair "second text"' if info.takes_pairs else 'python predict.py "some text"'
    )
    return f"""{_metadata(info)}
# {escaping.markdown(f"{info.name} ({info.variant})")}

{advice}{escaping.markdown(_description(info))}, distilled and exported by PocketBERT.
Texts are truncated to {info.max_length} tokens.{cut} {batches}

## Use

```
pip install numpy {onnxruntime} tokenizers
{example}
python predict.py < lines.txt
```

It needs Python 3.10 or newer.
From Python, with this folder on `sys.path`: `from predict import Classifier; Classifier(".").predict(["some text"])`.

{other_programs(info)}

## Measured

| metric | value |
|---|---|
{_rows_of_figures(info, model_bytes)}

{measured_on}{saturation}
`pocketbert explain .` prints all measurements.

## Origin

{origin}

`sha256sum -c SHA256SUMS` detects damaged files. `predict.py` does the same, and refuses files that SHA256SUMS does not
list. It also repeats some of the golden examples of bundle.json, and `pocketbert verify` repeats all. None of this
proves who made the bundle: whoever changes a file can write new checksums. Only a signature proves that. If the bundle
has one, it is in `{SIGNATURE}`, and `pocketbert verify . --key public.pem` checks it with the key of the signer.
"""
