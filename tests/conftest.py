"""Fixtures: a tiny BERT, its tokenizer and a synthetic task. All are built here, so tests need no network."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
if "PYTEST_XDIST_WORKER" in os.environ:  # parallel tests share the cores
    os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest
import torch
from transformers import (
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    PreTrainedTokenizerFast,
)

from compress.augmentation.candidates import Candidates
from compress.augmentation.masked_lm import MaskedLM
from compress.augmentation.word_vectors import load_vectors
from compress.augmentation.words import load_stop_words
from export.graph.fusion import EncoderShape
from export.graph.to_onnx import export_onnx
from sandbox import Finished, Sandbox, build_sandbox, run_in_process
from tiny_bert import config, make_tokenizer, rows, words_with_vectors, write_csv


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return words_with_vectors(tmp_path_factory.mktemp("vectors") / "glove.txt")


@pytest.fixture
def masked_lm(tokenizer: PreTrainedTokenizerFast) -> MaskedLM:
    torch.manual_seed(3)
    return MaskedLM(BertForMaskedLM(config()).eval(), tokenizer)


@pytest.fixture
def candidates(masked_lm: MaskedLM, table: Path, tmp_path: Path) -> Candidates:
    """Candidates from a masked language model with random weights and from the table of word vectors."""
    vectors = load_vectors(str(table), cache=tmp_path)
    stop_words = load_stop_words("english")
    return Candidates(masked_lm=masked_lm, vectors=vectors, stop_words=stop_words, count=5, max_length=32)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


@pytest.fixture
def teacher() -> BertForSequenceClassification:
    torch.manual_seed(0)
    return BertForSequenceClassification(config()).eval()


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A checkpoint that was not fine-tuned."""
    folder = tmp_path_factory.mktemp("models") / "base"
    torch.manual_seed(1)
    BertModel(config()).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def teacher_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A classifier with random weights, as a Hugging Face folder."""
    folder = tmp_path_factory.mktemp("models") / "teacher"
    torch.manual_seed(2)
    BertForSequenceClassification(config()).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def raw_graph(tmp_path_factory: pytest.TempPathFactory, teacher_folder: Path) -> Path:
    """The exported graph of the classifier in `teacher_folder`, not fused."""
    path = tmp_path_factory.mktemp("graphs") / "raw.onnx"
    export_onnx(BertForSequenceClassification.from_pretrained(teacher_folder), path)
    return path


@pytest.fixture(scope="session")
def encoder() -> EncoderShape:
    """The shape of the classifier, which fusion needs."""
    return EncoderShape.of(config())


@pytest.fixture(scope="session")
def calibration(tokenizer: PreTrainedTokenizerFast) -> list[dict[str, np.ndarray]]:
    """Model inputs for the calibration of activation ranges."""
    texts = [text for text, _ in rows(60, seed=6)]
    return [{name: np.array([cells]) for name, cells in tokenizer(text).items()} for text in texts]


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labelled CSV with 400 rows."""
    return write_csv(tmp_path_factory.mktemp("data") / "reviews.csv", ("text", "label"), rows(400))


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory, base_folder: Path, teacher_folder: Path, reviews: Path) -> Sandbox:
    """A folder in which the examples of documents and help pages run."""
    root = tmp_path_factory.mktemp("sandbox")
    return build_sandbox(root, base=base_folder, teacher=teacher_folder, reviews=reviews)


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Runs `pocketbert` in a separate process with its own cache, in the test's folder."""

    def call(*arguments: object) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "pocketbert", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "POCKETBERT_CACHE": str(tmp_path / "cache"), "COLUMNS": "200"},
            capture_output=True,
            text=True,
        )

    return call


@pytest.fixture
def in_process(tmp_path: Path) -> Callable[..., Finished]:
    """Runs `pocketbert` like `command`, but in this process, which has loaded torch."""
    environment = {"POCKETBERT_CACHE": str(tmp_path / "cache"), "COLUMNS": "200"}
    return partial(run_in_process, folder=tmp_path, environment=environment)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slowest modules start first, so that no worker is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
