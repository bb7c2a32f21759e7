"""A tiny BERT, its tokenizer and a rule-made task, built here: tests need no network and take seconds."""

import csv
import os
import random
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
from datasets import Dataset
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    PreTrainedTokenizerFast,
)

from compress.augmentation.candidates import Candidates
from compress.augmentation.masked_lm import MaskedLM
from compress.augmentation.word_vectors import load_vectors
from compress.augmentation.words import load_stop_words
from compress.common.errors import UserError
from compress.data.tokenization import Encoded, encoded_rows, token_blocks
from export.graph.fusion import Encoder
from export.graph.to_onnx import export_onnx
from pocketbert.cli import remedies

GOOD = ("fine", "lovely", "great", "warm")
BAD = ("dull", "awful", "flat", "cold")
NEUTRAL = ("the", "film", "story", "was", "a", "and", "very", "cast", "music", "plot", "with", "of", "it", "end")
LABELS = ("negative", "positive")


def sentence(draw: random.Random, positive: bool) -> str:
    """A few neutral words with two that decide the label."""
    words = draw.choices(NEUTRAL, k=draw.randint(3, 12)) + draw.choices(GOOD if positive else BAD, k=2)
    draw.shuffle(words)
    return " ".join(words)


def rows(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """(text, label name), all texts different."""
    draw = random.Random(seed)
    found: dict[str, str] = {}
    while len(found) < count:
        positive = draw.random() < 0.5
        found[sentence(draw, positive)] = LABELS[positive]
    return list(found.items())


def encode_texts(texts: list[str], tokenizer: PreTrainedTokenizerFast, *, max_length: int) -> Encoded:
    """Texts as unlabelled token rows: what is longer than `max_length` goes on in further rows."""
    blocks = token_blocks(texts, tokenizer, max_length=max_length)
    return encoded_rows(Dataset.from_dict({"input_ids": blocks}), np.array([len(ids) for ids in blocks]), tokenizer)


def in_a_recipe(error: UserError) -> str:
    """What a command that takes a recipe prints of an error."""
    return remedies.explained(error, remedies.Command(takes_recipe=True, flags=()))


def write_csv(path: Path, header: tuple[str, ...], lines: list[tuple]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(lines)
    return path


def words_with_vectors(path: Path) -> Path:
    """GloVe text: the tokenizer's words, and some that it does not know, with vectors of eight numbers."""
    draw = random.Random(0)
    words = [*GOOD, *NEUTRAL, "splendid", "movie", "actress", "42", "--"]
    lines = [" ".join([word, *(f"{draw.gauss(0, 1):.4f}" for _ in range(8))]) for word in words]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


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
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *GOOD, *BAD, *NEUTRAL]
    backend = Tokenizer(models.WordPiece({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=32,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def config(**changes: object) -> BertConfig:
    values = {
        "vocab_size": 27,
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "initializer_range": 0.2,
        "id2label": dict(enumerate(LABELS)),
        "label2id": {label: index for index, label in enumerate(LABELS)},
    }
    return BertConfig(**{**values, **changes})


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
def encoder() -> Encoder:
    """What fusion must know of it."""
    return Encoder.of(config())


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
