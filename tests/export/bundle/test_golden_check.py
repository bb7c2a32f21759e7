"""The golden examples that are repeated when a bundle is loaded."""

import json
import shutil
from pathlib import Path

import pytest

import pocketbert
from export.bundle import golden_check
from export.bundle.folder import seal
from export.bundle.listed_files import BundleError
from export.bundle.runtime import Classifier
from export.bundle.settings import Golden
from pocketbert.cli import app

CPU = golden_check.processor_name()


def changed(bundle: Path, folder: Path, *, number: int, by: float) -> Path:
    """A copy of a bundle whose golden example has another first logit. The checksums fit."""
    copy = shutil.copytree(bundle, folder / "bundle")
    content = json.loads((copy / "bundle.json").read_text(encoding="utf-8"))
    content["golden"][number]["logits"][0] += by
    (copy / "bundle.json").write_text(json.dumps(content), encoding="utf-8")
    seal(copy)
    return copy


def test_another_logit_is_refused_with_the_name_of_the_processor(original, tmp_path, capsys):
    bundle = changed(original, tmp_path, number=0, by=0.5)
    with pytest.raises(BundleError) as error:
        pocketbert.load(bundle)
    message = str(error.value)
    assert CPU in message and "golden example 0: a logit differs by 0.5;" in message and "\n" not in message
    assert "onnxruntime" in message and "the variant fp32" in message
    assert app.main(["predict", str(bundle), "fine"]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and CPU in printed.err and printed.err.count("\n") == 1
    assert pocketbert.load(bundle, golden_check=False).predict(["fine"]) == pocketbert.load(original).predict(["fine"])


def test_a_difference_within_the_tolerance_is_none(original, tmp_path):
    tolerance = json.loads((original / "bundle.json").read_text(encoding="utf-8"))["golden_terms"]["logit_tolerance"]
    assert Classifier(changed(original, tmp_path, number=0, by=0.5 * tolerance)).num_truncated == 0


def test_the_shortest_examples_and_the_longest_are_repeated_and_the_first_failure_is_reported():
    golden = [Golden(text, None, [0.0]) for text in ["long text " * 9, *"abcdefgh", "longer than the others"]]
    repeated = []

    def logits_of(text: str, pair: str | None) -> list[float]:
        repeated.append(text)
        return [0.001]

    assert golden_check.golden_failure(golden, 0.01, logits_of) is None
    assert repeated == [*"abcd", "long text " * 9]
    assert golden_check.golden_failure(golden, 1e-4, logits_of).startswith("golden example 1: a logit differs by 0.001")
    assert "nan" in golden_check.golden_failure(golden, 1, lambda text, pair: [float("nan")])


@pytest.mark.parametrize("golden", [[3], [{"text": "a", "pair": "b", "logits": [0.1, 0.2]}], [{"text": "a"}], "x"])
def test_golden_examples_that_do_not_fit_are_refused(original, tmp_path, golden):
    copy = shutil.copytree(original, tmp_path / "bundle")
    content = json.loads((copy / "bundle.json").read_text(encoding="utf-8"))
    (copy / "bundle.json").write_text(json.dumps(content | {"golden": golden}), encoding="utf-8")
    seal(copy)
    with pytest.raises(BundleError, match=r"bundle\.json: golden"):
        Classifier(copy)


def test_a_bundle_of_version_0_5_0_has_no_check(original, tmp_path):
    copy = changed(original, tmp_path, number=0, by=0.5)
    content = json.loads((copy / "bundle.json").read_text(encoding="utf-8"))
    del content["golden_terms"], content["vocabulary_size"]
    (copy / "bundle.json").write_text(json.dumps(content), encoding="utf-8")
    seal(copy)
    assert Classifier(copy).predict(["fine"])


@pytest.mark.parametrize(
    ("version", "flags", "expected"),
    [
        ("1.22.1", "avx512_vnni amx_int8", "use 1.26 or newer, or the variant fp32"),
        ("1.22.1", "avx512_vnni", "try another version of onnxruntime (the bundle: 1.32.0), or the variant fp32"),
        ("1.26.0", "amx_int8", "try another version of onnxruntime (the bundle: 1.32.0), or the variant fp32"),
    ],
)
def test_the_advice_names_the_versions_that_are_wrong_with_amx(monkeypatch, version, flags, expected):
    monkeypatch.setattr(golden_check, "_cpu_info", lambda: f"model name : x\nflags : {flags}\n")
    assert golden_check.advice(version, "1.32.0").endswith(expected)
