"""Damaged, extended and mixed-up bundles: `verify_bundle` and the runtime refuse them with one line."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from compress.common.errors import UserError
from compress.data.columns import Split
from export.bundle.bundle_json import NUM_GOLDEN, read_bundle_info
from export.bundle.folder import record_verdict, seal
from export.bundle.golden import UNUSUAL_TEXTS, golden_texts
from export.bundle.listed_files import BundleError
from export.bundle.runtime import Classifier
from export.bundle.verification import verify_bundle
from pocketbert.cli import app
from tiny_bert import LABELS
from tiny_bundles import build_pair_bundle

DELETED = object()
ZEROS = b"0" * 64


@pytest.fixture
def bundle(original, tmp_path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(original, tmp_path / "bundle")


def refusals(folder: Path) -> tuple[str, str]:
    """The messages of `verify` and of the runtime, one line each; empty if the bundle is accepted."""
    messages = []
    for use in (verify_bundle, lambda path: Classifier(path, num_threads=1).predict(["fine"])):
        try:
            result = use(folder)
            message = "\n".join(getattr(result, "failures", []))
        except (UserError, BundleError) as error:
            message = str(error)
        assert "\n" not in message
        messages.append(message)
    return messages[0], messages[1]


def change_json(folder: Path, change: Callable[[dict], object], name: str = "bundle.json") -> None:
    """Change a JSON file of a bundle, and write new checksums."""
    content = json.loads((folder / name).read_text(encoding="utf-8"))
    change(content)
    content = {key: value for key, value in content.items() if value is not DELETED}
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
    seal(folder)


# -- the files


def add(name: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("raise SystemExit('imported')")

    return write


def pipe(name: str) -> Callable[[Path], None]:
    def replace(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return replace


def link_outside(folder: Path) -> None:
    outside = shutil.move(folder / "config.json", folder.parent / "outside.json")
    (folder / "config.json").symlink_to(outside)


def link_folder(folder: Path) -> None:
    outside = shutil.move(folder / "onnx", folder.parent / "outside")
    (folder / "onnx").symlink_to(outside)


@pytest.mark.parametrize(
    "change",
    [
        *map(add, ("numpy.py", "json.pyc", "numpy/__init__.py", "onnx/numpy.cpython-311-x86_64-linux-gnu.so", "a.pth",
                   "onnx/model.onnx.data", "vocab.txt", "predict.PY", "lib.zip", "bundle.json.orig")),
        lambda folder: (folder / "numpy").mkdir(),
        *map(pipe, ("bundle.json", "SHA256SUMS", "tokenizer.json", "onnx/model.onnx", "README.md", "extra")),
        lambda folder: (folder / "extra").symlink_to("/etc/passwd"),
        link_outside,
        link_folder,
    ],
)  # fmt: skip
def test_an_extra_or_irregular_file_is_refused(bundle, change):
    change(bundle)
    assert all(refusals(bundle)), "a damaged bundle was accepted"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: b"", "the last line is incomplete"),
        (lambda content: b"\n", "line 1: got ''"),
        (lambda content: content[:-1], "the last line is incomplete"),
        (lambda content: content.replace(b"\n", b"\r\n"), "ends like a line of Windows"),
        (lambda content: b"\xef\xbb\xbf" + content, "line 1"),
        (lambda content: content[:64].upper() + content[64:], "lower-case hexadecimal digits"),
        (lambda content: content + content, "lists README.md twice"),
        (lambda content: content + ZEROS + b"  readme.md\n", "lists readme.md twice"),
        (lambda content: content + ZEROS + b"  ../../etc/passwd\n", "a file inside the bundle"),
        (lambda content: content + ZEROS + b"  /etc/passwd\n", "a file inside the bundle"),
        (lambda content: content + ZEROS + b"  onnx/./model.onnx\n", "a file inside the bundle"),
        (lambda content: content.replace(b"onnx/", b"onnx\\"), "a file inside the bundle"),
        (lambda content: content + ZEROS + b"  onnx\n", "not a regular file"),
        (lambda content: content + ZEROS + b"  nothing\n", "the file is missing, but SHA256SUMS lists it"),
        (lambda content: content + b"\xe9\n", "SHA256SUMS cannot be read"),
        (lambda content: content * 10_000, "larger than"),
    ],
)
def test_a_malformed_list_of_files_is_refused(bundle, change, message):
    sums = bundle / "SHA256SUMS"
    sums.write_bytes(change(sums.read_bytes()))
    assert all(message in line for line in refusals(bundle))


def test_what_hubs_and_python_add_is_a_warning(bundle, capsys):
    for name in (".gitattributes", ".cache/huggingface/download/a.lock", "__pycache__/predict.cpython-311.pyc"):
        add(name)(bundle)
    (bundle / "README.md").write_text("---\nlicense: mit\n---\n")
    assert refusals(bundle) == ("", "")
    warnings = verify_bundle(bundle).warnings
    assert [warning.partition(":")[0].rpartition("/")[2] for warning in warnings] == [
        ".cache", ".gitattributes", "__pycache__", "README.md",
    ]  # fmt: skip
    assert app.main(["verify", str(bundle)]) == 0
    assert capsys.readouterr().out.count("warning: ") == 4
    (bundle / "README.md").unlink()
    assert refusals(bundle) == ("", "")


def test_a_snapshot_in_the_cache_of_a_hub_is_accepted(bundle, tmp_path):
    """The cache of huggingface_hub links every file to ../../blobs."""
    model = tmp_path / "models--user--name"
    snapshot = shutil.copytree(bundle, model / "snapshots" / "abc")
    (model / "blobs").mkdir()
    paths = [path for path in snapshot.rglob("*") if path.is_file()]
    for number, path in enumerate(paths):
        path.rename(model / "blobs" / str(number))
        path.symlink_to(os.path.relpath(model / "blobs" / str(number), path.parent))
    assert len(paths) == 12 and refusals(snapshot) == ("", "")
    (model / "blobs" / "0").write_bytes((model / "blobs" / "0").read_bytes() + b" ")
    assert paths[0].name == "README.md" or all(refusals(snapshot))


def test_every_flipped_bit_is_refused(bundle):
    """Those of README.md, which may be edited, excepted."""
    generator = random.Random(0)
    names = ["onnx/model.onnx", "bundle.json", "tokenizer.json", "tokenizer_config.json", "config.json", "predict.py"]
    for number in range(60):
        path = bundle / names[number % len(names)]
        content = bytearray(path.read_bytes())
        content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        intact = path.read_bytes()
        path.write_bytes(content)
        assert all(refusals(bundle)), path.name
        path.write_bytes(intact)
    assert refusals(bundle) == ("", "")


def test_a_stray_file_is_not_sealed_with_the_verdict(bundle):
    add("numpy.py")(bundle)
    with pytest.raises(UserError, match=r"numpy\.py: SHA256SUMS does not list it"):
        record_verdict(bundle, recommended=True, measured={})


# -- parts that do not fit each other


def swap_labels(content: dict) -> None:
    content["labels"].reverse()


def shift_logits(content: dict) -> None:
    for example in content["golden"]:
        example["logits"] = [value + 0.01 for value in example["logits"]]


def swap_probabilities(content: dict) -> None:
    for example in content["golden"]:
        example["probabilities"].reverse()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (swap_labels, "other labels than bundle.json"),
        (lambda content: content.update(labels=["good", "bad"]), "other labels than bundle.json"),
        (lambda content: content.update(labels=content["labels"][:1]), "labels"),
        (lambda content: content.update(golden=[]), "no golden examples"),
        (lambda content: content.update(golden=DELETED), "no golden examples"),
        (lambda content: content.update(golden=content["golden"][:-1]), "expected 16 or more"),
        (lambda content: content.update(golden_terms=DELETED), "without golden_terms"),
        (lambda content: content["golden"][0].update(logits=[]), "golden.0: expected as many values as labels, 2"),
        (lambda content: content["golden"][0].update(logits=[float("nan")] * 2), "golden.0.logits.0"),
        (lambda content: content["golden"][0].update(pair="x"), "golden.0: expected one text"),
        (shift_logits, "a logit differs by 0.01"),
        (swap_probabilities, "a logit differs by"),
        (lambda content: content["golden_terms"].update(logit_tolerance=float("inf")), "logit_tolerance"),
        (lambda content: content["golden_terms"].update(logit_tolerance=1e6), "logit_tolerance"),
        (lambda content: content["golden_terms"].update(model_sha256="0" * 64), "another model"),
        (lambda content: content.update(vocabulary_size=10**6), "another number"),
    ],
)
def test_changed_golden_examples_and_labels_are_refused(bundle, change, message, capsys):
    change_json(bundle, change)
    assert message in refusals(bundle)[0]
    assert app.main(["verify", str(bundle)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_labels_of_config_json_must_be_those_of_the_bundle(bundle):
    change_json(bundle, lambda content: content["id2label"].update({"0": "other"}), "config.json")
    assert "config.json: names other labels than bundle.json" in refusals(bundle)[0]


def test_a_model_with_slightly_other_weights_is_refused(bundle):
    path = bundle / "onnx" / "model.onnx"
    model = onnx.load(path)
    largest = max(model.graph.initializer, key=lambda each: len(each.raw_data))
    largest.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(largest) * np.float32(1.01), largest.name))
    onnx.save(model, path)
    seal(bundle)
    assert all("another model" in message for message in refusals(bundle))
    digest = (bundle / "SHA256SUMS").read_text().partition("  onnx/model.onnx")[0][-64:]
    change_json(bundle, lambda content: content["golden_terms"].update(model_sha256=digest))
    assert "a logit differs by" in refusals(bundle)[0]


def test_tokens_beyond_the_embedding_are_refused(bundle):
    change_json(bundle, lambda content: content["model"]["vocab"].update(fine=10_000), "tokenizer.json")
    verified, predicted = refusals(bundle)
    assert "token ids up to 10000" in verified and "gives token id 10000" in predicted


def test_nan_is_an_error(bundle):
    path = bundle / "onnx" / "model.onnx"
    model = onnx.load(path)
    bias = next(each for each in model.graph.initializer if list(each.dims) == [len(LABELS)])
    bias.CopyFrom(onnx.numpy_helper.from_array(np.full(len(LABELS), np.nan, dtype=np.float32), bias.name))
    onnx.save(model, path)
    change_json(bundle, lambda content: content.update(golden_terms=DELETED, vocabulary_size=DELETED))
    assert all("computes [nan, nan]" in message for message in refusals(bundle))


# -- bundle.json


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["limits"].update(max_length=-1),
        lambda content: content["limits"].update(max_length=10**9),
        lambda content: content["limits"].update(max_length=10**400),
        lambda content: content.update(pad_token_id=10**6),
        lambda content: content.update(pad_token_id=2**40),
        lambda content: content.update(pad_token_id=float("nan")),
        lambda content: content.update(labels=[LABELS[0]] * 2),
        lambda content: content.update(format_version=True),
        lambda content: content.update(format_version=[1]),
        lambda content: content.update(requires={"onnxruntime": "9" * 5000}),
        lambda content: content.update(vocabulary_size="many"),
        lambda content: content.update(golden_terms=[]) or content.update(takes_pairs=1),
        lambda content: content.update(golden_terms=3),
    ],
)
def test_values_out_of_range_are_refused_by_both_readers(bundle, change):
    change_json(bundle, change)
    assert all(refusals(bundle))


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
        b'{"format_version": 1, "format_version": 1}',
        b'{"format_version": 1e999}',
        b'{"format_version": ' + b"9" * 5000 + b"}",
        b'{"format_version": 1, "name": "\\ud800"}',
        b'\xef\xbb\xbf{"format_version": 1}',
    ],
    ids=lambda content: content[:30].decode("latin-1"),
)
def test_unusual_json_is_refused_by_both_readers(bundle, content):
    (bundle / "bundle.json").write_bytes(content)
    seal(bundle)
    assert all(refusals(bundle))


# -- golden examples


def test_golden_examples_cover_unusual_texts_and_one_over_the_limit(original):
    info, classifier = read_bundle_info(original), Classifier(original)
    texts = [example.text for example in info.golden]
    assert len(texts) == NUM_GOLDEN and set(UNUSUAL_TEXTS) <= set(texts)
    assert any(encoding.overflowing for encoding in classifier.encode(texts))
    assert info.golden_terms is not None and info.golden_terms.logit_tolerance < 0.001
    assert info.vocabulary_size == json.loads((original / "config.json").read_text())["vocab_size"]


@pytest.mark.parametrize("num_rows", [0, 1, 5])
def test_few_rows_still_give_enough_examples(original, num_rows):
    rows = Split(texts=["fine"] * num_rows, pairs=None, labels=np.zeros(num_rows, dtype=np.int64))
    texts, pairs = golden_texts(Classifier(original), rows)
    assert len(texts) == NUM_GOLDEN and pairs is None


def test_every_class_has_an_example(original):
    classifier = Classifier(original)
    classifier.labels = [str(number) for number in range(40)]
    rows = Split(texts=[f"row {number}" for number in range(400)], pairs=None, labels=np.arange(400) // 10)
    texts, _ = golden_texts(classifier, rows)
    assert len(texts) == 40 + len(UNUSUAL_TEXTS) + 1
    assert {f"row {number}" for number in range(0, 400, 10)} <= set(texts)


def test_a_bundle_for_pairs_verifies(tmp_path, teacher_folder):
    pair_bundle = build_pair_bundle(tmp_path, teacher_folder)
    verified = verify_bundle(pair_bundle)
    assert verified.failures == verified.warnings == [] and verified.num_golden == NUM_GOLDEN


def test_an_older_bundle_verifies_with_a_warning(bundle):
    def age(content: dict) -> None:
        content.update(golden_terms=DELETED, vocabulary_size=DELETED)
        for example in content["golden"]:
            del example["logits"]

    change_json(bundle, age)
    verified = verify_bundle(bundle)
    assert verified.failures == [] and "0.5.0 or older" in verified.warnings[0]
    change_json(bundle, swap_probabilities)
    assert "other predictions" in refusals(bundle)[0]
