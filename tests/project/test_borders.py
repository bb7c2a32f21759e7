"""Exceptions of other libraries end as one line with exit code 2; those of our own code are reported as faults, code 1.

Each test raises an exception of a class that no code knows, in a function of a library or in one of ours.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bench.analysis import tfidf_baseline
from compress.augmentation.word_vectors import load_vectors
from compress.common.errors import UserError
from compress.data import tokenization
from compress.data.columns import Split
from compress.data.tasks import Task
from pocketbert.cli import app
from spoilt_models import Models, as_pickle
from tiny_bert import LABELS
from tiny_bundles import build_fp32_bundle
from tiny_recipes import QUICK, write_recipe

MESSAGE = "nobody expected this"


class Strange(Exception):  # noqa: N818 (a name that no message contains)
    """An exception of a library that no code of ours knows."""


def fail(*_: object, **__: object) -> None:
    raise Strange(f"{MESSAGE}\nand more lines")


@dataclass
class Place:
    """Sound input of all kinds."""

    root: Path
    models: Models
    reviews: Path
    bundle: Path

    @property
    def teacher(self) -> str:
        return str(self.models.root / "teacher")

    def check(self, **sections: dict[str, object]) -> list[str]:
        return ["check", write_recipe(self.root, self.reviews, **{"teacher": {"model": self.teacher}, **sections})]

    def pickled(self) -> list[str]:
        return self.check(teacher={"model": str(as_pickle(self.models.copy()))})

    def export(self) -> list[str]:
        return ["export", self.teacher, "--data", str(self.reviews), "--variant", "fp32", "--output", "out"]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Models:
    return Models.build(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, models, reviews) -> Path:
    return build_fp32_bundle(tmp_path_factory.mktemp("bundles"), models.root / "teacher", reviews, ["text"])


@pytest.fixture
def place(tmp_path, monkeypatch, models, bundle, reviews) -> Place:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POCKETBERT_CACHE", str(tmp_path / "cache"))
    return Place(root=tmp_path, models=models, reviews=reviews, bundle=bundle)


def replace(monkeypatch: pytest.MonkeyPatch, path: str, function: object = fail) -> None:
    """Replace MODULE:NAME or MODULE:CLASS.NAME by `function`."""
    module, _, name = path.partition(":")
    owner, _, attribute = name.rpartition(".")
    target = importlib.import_module(module)
    monkeypatch.setattr(getattr(target, owner) if owner else target, attribute, function)


BORDERS: dict[str, tuple[str, Callable[[Place], list[str]]]] = {
    "config object": ("transformers:BertConfig.from_dict", lambda p: p.check()),
    "model class": ("transformers:AutoModelForSequenceClassification.from_config", lambda p: p.check()),
    "weights": ("transformers:BertForSequenceClassification.from_pretrained", lambda p: p.check()),
    "safetensors values": ("safetensors.torch:load_file", lambda p: p.check()),
    "pickle": ("torch:load", lambda p: p.pickled()),
    "tokenizer": ("transformers:AutoTokenizer.from_pretrained", lambda p: p.check()),
    "tokens": ("transformers:PreTrainedTokenizerBase.__call__", lambda p: p.check()),
    "config from the Hub": (
        "compress.models.sources:hf_hub_download", lambda p: p.check(teacher={"model": "nobody/model"})
    ),
    "data set from the Hub": ("datasets:load_dataset", lambda p: p.check(task={"data": "nobody/data"})),
    "corpus from the Hub": (
        "datasets:load_dataset",
        lambda p: p.check(distill={"general": {**QUICK, "corpus": "hub:nobody/data", "max_length": 32}}),
    ),
    "YAML nodes": ("ruamel.yaml:YAML.compose", lambda p: p.check()),
    "YAML of an option": (
        "ruamel.yaml:YAML.compose", lambda p: ["check", "quickstart", "--set", "seed=1"]
    ),
    "session of a bundle": ("onnxruntime:InferenceSession", lambda p: ["predict", str(p.bundle), "a film"]),
    "session of a bundle, verify": ("onnxruntime:InferenceSession", lambda p: ["verify", str(p.bundle)]),
    "run of a session": ("onnxruntime:InferenceSession.run", lambda p: ["predict", str(p.bundle), "a film"]),
    "session of an export": ("onnxruntime:InferenceSession", lambda p: p.export()),
    "run in an export": ("onnxruntime:InferenceSession.run", lambda p: p.export()),
    "tokenizer of a bundle": ("tokenizers:Tokenizer.from_file", lambda p: ["predict", str(p.bundle), "a film"]),
    "tokenizer of a new recipe": (
        "pocketbert.new_recipe.lengths:Tokenizer.from_file",
        lambda p: ["new", str(p.reviews), "--teacher", p.teacher, "--output", "r.yaml"],
    ),
}  # fmt: skip

WITHOUT_REASON = ("pickle", "YAML of an option")

OURS: dict[str, tuple[str, Callable[[Place], list[str]]]] = {
    "reading config.json": ("compress.models.sources:with_label_names", lambda p: p.check()),
    "reading weights": ("compress.models.weight_loading:with_usual_names", lambda p: p.check()),
    "accounting for weights": ("compress.models.weight_loading:_require_used", lambda p: p.check()),
    "checking the tokenizer": ("compress.models.loading:check_tokenizer", lambda p: p.check()),
    "wrapping tokens": ("compress.data.tokenization:token_dataset", lambda p: p.check()),
    "reading a recipe": ("pocketbert.recipe.loading:_locate", lambda p: p.check()),
    "planning": ("pocketbert.pipeline.estimate:plan_of", lambda p: p.check()),
    "comparing a bundle": ("export.build_bundles:write_bundle", lambda p: p.export()),
    "verifying": ("export.bundle.verification:verify_bundle", lambda p: ["verify", str(p.bundle)]),
}


@pytest.mark.parametrize("border", BORDERS)
def test_an_exception_of_a_library_is_one_line(place, capsys, monkeypatch, border):
    path, command = BORDERS[border]
    arguments = command(place)
    capsys.readouterr()
    replace(monkeypatch, path)
    assert app.main(arguments) == 2
    printed = capsys.readouterr().err
    (line,) = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert "Strange" not in line and "fault" not in line and "Traceback" not in printed
    assert MESSAGE in line or border in WITHOUT_REASON


@pytest.mark.parametrize("function", OURS)
def test_an_exception_of_our_own_code_is_a_fault(place, capsys, monkeypatch, function):
    path, command = OURS[function]
    arguments = command(place)
    replace(monkeypatch, path)
    assert app.main(arguments) == 1
    assert f"error: a fault of PocketBERT: Strange: {MESSAGE}" in capsys.readouterr().err


def test_vectors_and_the_baseline(tmp_path, monkeypatch):
    """The borders that the command line reaches only after long stages."""
    vectors = tmp_path / "vectors.bin"
    vectors.write_bytes(b"1 2\nfilm \x00\x00\x00\x00\x00\x00\x00\x00")
    replace(monkeypatch, "gensim.models:KeyedVectors.load_word2vec_format")
    with pytest.raises(UserError, match=f"no word vectors could be read .*{MESSAGE}"):
        load_vectors(str(vectors), cache=tmp_path)
    split = Split(texts=["a film", "the plot"], pairs=None, labels=np.array([0, 1]))
    task = Task(
        name="t", type="classification", labels=LABELS, train=split, dev=split, test=split, max_length=8
    )  # fmt: skip
    replace(monkeypatch, "sklearn.linear_model:LogisticRegression.fit")
    with pytest.raises(UserError, match=f"baseline cannot be trained on the train rows .*{MESSAGE}"):
        tfidf_baseline.fit_baseline(task, "accuracy")


def test_the_baseline_of_texts_without_words():
    """Words have two letters or more; sklearn fails if there are none in any text."""
    split = Split(texts=["a b", "\u597d", "!", "x"], pairs=None, labels=np.array([0, 1, 0, 1]))
    task = Task(
        name="t", type="classification", labels=LABELS, train=split, dev=split, test=split, max_length=8
    )  # fmt: skip
    assert len(tfidf_baseline.fit_baseline(task, "accuracy").model.predict(split.texts)) == 4


def test_a_text_that_the_tokenizer_cannot_encode_is_named():
    class Picky:
        def __call__(self, texts: list[str], *_: object, **__: object) -> dict[str, list[list[int]]]:
            if "dull" in texts:
                raise TypeError("TextEncodeInput must be Union")
            return {"input_ids": [[2, 3] for _ in texts]}

    with pytest.raises(UserError, match=r"cannot encode text 2 of 3, 'dull' \(TextEncodeInput must be Union\)"):
        tokenization.tokenise_rows(["warm", "dull", "flat"], None, Picky(), max_length=8)
