"""The bill of materials of a bundle, in and outside of it."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from compress.common.files import sha256
from export.bundle.bundle_json import read_bundle_info, write_bundle_info
from export.bundle.folder import seal
from export.bundle.listed_files import read_sums
from export.bundle.verification import verify_bundle
from export.provenance.bill_of_materials import bill_of_materials
from export.provenance.signatures import PrivateKey, PublicKey, sign_bundle, verify_signature
from pocketbert.cli import app
from signing_keys import write_key_pair
from tiny_bundles import build_fp32_bundle

FILE = "sbom.cdx.json"
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def original(tmp_path_factory, teacher_folder, reviews) -> Path:
    folder = build_fp32_bundle(tmp_path_factory.mktemp("bills"), teacher_folder, reviews, ["text"])
    change(
        folder,
        digests={"recipe": "1" * 64, "rows": "2" * 64, "train: reviews.csv": sha256(reviews)},
        versions={"onnxruntime": "1.32.0", "numpy": "2.4.6", "torch": "2.13.0+cpu"},
        base_models=["google-bert/bert-base-uncased", "gpt2"],
        origin={"task": 'tiny, from "reviews.csv" <script>\u202e'},
    )
    return folder


def change(folder: Path, **values: object) -> None:
    write_bundle_info(replace(read_bundle_info(folder), **values), folder)
    seal(folder)


@pytest.fixture
def bundle(original, tmp_path) -> Path:
    return shutil.copytree(original, tmp_path / "fp32")


def problems(document: object) -> object:
    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document))


def test_it_is_valid_and_has_files_packages_recipe_and_data(bundle, reviews):
    document = json.loads(bill_of_materials(bundle))
    assert problems(document) is None
    assert problems({**document, "metadata": {"component": {"type": "model"}}}) is not None
    references = re.findall('"bom-ref": "([^"]+)"', json.dumps(document))
    assert len(references) == len(set(references)) > 20
    model = document["metadata"]["component"]
    files = {each["name"]: each["hashes"][0]["content"] for each in model["components"]}
    assert files == read_sums(bundle) and model["type"] == "machine-learning-model"
    components = {each["name"]: each for each in document["components"]}
    assert set(components) == {"numpy", "onnxruntime", "tokenizers", "recipe", "rows", "train: reviews.csv"}
    oldest = {"name": "pocketbert:oldest-version", "value": read_bundle_info(bundle).requires["onnxruntime"]}
    assert components["onnxruntime"]["properties"] == [oldest]
    assert (
        components["onnxruntime"]["purl"] == "pkg:pypi/onnxruntime@1.32.0" and "version" not in components["tokenizers"]
    )
    assert components["train: reviews.csv"]["hashes"] == [{"alg": "SHA-256", "content": sha256(reviews)}]
    kinds = {name: components[name]["data"][0]["type"] for name in ("recipe", "rows", "train: reviews.csv")}
    assert kinds == {"recipe": "configuration", "rows": "dataset", "train: reviews.csv": "dataset"}
    figures = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert {each["type"]: float(each["value"]) for each in figures} == read_bundle_info(bundle).measured
    ancestors = [each["purl"] for each in model["pedigree"]["ancestors"]]
    assert ancestors == ["pkg:huggingface/google-bert/bert-base-uncased", "pkg:huggingface/gpt2"]
    assert [each["purl"] for each in document["metadata"]["tools"]["components"]] == ["pkg:pypi/torch@2.13.0%2Bcpu"]
    references = {each["ref"] for each in model["modelCard"]["modelParameters"]["datasets"]}
    assert references == {components[name]["bom-ref"] for name in ("rows", "train: reviews.csv")}


def test_it_depends_on_the_bundle_alone(bundle, tmp_path):
    line = "import sys, pathlib; from export.provenance import bill_of_materials as b; "
    line += "sys.stdout.write(b.bill_of_materials(pathlib.Path(sys.argv[1])))"
    copy = shutil.copytree(bundle, tmp_path / "copy")
    texts = {
        subprocess.run(
            [sys.executable, "-c", line, folder], capture_output=True, text=True, check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "TZ": zone},
        ).stdout
        for folder, seed, zone in ((bundle, "1", "UTC"), (copy, "2", "Asia/Tokyo"))
    }  # fmt: skip
    assert texts == {bill_of_materials(bundle)} and "timestamp" not in texts.pop()
    change(copy, name="another")
    serials = [json.loads(bill_of_materials(folder))["serialNumber"] for folder in (bundle, copy)]
    assert all(re.fullmatch("urn:uuid:[0-9a-f-]{36}", serial) for serial in serials) and len(set(serials)) == 2


def test_in_a_bundle_it_is_listed_and_signed(bundle, tmp_path, capsys):
    (bundle / "README.md").write_text("an edited card")
    before = bill_of_materials(bundle)
    for _ in range(2):  # the second time changes nothing
        assert app.main(["sbom", str(bundle)]) == 0
        assert (bundle / FILE).read_text() == before == bill_of_materials(bundle)
        assert read_sums(bundle)[FILE] == sha256(bundle / FILE)
    assert verify_bundle(bundle).num_changed == 0
    done = subprocess.run([sys.executable, bundle / "predict.py", "fine"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    private, public = write_key_pair(tmp_path)
    sign_bundle(bundle, PrivateKey(key=private))
    verify_signature(bundle, PublicKey(key=public))
    capsys.readouterr()
    assert app.main(["sbom", str(bundle)]) == 2
    assert "the bundle is signed" in capsys.readouterr().err
    verify_signature(bundle, PublicKey(key=public))


def test_outside_it_leaves_the_bundle_and_other_files_alone(bundle, tmp_path, capsys):
    before = {path: path.stat().st_mtime_ns for path in bundle.rglob("*")}
    (tmp_path / "mine.json").write_text("mine")
    assert app.main(["sbom", str(bundle), "--output", str(tmp_path / "mine.json")]) == 2
    assert app.main(["sbom", str(bundle), "--output", str(tmp_path / "new.json")]) == 0
    assert (tmp_path / "mine.json").read_text() == "mine" and "already exists" in capsys.readouterr().err
    assert (tmp_path / "new.json").read_text() == bill_of_materials(bundle)
    assert {path: path.stat().st_mtime_ns for path in bundle.rglob("*")} == before


@pytest.mark.parametrize(
    "values",
    [
        {"digests": {}, "versions": {}, "base_models": [], "origin": {}, "requires": {}},
        {"versions": {"onnxruntime-gpu": "1.30.0"}},
        {"name": "a\nb\x00\u202e", "base_models": ["a b/c?d#e", "x", "x"], "digests": {"data: ../\n": "0" * 64}},
        {"measured": {"dev accuracy": float("nan"), "rows": 10**30}},
        {"versions": {"": "1", "a b": "", "numpy": "no version"}},
    ],
    ids=["nothing is known", "another build", "odd names", "odd figures", "odd packages"],
)
def test_it_is_valid_for_any_bundle_or_refused_in_one_line(bundle, capsys, values):
    change(bundle, **values)
    code = app.main(["sbom", str(bundle)])
    error = capsys.readouterr().err
    if code == 0:
        assert problems(json.loads((bundle / FILE).read_text())) is None
    else:
        assert code == 2 and error.startswith("error: ") and error.count("\n") == 1


def test_a_damaged_bundle_has_none(bundle, capsys):
    (bundle / "config.json").write_text("{}")
    assert app.main(["sbom", str(bundle)]) == 2
    assert "config.json: changed since" in capsys.readouterr().err and not (bundle / FILE).exists()
