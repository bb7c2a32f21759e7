"""The bundle: a folder with one variant of a model and all it takes to run it, check it and know where it came from."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from compress.errors import UserError
from compress.files import files_in, sha256, write_json
from export import runtime
from export.manifest import FORMAT_VERSION, read_manifest

SUMS_FILE = "SHA256SUMS"
REGRESSION_SHIFT = 0.1


@dataclass(frozen=True, kw_only=True)
class Golden:
    """An example stored in the bundle, with what this very model gave it: each class's probability, or the value."""

    text: str
    pair: str | None
    probabilities: list[float]


def write_bundle(
    folder: Path,
    *,
    model_file: Path,
    config: PretrainedConfig,
    tokenizer: PreTrainedTokenizerBase,
    labels: Sequence[str],
    max_length: int,
    takes_pairs: bool,
    variant: str,
    saturates: bool,
    facts: Mapping[str, Any],
) -> None:
    """Write a bundle that `runtime.Classifier` can load. `facts` go into bundle.json as they are.

    `saturates`: whether its byte products would saturate on an x86-64 processor without VNNI. It runs texts one by one
    until `finish_bundle` says that it need not, and adds what was measured.
    """
    (folder / "onnx").mkdir(parents=True)
    shutil.copyfile(model_file, folder / "onnx" / "model.onnx")
    config.save_pretrained(folder)
    _write_tokenizer(folder, tokenizer, max_length)
    shutil.copyfile(runtime.__file__, folder / "predict.py")
    manifest = {
        "format_version": FORMAT_VERSION,
        "variant": variant,
        "labels": list(labels),
        "takes_pairs": takes_pairs,
        "limits": {"max_length": max_length},
        "pad_token_id": tokenizer.pad_token_id,
        "saturates": saturates,
        "batch_invariant": False,
        **facts,
    }
    write_json(folder / "bundle.json", manifest)


def finish_bundle(
    folder: Path,
    *,
    batch_invariant: bool,
    measured: Mapping[str, Any],
    golden: Sequence[Golden],
    proof: Mapping[str, Any],
) -> None:
    """Add figures and golden examples, then the model card and the check sums over all.

    `measured` goes into the card; `proof`, into bundle.json alone: parity with torch, and what it was measured on.
    """
    manifest = read_manifest(folder) | {
        "batch_invariant": batch_invariant,
        "measured": dict(measured),
        "golden": [vars(example) for example in golden],
        "proof": dict(proof),
    }
    _seal(folder, manifest)


def note_verdict(folder: Path, *, recommended: bool, measured: Mapping[str, Any]) -> None:
    """Add to a bundle what is known once it is timed: whether it is the one to take, and further figures."""
    manifest = read_manifest(folder)
    manifest |= {"recommended": recommended, "measured": {**manifest["measured"], **measured}}
    _seal(folder, manifest)


def _seal(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write bundle.json, the model card of it, and the check sums over all files."""
    write_json(folder / "bundle.json", manifest)
    (folder / "README.md").write_text(_model_card(manifest), encoding="utf-8")
    (folder / SUMS_FILE).unlink(missing_ok=True)
    lines = [f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files_in(folder)]
    (folder / SUMS_FILE).write_text("".join(lines), encoding="utf-8")


def golden_examples(
    classifier: runtime.Classifier, texts: Sequence[str], pairs: Sequence[str] | None = None
) -> list[Golden]:
    """What the bundle's own model answers for the given texts."""
    probabilities = runtime.probabilities(classifier.logits(texts, pairs))
    return [
        Golden(text=text, pair=pair, probabilities=[round(float(value), 6) for value in row])
        for text, pair, row in zip(texts, pairs or repeat(None), probabilities, strict=False)
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
    manifest = read_manifest(folder)
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
    golden = [Golden(**example) for example in manifest.get("golden", [])]
    try:
        classifier = runtime.Classifier(folder)
        pairs = [example.pair or "" for example in golden] if manifest["takes_pairs"] else None
        found = runtime.probabilities(classifier.logits([example.text for example in golden], pairs))
    except runtime.BundleError as error:
        raise UserError(str(error)) from error
    stored = np.array([example.probabilities for example in golden]).reshape(found.shape)
    moved = np.abs(found - stored)
    if found.shape[1] == 1:
        changed = moved[:, 0] > REGRESSION_SHIFT * np.ptp(stored)
    else:
        changed = found.argmax(axis=1) != stored.argmax(axis=1)
    return Verified(
        num_files=len(sums),
        num_golden=len(golden),
        largest_difference=float(moved.max(initial=0.0)),
        num_changed=int(changed.sum()),
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


def _model_card(manifest: Mapping[str, Any]) -> str:
    figures = "\n".join(f"| {name} | {value} |" for name, value in manifest["measured"].items())
    origin = "\n".join(f"- {name}: {value}" for name, value in manifest.get("origin", {}).items())
    batches = (
        "A text's answer does not depend on the texts beside it in a batch."
        if manifest["batch_invariant"]
        else "A text's answer depends on the texts beside it in a batch; `predict.py` runs texts one by one."
    )
    measured_on = manifest["proof"]["measured_on"].get("instructions") or []
    taken_on = f"Taken on a processor with {', '.join(measured_on)}. " if measured_on else ""
    elsewhere = (
        "On x86-64 processors without VNNI its byte products would saturate: there `predict.py` sets the session "
        "option `session.x64quantprecision`, which prevents it; so do where you load the model yourself."
        if manifest["saturates"]
        else "Nothing in it saturates on processors without VNNI."
    )
    advice = "**This is the one that its maker recommends.** " if manifest.get("recommended") else ""
    labels = manifest["labels"]
    kind = f"A text classifier ({', '.join(labels)})" if len(labels) > 1 else f"A text regressor ({labels[0]})"
    example = (
        'python predict.py "first text" --pair "second text"'
        if manifest["takes_pairs"]
        else 'python predict.py "some text"'
    )
    return f"""# {manifest.get("name", "PocketBERT bundle")} ({manifest["variant"]})

{advice}{kind}, distilled and exported by PocketBERT.
Texts are cut to {manifest["limits"]["max_length"]} tokens. {batches}

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
