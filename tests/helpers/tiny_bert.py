"""Builds tiny models, and tables of a synthetic task whose labels depend on single words."""

import csv
import random
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, MPNetConfig, MPNetModel, PreTrainedTokenizerFast

from compress.common.errors import UserError
from compress.data.tokenization import TokenDataset, split_into_blocks, token_dataset
from pocketbert.cli_parts import remedies

GOOD = ("fine", "lovely", "great", "warm")
BAD = ("dull", "awful", "flat", "cold")
NEUTRAL = ("the", "film", "story", "was", "a", "and", "very", "cast", "music", "plot", "with", "of", "it", "end")
LABELS = ("negative", "positive")


def sentence(generator: random.Random, positive: bool) -> str:
    """A few neutral words, and two words that determine the label."""
    words = generator.choices(NEUTRAL, k=generator.randint(3, 12)) + generator.choices(GOOD if positive else BAD, k=2)
    generator.shuffle(words)
    return " ".join(words)


def rows(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Rows of (text, label name). All texts are different."""
    generator = random.Random(seed)
    label_of_text: dict[str, str] = {}
    while len(label_of_text) < count:
        positive = generator.random() < 0.5
        label_of_text[sentence(generator, positive)] = LABELS[positive]
    return list(label_of_text.items())


def encode_texts(texts: list[str], tokenizer: PreTrainedTokenizerFast, *, max_length: int) -> TokenDataset:
    """Texts as token rows without labels. A text longer than `max_length` becomes several rows."""
    blocks = split_into_blocks(texts, tokenizer, max_length=max_length)
    return token_dataset(Dataset.from_dict({"input_ids": blocks}), np.array([len(ids) for ids in blocks]), tokenizer)


def in_a_recipe(error: UserError) -> str:
    """The message that a command with a recipe prints for an error."""
    return remedies.with_remedy(error, remedies.Command(takes_recipe=True, flags=()))


def write_csv(path: Path, header: tuple[str, ...], lines: list[tuple]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(lines)
    return path


def words_with_vectors(path: Path) -> Path:
    """Write vectors of eight numbers as GloVe text, for words of the tokenizer and for a few other words."""
    generator = random.Random(0)
    words = [*GOOD, *NEUTRAL, "splendid", "movie", "actress", "42", "--"]
    lines = [" ".join([word, *(f"{generator.gauss(0, 1):.4f}" for _ in range(8))]) for word in words]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _word_pieces(*special_tokens: str) -> Tokenizer:
    """A tokenizer of the special tokens and the words above, without a post-processor."""
    words = [*special_tokens, *GOOD, *BAD, *NEUTRAL]
    backend = Tokenizer(models.WordPiece({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return backend


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer that splits at spaces and punctuation. It knows the words above and the special tokens."""
    backend = _word_pieces("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
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


def write_mpnet(folder: Path) -> Path:
    """Write an MPNet that was not fine-tuned, with MPNet's special tokens, as a Hugging Face folder."""
    backend = _word_pieces("<s>", "<pad>", "</s>", "[UNK]", "<mask>")
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        unk_token="[UNK]",
        cls_token="<s>",
        sep_token="</s>",
        mask_token="<mask>",
        model_max_length=512,
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)
    torch.manual_seed(1)
    MPNetModel(
        MPNetConfig(
            vocab_size=27,
            hidden_size=32,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=66,  # 64 positions behind the padding index
            initializer_range=0.2,
        )
    ).save_pretrained(folder)
    return folder


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
