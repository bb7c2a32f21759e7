"""A tiny BERT, its tokenizer and a rule-made task, built here: tests need no network and take seconds."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
if "PYTEST_XDIST_WORKER" in os.environ:  # tests share the cores
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
    """Of a masked language model with random weights, and of the table of vectors."""
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
    """A classifier (with random weights) as a Hugging Face folder."""
    folder = tmp_path_factory.mktemp("models") / "teacher"
    torch.manual_seed(2)
    BertForSequenceClassification(config()).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def raw_graph(tmp_path_factory: pytest.TempPathFactory, teacher_folder: Path) -> Path:
    """That classifier as exported, nothing fused."""
    path = tmp_path_factory.mktemp("graphs") / "raw.onnx"
    export_onnx(BertForSequenceClassification.from_pretrained(teacher_folder), path)
    return path


@pytest.fixture(scope="session")
def encoder() -> EncoderShape:
    """What fusion must know of it."""
    return EncoderShape.of(config())


@pytest.fixture(scope="session")
def calibration(tokenizer: PreTrainedTokenizerFast) -> list[dict[str, np.ndarray]]:
    """Inputs to take ranges from."""
    texts = [text for text, _ in rows(60, seed=6)]
    return [{name: np.array([cells]) for name, cells in tokenizer(text).items()} for text in texts]


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labelled CSV of 400 rows."""
    return write_csv(tmp_path_factory.mktemp("data") / "reviews.csv", ("text", "label"), rows(400))


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Runs `pocketbert` in a process of its own, with a cache of its own, from the test's folder."""

    def call(*arguments: object) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "pocketbert", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "POCKETBERT_CACHE": str(tmp_path / "cache"), "COLUMNS": "200"},
            capture_output=True,
            text=True,
        )

    return call
