"""What tests build their tiny models and tables from: a rule-made task whose words decide the label."""

import csv
import random
from pathlib import Path

import numpy as np
from datasets import Dataset
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, PreTrainedTokenizerFast

from compress.common.errors import UserError
from compress.data.tokenization import TokenDataset, split_into_blocks, token_dataset
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


def encode_texts(texts: list[str], tokenizer: PreTrainedTokenizerFast, *, max_length: int) -> TokenDataset:
    """Texts as unlabelled token rows: what is longer than `max_length` goes on in further rows."""
    blocks = split_into_blocks(texts, tokenizer, max_length=max_length)
    return token_dataset(Dataset.from_dict({"input_ids": blocks}), np.array([len(ids) for ids in blocks]), tokenizer)


def in_a_recipe(error: UserError) -> str:
    """What a command that takes a recipe prints of an error."""
    return remedies.with_remedy(error, remedies.Command(takes_recipe=True, flags=()))


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


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Splits at blanks and punctuation; knows the words above and the special tokens."""
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
