"""The metadata of model cards: what the Hub's library reads from them, whatever the names and labels are."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard import metadata_load
from ruamel.yaml import YAML

from compress.common.files import sha256
from export.bundle.bundle_json import read_bundle_info, write_bundle_info
from export.bundle.folder import record_verdict, seal
from export.card_metadata import Score, card_metadata
from pocketbert.cli import app
from tiny_bundles import build_fp32_bundle

READ_AS_OTHER_TYPES = (  # by YAML 1.1, by YAML 1.2, or by one of them only
    "no", "yes", "on", "Off", "null", "~", "", "1e3", "0o17", "017", "0x1F", "1_000", "1:30", "3.10", ".nan", "-.inf",
    "2024-01-01", "=", "<<", "true", "y", "N",
)  # fmt: skip
HOSTILE = (
    *READ_AS_OTHER_TYPES, "a: b", "- a", "# a", "'", '"', "\\", "---", "a\n---\nlicense: mit\n", "[a", "{a",
    "!!python/a", "*a", "&a", "%TAG", "@a", "`a`", "a\x00b", "\x1b[31m", "\u202eabc", "\u2028", "\ufeff", "😀 中文",
    "\ud800", "a" * 5000, "<script>", "{{ a }}", "${HOME}",
)  # fmt: skip


def fields(card: str) -> dict:
    """The metadata, which two libraries and two versions of YAML must read alike."""
    block = card.split("\n---\n")[0].removeprefix("---\n")
    data = yaml.safe_load(block)
    assert YAML(typ="safe", pure=True).load(block) == data
    return data


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_any_text_stays_a_text_and_no_key_comes_in(text):
    scores = [Score(split="dev", metric="f1", name=f"f1 of {text}", value=0.5)]
    block = card_metadata(text, tags=[text], base_models=[text], dataset=text, scores=scores)
    card = ModelCard(block + "\n# the text")
    assert card.text == "\n# the text" and set(fields(card._content)) == {
        "library_name", "pipeline_tag", "tags", "base_model", "model-index",
    }  # fmt: skip
    data = fields(card._content)
    (model,) = data["model-index"]
    (result,) = model["results"]
    texts = [
        model["name"],
        *data["tags"],
        *data["base_model"],
        *result["dataset"].values(),
        result["metrics"][0]["name"],
    ]
    assert all(isinstance(each, str) and "\n" not in each for each in texts)
    if text in READ_AS_OTHER_TYPES:
        assert (model["name"], data["tags"], result["dataset"]["name"]) == (text, [text], text)
    assert result["dataset"]["type"] and card.data.eval_results[0].metric_value == 0.5


@pytest.mark.parametrize(
    ("name", "identity"),
    [
        ("nyu-mll/glue sst2", {"type": "nyu-mll/glue", "config": "sst2"}),
        ("stanfordnlp/imdb", {"type": "stanfordnlp/imdb"}),
        ("my reviews (new).csv", {"type": "my-reviews-new-.csv"}),
        ("...", {"type": "..."}),
        ("(!)", {"type": "data"}),
    ],
)
def test_a_data_set_of_the_hub_is_named_by_its_repository(name, identity):
    scores = [Score(split="dev", metric="matthews", name="matthews", value=0.5)]
    block = card_metadata("a", tags=[], base_models=[], dataset=name, scores=scores)
    (result,) = fields(block)["model-index"][0]["results"]
    assert result["dataset"] == {"name": name, "split": "dev", **identity}


def test_nothing_is_invented():
    block = card_metadata("a", tags=["onnx"], base_models=[], dataset=None, scores=[])
    assert set(fields(block)) == {"library_name", "pipeline_tag", "tags"}
    nan = [Score(split="dev", metric="accuracy", name="accuracy", value=float("nan"))]
    assert "model-index" not in fields(card_metadata("a", tags=[], base_models=[], dataset="b.csv", scores=nan))


@pytest.fixture(scope="module")
def original(tmp_path_factory, teacher_folder, reviews) -> Path:
    folder = tmp_path_factory.mktemp("cards")
    model = shutil.copytree(teacher_folder, folder / "no")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "license": "mit"}))
    shutil.copy(reviews, folder / "1e3.csv")
    words = ["export", model, "--data", folder / "1e3.csv", "--variant", "fp32", "--output", folder / "out"]
    assert app.main([str(word) for word in words]) == 0
    return folder / "out" / "fp32"


def test_the_card_of_an_export_has_its_score_and_the_digest_of_its_table(original, reviews):
    info = read_bundle_info(original)
    assert info.digests == {"data: 1e3.csv": sha256(reviews)} and info.base_models == []
    card = ModelCard.load(original / "README.md")
    (result,) = card.data.eval_results
    assert (result.dataset_name, result.dataset_split, result.metric_type) == ("1e3.csv", "dev", "accuracy")
    assert result.metric_value == info.measured["dev accuracy"] and card.data.model_name == "no"
    assert (card.data.pipeline_tag, card.data.library_name) == ("text-classification", "onnx")
    assert card.data.license is None and card.data.language is None
    assert f"sha256 of data: 1e3.csv: {sha256(reviews)}" in card.text
    assert metadata_load(original / "README.md")["model-index"][0]["name"] == "no"
    size = (original / "onnx" / "model.onnx").stat().st_size
    assert f"| size of onnx/model.onnx | {size / 1e6:.1f} MB |" in card.text


def test_the_verdict_adds_latency_retention_and_digests(original, tmp_path):
    folder = shutil.copytree(original, tmp_path / "copy")
    measured = {"test accuracy": 0.9, "teacher's test accuracy": 0.96, "median ms": 1.5}
    record_verdict(folder, recommended=True, measured=measured, digests={"recipe": "0" * 64})
    assert set(read_bundle_info(folder).digests) == {"data: 1e3.csv", "recipe"}
    card = ModelCard.load(folder / "README.md")
    assert "| share of the teacher's test accuracy | 93.8% |" in card.text and "| median ms | 1.5 |" in card.text
    assert [result.dataset_split for result in card.data.eval_results] == ["dev"]
    write_bundle_info(replace(read_bundle_info(folder), dataset_splits=["dev", "test"]), folder)
    seal(folder)
    record_verdict(folder, recommended=True, measured={})
    results = ModelCard.load(folder / "README.md").data.eval_results
    assert [(result.dataset_split, result.metric_value) for result in results][1:] == [("test", 0.9)]


def test_a_bundle_without_the_new_keys_is_still_read(original, tmp_path):
    folder = shutil.copytree(original, tmp_path / "old")
    content = json.loads((folder / "bundle.json").read_text())
    for key in ("digests", "dataset", "dataset_splits", "base_models"):
        del content[key]
    (folder / "bundle.json").write_text(json.dumps(content))
    info = read_bundle_info(folder)
    assert (info.digests, info.dataset, info.base_models) == ({}, None, [])


def test_a_tiny_bundle_names_no_data_set(tmp_path, teacher_folder, reviews):
    folder = build_fp32_bundle(tmp_path, teacher_folder, reviews, ["text"])
    assert ModelCard.load(folder / "README.md").data.eval_results is None
