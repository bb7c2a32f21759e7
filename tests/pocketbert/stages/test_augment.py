"""The stages of augmentation in a run, and the commands that preview it and time it."""

import html
import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter
from rich.console import Console
from ruamel.yaml import YAML
from transformers import BertForMaskedLM

from bench.augmentation_speed.ladder import AugmentationLadder
from bench.report.augmentation_summary import report_lines
from bench.results.document import StageResults
from compress.augmentation import dataset
from compress.augmentation.dataset import shards_in
from compress.data.arrow_shards import read_shards, token_dataset_of_shards
from compress.data.task_types import Classification, Regression
from compress.distillation.training_loop import Schedule, rows_seen
from compress.models import loading
from compress.models.inference import predict_logits
from compress.results import AugmentResult, LabelDrift
from pocketbert.cli_parts import bench_text
from pocketbert.pipeline.flow import make_augmented_data, prepare, run_recipe
from pocketbert.recipe.loading import load_recipe
from pocketbert.store.manifest import read_manifest
from tiny_bert import config, sentence, words_with_vectors, write_csv
from tiny_runs import QUICK_BENCH

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def masked_lm_folder(tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("models") / "masked-lm"
    BertForMaskedLM(config()).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def recipe(tmp_path, monkeypatch, masked_lm_folder, teacher_folder):
    """Writes a recipe with a teacher that needs no training."""
    monkeypatch.setenv("POCKETBERT_CACHE", str(tmp_path / "cache"))

    def write(data: Path, *, task: dict | None = None, teacher: dict | None = None, **keys: object) -> Path:
        section = {
            "masked_lm": {"model": str(masked_lm_folder)},
            "vectors": str(words_with_vectors(tmp_path / "words.txt")),
            "copies_per_text": 3,
            "candidates": 5,
            **keys,
        }
        quick = {"epochs": 1, "max_steps": 3, "batch_size": 8, "learning_rate": 1e-3}
        content = {
            "name": "varied",
            "task": {"data": str(data), "max_length": 32, **(task or {})},
            "teacher": teacher or {"model": str(teacher_folder)},
            "student": {"layers": 2, "width": 16, "ffn_width": 32, "heads": 4},
            "augment": section,
            "distill": {"intermediate": quick, "prediction": quick},
            "compute": {"precision": "fp32"},  # labels near the decision boundary must not depend on the machine
            "export": {"variants": ["fp32"]},
            "gate": {"teacher_over_baseline": False},  # the teachers have random weights, or hardly any training
            "bench": QUICK_BENCH,
        }
        path = tmp_path / "varied.yaml"
        with path.open("w") as file:
            YAML(typ="safe").dump(content, file)
        return path

    return write


QUIET = Console(quiet=True)


def augmented(path: Path, folder: Path) -> tuple[Path, AugmentResult]:
    loaded = load_recipe(str(path))
    augmented_folder = make_augmented_data(loaded, prepare(loaded, QUIET), folder, QUIET)
    return augmented_folder, read_manifest(folder)["augment"].result_as(AugmentResult)


def stages_of(path: Path, folder: Path, changes: Sequence[str] = ()) -> StageResults:
    loaded = load_recipe(str(path), changes=changes)
    return run_recipe(loaded, prepare(loaded, QUIET), folder, QUIET).results.stages


def test_the_preview_marks_replaced_words_and_names_their_source(recipe, reviews, in_process):
    done = in_process("augment", recipe(reviews), "--show", 4)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert sum(line.startswith("row ") for line in lines) == 4
    marked = [line for line in lines if line.startswith("  ") and "[" in line]
    sources = [line for line in lines if line.startswith("  instead of ")]
    assert len(marked) == len(sources) == 4 and all("(masked_lm)" in line for line in sources)
    for name in ("rows:", "words that may be replaced:", "sources of candidates:", "duplicates:", "word vectors:"):
        assert any(line.startswith(name) for line in lines), name
    again = in_process("augment", recipe(reviews), "--show", 4, "--json")
    assert "augment: already done" in again.stderr
    preview = json.loads(again.stdout)
    assert len(preview["examples"]) == 4 and preview["result"]["counts"]["variants"] > 900
    for example in preview["examples"]:
        assert example["text"] != example["original"]
        for each in example["replaced"]:
            assert each["was"] in example["original"]


def test_both_stages_of_task_distillation_learn_from_the_augmented_texts(recipe, reviews, tmp_path):
    changes = ["student.vocabulary={size: 24}", "distill.intermediate.max_steps=null"]
    stages = stages_of(recipe(reviews), tmp_path / "run", changes)
    num_rows = stages.augment.counts.rows
    assert num_rows > 1200 and stages.intermediate.training.num_steps == -(-num_rows // 8)
    assert stages.prediction.training.num_steps == 3 and len(stages.prediction.training.dev_scores) == 1
    assert 0 < stages.prediction.drift.num_variants <= 24 and stages.augment.drift is None
    for name in ("report.html", "report.md"):
        page = (tmp_path / "run" / name).read_text(encoding="utf-8")
        assert "Data augmentation" in page and "label flips in" in page
        for _, value in report_lines(stages, "classification"):
            assert value in html.unescape(page)


def test_the_teacher_drops_texts_to_which_it_gives_another_label(recipe, reviews, tmp_path, base_folder):
    fine_tune = {"epochs": 4, "batch_size": 16, "learning_rate": 2e-3}
    teacher = {"base": str(base_folder), "fine_tune": fine_tune}
    _, kept_all = augmented(recipe(reviews, teacher=teacher), tmp_path / "all")
    folder, result = augmented(recipe(reviews, teacher=teacher, drop_flips_above=0.0), tmp_path / "dropped")
    assert 0 < result.drift.changed_share < 1
    assert result.num_dropped == round(result.drift.changed_share * result.counts.variants) > 0
    assert result.counts == kept_all.counts
    texts = read_shards(shards_in(folder / "texts"))
    trained = str(tmp_path / "dropped" / "teacher" / "model")
    tokenizer = loading.load_tokenizer(trained)
    tokens = token_dataset_of_shards(shards_in(folder / "tokens"), tokenizer)
    assert len(texts) == len(tokens.lengths) == result.counts.rows - result.num_dropped
    assert [tokenizer(text)["input_ids"] for text in texts["text"][:]] == tokens.rows["input_ids"][:]
    labels = predict_logits(loading.load_classifier(trained), tokens).argmax(axis=1)
    origins = dataset.origins_of(folder / "texts")
    np.testing.assert_array_equal(labels[origins.is_augmented], labels[origins.row[origins.is_augmented]])


def test_pairs_and_regression(recipe, base_folder, tmp_path):
    draw = random.Random(0)
    lines = [(sentence(draw, True), sentence(draw, False), f"{draw.uniform(0, 5):.2f}") for _ in range(120)]
    data = write_csv(tmp_path / "pairs.csv", ("first", "second", "score"), lines)
    task = {"text": ["first", "second"], "label": "score", "metric": "pearson_spearman"}
    teacher = {"base": str(base_folder), "fine_tune": {"epochs": 1, "max_steps": 2, "learning_rate": 1e-4}}
    stages = stages_of(recipe(data, task=task, teacher=teacher), tmp_path / "run")
    assert stages.prediction.drift.mean_change > 0 and stages.prediction.drift.changed_share is None
    assert any("changes by" in value for _, value in report_lines(stages, "regression"))
    texts = read_shards(shards_in(tmp_path / "run" / "augment" / "texts"))
    assert set(texts["varied"][:]) == {-1, 0, 1} and texts.features["label"].dtype == "float64"


def test_drift_is_the_share_of_changed_labels():
    originals = np.array([[2.0, 0.0], [0.0, 3.0], [1.0, 0.0], [0.0, 1.0]])
    variants = np.array([[0.0, 4.0], [0.0, 1.0], [0.0, 0.1], [5.0, 1.0]])
    assert Classification().drift(variants, originals) == LabelDrift(num_variants=4, changed_share=0.75)
    assert Classification().changed_above(variants, originals, 0.9).tolist() == [True, False, False, True]
    assert Regression().drift(np.array([[1.0], [3.0]]), np.array([[2.0], [2.5]])).mean_change == 0.75


def test_only_rows_that_training_uses_need_teacher_logits():
    lengths = np.random.default_rng(0).integers(3, 30, 1000)
    whole = Schedule(epochs=2, batch_size=16, learning_rate=1e-3)
    assert len(rows_seen(lengths, whole, seed=0)) == 1000
    short = Schedule(epochs=2, batch_size=16, learning_rate=1e-3, max_steps=10)
    seen = rows_seen(lengths, short, seed=0)
    assert len(seen) == 160 and seen.max() < 1000
    assert seen.tolist() != rows_seen(lengths, short, seed=1).tolist()


def test_bench_augmentation_times_all_ways_on_the_same_texts(recipe, reviews, in_process, tmp_path, capsys):
    options = ("--rows", 16, "--rounds", 2, "--threads", 1, "--output", tmp_path / "out", "--json")
    done = in_process("bench", "augmentation", recipe(reviews), *options)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    plain, first, ours, fastest = measured["rows"]
    assert ours["comparison"]["num_different"] == 0 < ours["comparison"]["num_words"]
    assert ours["over_plain"]["per_word"]["value"] > 0
    assert first["over_first_written"]["per_variant"]["value"] == plain["over_plain"]["per_variant"]["value"] == 1
    assert fastest["comparison"]["num_words"] == ours["comparison"]["num_words"]
    assert [row["num_texts"] for row in measured["memory"]] == [16, 320]
    assert json.loads((tmp_path / "out" / "augmentation.json").read_text())["options"]["variants"] == 3
    bench_text.augmentation(TypeAdapter(AugmentationLadder).validate_python(measured))
    printed = capsys.readouterr().out
    assert "PocketBERT, fp32" in printed and "peak memory" in printed
