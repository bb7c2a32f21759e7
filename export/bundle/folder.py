"""Writes and verifies bundles. A bundle is a folder with one variant of a model, its runtime, figures and origin."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

import numpy as np
from tokenizers import Tokenizer

from compress.common.errors import UserError, library_errors
from compress.common.files import files_in, sha256, write_json
from compress.common.wording import brief_list, printable
from compress.data.task_types import task_type
from export.bundle import runtime
from export.bundle.bundle_json import BundleInfo, BundleProof, GoldenExample, read_bundle_info, write_bundle_info
from export.bundle.consumer_files import other_programs, write_consumer_files

if TYPE_CHECKING:  # so that a bundle can be verified without transformers
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

SUMS_FILE = "SHA256SUMS"


def write_bundle(
    folder: Path,
    info: BundleInfo,
    *,
    model_file: Path,
    config: "PretrainedConfig",
    tokenizer: "PreTrainedTokenizerBase",
) -> None:
    """Write a bundle that `runtime.Classifier` can load. `finish_bundle` later adds what was measured with it."""
    (folder / "onnx").mkdir(parents=True)
    shutil.copyfile(model_file, folder / "onnx" / "model.onnx")
    config.save_pretrained(folder)
    _write_tokenizer(folder, tokenizer, info)
    shutil.copyfile(runtime.__file__, folder / "predict.py")
    write_bundle_info(info, folder)


def finish_bundle(
    folder: Path,
    *,
    batch_invariant: bool,
    measured: Mapping[str, int | float],
    golden: Sequence[GoldenExample],
    proof: BundleProof,
) -> None:
    """Add the figures, the golden examples, the model card and the checksums.

    `measured` goes into the model card and bundle.json; `proof` goes into bundle.json only.
    """
    info = replace(
        read_bundle_info(folder),
        batch_invariant=batch_invariant,
        measured=dict(measured),
        golden=list(golden),
        proof=proof,
    )
    write_consumer_files(folder, info)
    _seal(folder, info)


def record_verdict(folder: Path, *, recommended: bool, measured: Mapping[str, int | float]) -> None:
    """Add the results of the benchmark to a bundle: whether it is recommended, and further figures."""
    info = read_bundle_info(folder)
    _seal(folder, replace(info, recommended=recommended, measured={**info.measured, **measured}))


def _seal(folder: Path, info: BundleInfo) -> None:
    """Write bundle.json, the model card, and the checksums of all files."""
    write_bundle_info(info, folder)
    (folder / "README.md").write_text(_model_card(info), encoding="utf-8")
    (folder / SUMS_FILE).unlink(missing_ok=True)
    lines = [f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files_in(folder)]
    (folder / SUMS_FILE).write_text("".join(lines), encoding="utf-8")


def golden_examples(
    classifier: runtime.Classifier, texts: Sequence[str], pairs: Sequence[str] | None = None
) -> list[GoldenExample]:
    """The texts with the outputs of the bundle's own model."""
    outputs = classifier.answers(classifier.logits(texts, pairs))
    return [
        GoldenExample(text=text, pair=pair, probabilities=[round(float(value), 6) for value in row])
        for text, pair, row in zip(texts, pairs or repeat(None), outputs, strict=False)
    ]


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The result of `verify_bundle`: actual outputs compared with the stored golden examples.

    `largest_difference`: of a probability, or of a regression's value. `num_changed`: number of examples with a
    different label. A regression's value counts as changed if it moved by more than a tenth of the range of the stored
    values.
    """

    num_files: int
    num_golden: int
    largest_difference: float
    num_changed: int


@contextmanager
def bundle_errors() -> Iterator[None]:
    """Report errors of `runtime` about a bundle as UserError. `runtime` imports nothing of ours."""
    try:
        yield
    except runtime.BundleError as error:
        raise UserError(str(error)) from error


def verify_bundle(folder: Path) -> Verification:
    """Check every file's hash and run the golden examples. Raises UserError for the first missing or changed file."""
    info = read_bundle_info(folder)
    try:
        checksums = dict(line.split("  ", 1)[::-1] for line in (folder / SUMS_FILE).read_text("utf-8").splitlines())
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: {SUMS_FILE} cannot be read ({error}); the bundle is incomplete") from error
    for name, expected in checksums.items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path}: the file is missing, but {SUMS_FILE} lists it; copy the bundle again")
        if sha256(path) != expected:
            raise UserError(f"{path}: changed since the bundle was written (SHA-256 differs); copy the bundle again")
    golden = info.golden
    with bundle_errors():
        classifier = runtime.Classifier(folder)
        pairs = [example.pair or "" for example in golden] if info.takes_pairs else None
        outputs = classifier.answers(classifier.logits([example.text for example in golden], pairs))
    stored = np.array([example.probabilities for example in golden]).reshape(outputs.shape)
    return Verification(
        num_files=len(checksums),
        num_golden=len(golden),
        largest_difference=float(np.abs(outputs - stored).max(initial=0.0)),
        num_changed=int(task_type(info.task_type).noticeably_changed(outputs, stored).sum()),
    )


def _write_tokenizer(folder: Path, tokenizer: "PreTrainedTokenizerBase", info: BundleInfo) -> None:
    with library_errors("the tokenizer cannot be saved as tokenizer.json, which a bundle needs"):
        tokenizer.save_pretrained(folder)
    for path in folder.iterdir():
        if path.is_file() and path.name not in ("config.json", "tokenizer.json", "tokenizer_config.json"):
            path.unlink()
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


def _model_card(info: BundleInfo) -> str:
    figures = "\n".join(f"| {name} | {_figure(value)} |" for name, value in info.measured.items())
    origin = "\n".join(f"- {name}: {printable(value)}" for name, value in info.origin.items())
    batches = (
        "The output for a text does not depend on the other texts in its batch."
        if info.batch_invariant
        else "The output for a text depends on the other texts in its batch, so `predict.py` runs texts one at a time."
    )
    machine = None if info.proof is None else info.proof.measured_on
    measured_on = (
        f"Measured on a processor with {', '.join(machine.instructions)}. " if machine and machine.instructions else ""
    )
    saturation = (
        "On x86-64 processors without VNNI, the int8 products of this model would saturate. `predict.py` prevents this "
        "with the session option `session.x64quantprecision`; set it too if you load the model yourself."
        if info.saturates
        else "It does not saturate on processors without VNNI."
    )
    advice = "**This is the recommended variant.** " if info.recommended else ""
    cut = "" if info.truncation_side == "right" else " The end of a longer text is kept, not its beginning."
    oldest = info.requires.get("onnxruntime")
    onnxruntime = "onnxruntime" if oldest is None else f"'onnxruntime>={oldest}'"
    example = (
        'python predict.py "first text" --pair "second text"' if info.takes_pairs else 'python predict.py "some text"'
    )
    return f"""# {info.name} ({info.variant})

{advice}{_description(info)}, distilled and exported by PocketBERT.
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
{figures}

{measured_on}{saturation}
`pocketbert explain .` prints all measurements.

## Origin

{origin}

`sha256sum -c SHA256SUMS` checks the files; `pocketbert verify` also runs the golden examples of bundle.json.
"""
