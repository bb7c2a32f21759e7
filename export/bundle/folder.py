"""The bundle: a folder with one variant of a model and all it takes to run it, check it and know where it came from."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import assert_never

import numpy as np
from tokenizers import Tokenizer
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from compress.common.errors import UserError
from compress.common.files import files_in, sha256, write_json
from compress.data.task_types import task_type
from export.bundle import runtime
from export.bundle.bundle_json import BundleInfo, BundleProof, Golden, read_bundle_info, write_bundle_info

SUMS_FILE = "SHA256SUMS"


def write_bundle(
    folder: Path,
    info: BundleInfo,
    *,
    model_file: Path,
    config: PretrainedConfig,
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    """Write a bundle that `runtime.Classifier` can load; `finish_bundle` adds what is measured with it."""
    (folder / "onnx").mkdir(parents=True)
    shutil.copyfile(model_file, folder / "onnx" / "model.onnx")
    config.save_pretrained(folder)
    _write_tokenizer(folder, tokenizer, info.max_length)
    shutil.copyfile(runtime.__file__, folder / "predict.py")
    write_bundle_info(info, folder)


def finish_bundle(
    folder: Path,
    *,
    batch_invariant: bool,
    measured: Mapping[str, int | float],
    golden: Sequence[Golden],
    proof: BundleProof,
) -> None:
    """Add figures and golden examples, then the model card and the check sums over all.

    `measured` goes into the card; `proof`, into bundle.json alone.
    """
    info = replace(
        read_bundle_info(folder),
        batch_invariant=batch_invariant,
        measured=dict(measured),
        golden=list(golden),
        proof=proof,
    )
    _seal(folder, info)


def record_verdict(folder: Path, *, recommended: bool, measured: Mapping[str, int | float]) -> None:
    """Add to a bundle what is known once it is timed: whether it is the one to take, and further figures."""
    info = read_bundle_info(folder)
    _seal(folder, replace(info, recommended=recommended, measured={**info.measured, **measured}))


def _seal(folder: Path, info: BundleInfo) -> None:
    """Write bundle.json, its model card, and the check sums over all files."""
    write_bundle_info(info, folder)
    (folder / "README.md").write_text(_model_card(info), encoding="utf-8")
    (folder / SUMS_FILE).unlink(missing_ok=True)
    lines = [f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files_in(folder)]
    (folder / SUMS_FILE).write_text("".join(lines), encoding="utf-8")


def golden_examples(
    classifier: runtime.Classifier, texts: Sequence[str], pairs: Sequence[str] | None = None
) -> list[Golden]:
    """What the bundle's own model answers for the given texts."""
    answers = classifier.answers(classifier.logits(texts, pairs))
    return [
        Golden(text=text, pair=pair, probabilities=[round(float(value), 6) for value in row])
        for text, pair, row in zip(texts, pairs or repeat(None), answers, strict=False)
    ]


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What `verify_bundle` checked, against the stored golden examples.

    `largest_difference`: of a probability, or of a regression's value. `num_changed`: examples with another label; of
    a regression, with a value that moved by more than a tenth of the stored values' range.
    """

    num_files: int
    num_golden: int
    largest_difference: float
    num_changed: int


def verify_bundle(folder: Path) -> Verified:
    """Hash every file and replay the golden examples. Raises UserError at the first file that is not as written."""
    info = read_bundle_info(folder)
    try:
        sums = dict(line.split("  ", 1)[::-1] for line in (folder / SUMS_FILE).read_text("utf-8").splitlines())
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: {SUMS_FILE} cannot be read ({error}); the bundle is not whole") from error
    for name, expected in sums.items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path}: the file is missing; {SUMS_FILE} lists it; copy the bundle again")
        if sha256(path) != expected:
            raise UserError(f"{path}: changed since the bundle was written (its sha256 differs); copy the bundle again")
    golden = info.golden
    try:
        classifier = runtime.Classifier(folder)
        pairs = [example.pair or "" for example in golden] if info.takes_pairs else None
        answers = classifier.answers(classifier.logits([example.text for example in golden], pairs))
    except runtime.BundleError as error:
        raise UserError(str(error)) from error
    stored = np.array([example.probabilities for example in golden]).reshape(answers.shape)
    return Verified(
        num_files=len(sums),
        num_golden=len(golden),
        largest_difference=float(np.abs(answers - stored).max(initial=0.0)),
        num_changed=int(task_type(info.task_type).noticeably_changed(answers, stored).sum()),
    )


def _write_tokenizer(folder: Path, tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
    tokenizer.save_pretrained(folder)
    for path in folder.iterdir():
        if path.is_file() and path.name not in ("config.json", "tokenizer.json", "tokenizer_config.json"):
            path.unlink()
    plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
    plain.no_padding()  # what the last caller set is not part of the tokenizer
    plain.no_truncation()
    plain.save(str(folder / "tokenizer.json"), pretty=False)
    path = folder / "tokenizer_config.json"
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | {"model_max_length": max_length})


def _what_it_is(info: BundleInfo) -> str:
    match info.task_type:
        case "classification":
            return f"A text classifier ({', '.join(info.labels)})"
        case "regression":
            return f"A text regressor ({', '.join(info.labels)})"
    assert_never(info.task_type)


def _model_card(info: BundleInfo) -> str:
    figures = "\n".join(f"| {name} | {value} |" for name, value in info.measured.items())
    origin = "\n".join(f"- {name}: {value}" for name, value in info.origin.items())
    batches = (
        "A text's answer does not depend on the texts beside it in a batch."
        if info.batch_invariant
        else "A text's answer depends on the texts beside it in a batch; `predict.py` runs texts one by one."
    )
    machine = None if info.proof is None else info.proof.measured_on
    taken_on = (
        f"Taken on a processor with {', '.join(machine.instructions)}. " if machine and machine.instructions else ""
    )
    elsewhere = (
        "On x86-64 processors without VNNI its byte products would saturate: there `predict.py` sets the session "
        "option `session.x64quantprecision`, which prevents it; so do where you load the model yourself."
        if info.saturates
        else "Nothing in it saturates on processors without VNNI."
    )
    advice = "**This is the one that its maker recommends.** " if info.recommended else ""
    example = (
        'python predict.py "first text" --pair "second text"' if info.takes_pairs else 'python predict.py "some text"'
    )
    return f"""# {info.name} ({info.variant})

{advice}{_what_it_is(info)}, distilled and exported by PocketBERT.
Texts are cut to {info.max_length} tokens. {batches}

## Use

```
pip install numpy onnxruntime tokenizers
{example}
python predict.py < lines.txt
```

From Python, with this folder on the path: `from predict import Classifier; Classifier(".").predict(["some text"])`.
The folder also loads in `optimum.onnxruntime.ORTModelForSequenceClassification` (file `onnx/model.onnx`).

## Measured

| what | figure |
|---|---|
{figures}

{taken_on}{elsewhere}
`pocketbert export . --explain` tells all that was measured.

## Where it came from

{origin}

`sha256sum -c SHA256SUMS` checks the files; `pocketbert verify` also replays the golden examples of bundle.json.
"""
