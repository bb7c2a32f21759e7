"""Every built-in recipe runs all its stages, on local folders with the layout of the Hub."""

import random
from pathlib import Path

import datasets
import pytest
import torch
from rich.console import Console
from transformers import BertModel

from export.bundle.runtime import Classifier
from pocketbert.pipeline.flow import prepare, run_recipe
from pocketbert.recipe.loading import built_in, load_recipe
from tiny_bert import config, rows, sentence, write_csv

pytestmark = pytest.mark.slow
TWO = ["no", "yes"]
GLUE = {  # subset: text columns, class names (None: a number)
    "cola": (["sentence"], TWO),
    "mnli": (["premise", "hypothesis"], ["entailment", "neutral", "contradiction"]),
    "mrpc": (["sentence1", "sentence2"], TWO),
    "qnli": (["question", "sentence"], TWO),
    "qqp": (["question1", "question2"], TWO),
    "rte": (["sentence1", "sentence2"], TWO),
    "sst2": (["sentence"], TWO),
    "stsb": (["sentence1", "sentence2"], None),
}


@pytest.fixture(scope="module")
def glue(tmp_path_factory) -> Path:
    """A copy of nyu-mll/glue in miniature: a folder per subset, named classes, unlabelled test splits."""
    root = tmp_path_factory.mktemp("glue")
    configs = []
    for subset, (columns, names) in GLUE.items():
        marks = ["_matched", "_mismatched"] if subset == "mnli" else [""]
        splits = ["train", *(f"{split}{mark}" for split in ("validation", "test") for mark in marks)]
        (root / subset).mkdir()
        for number, split in enumerate(splits):
            table(columns, names, 80 if split == "train" else 20, number, split.startswith("test")).to_parquet(
                root / subset / f"{split}-00000-of-00001.parquet"
            )
        files = "".join(f"\n  - split: {split}\n    path: {subset}/{split}-*" for split in splits)
        configs.append(f"- config_name: {subset}\n  data_files:{files}")
    (root / "README.md").write_text("---\nconfigs:\n" + "\n".join(configs) + "\n---\n")
    return root


def table(columns: list[str], names: list[str] | None, count: int, seed: int, unlabelled: bool) -> datasets.Dataset:
    draw = random.Random(seed)
    labels = [draw.randrange(len(names)) if names else draw.uniform(0, 5) for _ in range(count)]
    written = [-1 if unlabelled else label for label in labels]
    texts = {name: [sentence(draw, label > len(names or range(5)) / 3) for label in labels] for name in columns}
    answer = datasets.ClassLabel(names=names) if names else datasets.Value("float32")
    features = datasets.Features({**dict.fromkeys(columns, datasets.Value("string")), "label": answer})
    return datasets.Dataset.from_dict({**texts, "label": written}, features=features)


@pytest.fixture(scope="module")
def base(tmp_path_factory, tokenizer) -> Path:
    """A checkpoint that TinyBERT4 can start from: twelve heads, and the same width."""
    folder = tmp_path_factory.mktemp("models") / "base"
    torch.manual_seed(0)
    shape = {"hidden_size": 312, "intermediate_size": 1200, "num_attention_heads": 12, "num_hidden_layers": 4}
    BertModel(config(**shape, max_position_embeddings=128)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_there_are_ten_with_all_glue_tasks():
    assert len(built_in()) == 10
    assert set(built_in()) == {*GLUE, "quickstart", "own-csv"}


BRIEF = ["bench.threads=1", "bench.warm_up_s=0.05", "bench.fixed_batches=[2]"]  # the figures are not what this tests
# a task of pairs and a regression; recipes that are not GLUE build all variants
VARIANTS = {"mnli": "[fp32, int8-static]", "stsb": "[fp32, int8-static]"}
ONLY_PREPARED = {"mrpc", "qnli", "qqp", "rte"}  # tasks of pairs with two classes: mnli and cola take the same way


@pytest.mark.parametrize("name", sorted(built_in()))
def test_a_built_in_recipe_resolves_and_smokes(name, glue, base, tmp_path, monkeypatch):
    monkeypatch.setenv("POCKETBERT_CACHE", str(tmp_path / "cache"))
    changes = [f"teacher.base={base}", *BRIEF]
    if name in GLUE:
        changes += [
            f"task.data={glue}",
            "augment.masked_lm.train_head.corpus=[task]",
            f"export.variants={VARIANTS.get(name, '[fp32]')}",
        ]
    else:
        changes.append(f"task.data={write_csv(tmp_path / 'own.csv', ('text', 'label'), rows(100))}")
    if name == "quickstart":
        changes.append("distill.general.corpus=[task]")
    recipe = load_recipe(name, changes=changes, smoke=True)
    assert recipe.name == f"{name}-smoke"
    prepared = prepare(recipe, Console(quiet=True))
    if name in ONLY_PREPARED:
        return
    outcome = run_recipe(recipe, prepared, tmp_path / "run", Console(quiet=True))
    measured = [row for row in outcome.results.stages.bench.rows if row.device == "cpu" and not row.error]
    scores = {row.name: row.score for row in measured}
    assert len(scores) == 3 + len(recipe.export.variants) and all(score is not None for score in scores.values())
    classifier = Classifier(tmp_path / "run" / "bundles" / "fp32")
    pair = ["the film"] if recipe.task.text[1:] else None
    (answer,) = classifier.predict(["the story was warm"], pair)
    classes = GLUE[name][1] if name in GLUE else ["negative", "positive"]
    assert answer["label"] in classes if classes else set(answer) == {"score"}
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "This was a smoke run" in page and "<h2>Reproduce</h2>" in page
